"""The section `midline`."""

from typing import Literal

from cytopipe.study.config.base import ConfigSection, field

_PAPER = "CytoNet 3.2"


class Midline(ConfigSection):
    """The method of CytoNet, section 3.2, which gives max_move_mm and min_tissue."""

    spacing_mm: float = field(
        "The distance between points along the cut of the mid-surface. The paper does not state "
        "it; its counts of points imply 0.8 to 1.3 mm.",
        unit="mm",
        gt=0,
    )
    target: Literal["laplacian", "skeleton"] = field(
        "Where points are moved: onto the skeleton, as in the paper, or by the laplacian to depth "
        "0.5, by the borders of the section and the depth in the volume, which ends nearer the "
        "middle."
    )
    max_move_mm: float = field(
        "The largest distance by which a point is moved.", unit="mm", source=_PAPER, ge=0
    )
    keep_moved: bool = field(
        "Whether a point that has moved by this distance and not arrived stays there and is used, "
        "as in the paper; otherwise it returns to its start and is marked unrefined."
    )
    most_off_depth: float = field(
        "A point whose depth in the volume differs from 0.5 by more is marked off_depth: there the "
        "section and the volume disagree, for example on a closed sulcus. Of the points between "
        "0.25 and 0.35, 90 % are wrong on the head and 74 % on the demo, whose voxels are 1.4 mm; "
        "of those between 0.2 and 0.25, 87 and 45 %.",
        gt=0,
        le=0.5,
    )
    min_thickness: float = field(
        "A point where the volume's cortex is thinner than this share of the brain's median is "
        "marked thin: no human cortex is, so a sulcus or the white matter lies wrong there. On the "
        "head this holds for 2 % of the points, 73 % of them wrong.",
        ge=0,
        le=1,
    )
    window_mm: float = field(
        "The edge of the square window in which tissue is counted: that of a patch.",
        unit="mm",
        gt=0,
    )
    min_tissue: float = field(
        "A point with a smaller share of tissue is marked low_tissue.", source=_PAPER, ge=0, le=1
    )
