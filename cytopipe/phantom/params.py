"""The parameters of a phantom study."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Params:
    """What the `phantom:` section of a preset says; see config/presets/demo.yaml for the units."""

    seed: int
    surfaces: str
    brains: dict[str, str]
    workers: int
    image_right: Literal["R", "L"]
    spacing_um: float
    coarsest_um: float
    thickness_um: float
    section_step: int
    margin_mm: float
    truth_spacing_um: float
    coordinates_spacing_um: float
    template_voxel_mm: float
    depth_voxel_mm: float
    bend_mm: float
    bend_wavelengths_mm: list[float]
    bend_scale: float
    callosum_mm: list[list[float]]
    callosum_radius_mm: float
    areas: int
    area_contrast: float
    individuality: float
    background: float
    stain: float
    stain_variation: float
    cells_below_um: float
    texture: float
    texture_length_mm: float
    vessels_per_cm2: float
    vessel_radius_mm: list[float]
    bridges: int
    tunnels: int
    damage_radius_mm: list[float]
    rotation_deg: float
    shift_mm: float
    mirrored: int
    torn: int
    torn_share: float
    blank: int
    missing: int
    dirty: int
    annotated_every: int
    layer_patches: int
    layer_patch_um: float
    layer_spacing_um: float

    def content(self) -> dict[str, Any]:
        """What decides the study's bytes: everything but the number of workers."""
        return {name: value for name, value in vars(self).items() if name != "workers"}
