"""The values of the `segmentation` section of the config."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Params:
    """Values of the segmentation; meaning, unit and source stand in config/config.yaml."""

    spacing_um: float
    filter_um: float
    clahe_um: float
    clahe_clip: float
    sigma_um: float
    max_valley: float
    minimum: Literal["slide", "otsu"]
    min_contrast: float
    min_tissue_mm2: float
    min_white: float
    iterations: int
    smoothing: int
    min_object_mm2: float
    max_hole_mm2: float
    max_contact: float
    min_white_mm2: float
    max_island_mm2: float
    rim_um: float
    sulcus_um: float
    max_failed: float
