"""The values of the `alignment` section of the config."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Params:
    """Values of the alignment; meaning, unit and source stand in config/config.yaml."""

    spacing_um: float
    coarse_um: float
    max_rotation_deg: float
    rotation_step_deg: float
    octaves: int
    max_features: int
    max_ratio: float
    inlier_um: float
    trials: int
    min_inliers: int
    min_margin: float
    refine: str
    texture_um: float
    reach_um: float
    min_peak: float
    min_overlap: float
    min_tissue_share: float
    neighbours: int
    composition: str
    seed: int
