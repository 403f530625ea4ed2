"""How the phantom's surfaces are changed: a block of the section `phantom`, all off by default.

The phantoms of presets that name nothing of it keep their bytes.
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import field_validator

from cytopipe.study.config.base import ConfigSection, field


class Geometry(ConfigSection):
    """How the surfaces are changed, and what is added in and under them."""

    scale: float = field(
        "The factor by which the surfaces and all that belongs to them are scaled; 0.8 is about "
        "the shrinkage in paraffin.",
        ge=0.3,
        le=2,
        default=1.0,
    )
    deep_structures: bool = field(
        "Whether there are deep nuclei, ventricles, brain stem and cerebellum, which a person "
        "excludes; fetched from the package index and registered to the surfaces.",
        default=False,
    )
    closed_sulci_mm: float = field(
        "Sulci narrower than this are closed, their banks moved towards each other; 0 for none.",
        unit="mm",
        ge=0,
        le=3,
        default=0.0,
    )
    closed_gap_mm: float = field(
        "The gap that remains in a closed sulcus, a faint line in the image.",
        unit="mm",
        ge=0,
        le=1,
        default=0.0,
    )
    symmetric: bool = field(
        "Whether the right hemisphere is the mirror image of the left one, apart from the bend.",
        default=False,
    )
    hemispheres: Literal["LR", "L", "R"] = field(
        "The hemispheres that the brains have; the template has both.", default="LR"
    )
    missing_block: Sequence[float] = field(
        "R, A, S and d: the brains lack the template's points with R x + A y + S z > d, in mm; "
        "empty for none.",
        default=(),
    )
    cut: Literal["coronal", "sagittal", "horizontal"] = field(
        "The plane of the sections. The stack's axes are named as if it were coronal.",
        default="coronal",
    )

    @field_validator("missing_block")
    @classmethod
    def _a_plane(cls, value: Sequence[float]) -> Sequence[float]:
        if len(value) not in (0, 4) or (value and not any(value[:3])):
            raise ValueError(f"{list(value)} is neither empty nor a direction and a distance")
        return value
