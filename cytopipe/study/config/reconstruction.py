"""The section `reconstruction`."""

from cytopipe.study.config.base import ConfigSection, field

_PAPER = "CytoNet 3.2"


class Reconstruction(ConfigSection):
    """The method of CytoNet, section 3.2, which gives the voxel size and fragment_share.

    The other values were chosen on cut fsaverage5 surfaces.
    """

    voxel_mm: float = field(
        "The edge of the isotropic voxels: the section spacing as in the paper, or half of it if "
        "sections are far apart.",
        unit="mm",
        source=_PAPER,
        gt=0,
        le=10,
    )
    smoothing_voxels: float = field(
        "The standard deviation of the Gaussian over in-plane signed distances.",
        unit="voxels",
        ge=0,
        le=2,
    )
    sulcus_voxels: float = field(
        "Narrower sulci are widened to this width, so that they stay open in the volume; 0 for no "
        "widening.",
        unit="voxels",
        ge=0,
        le=2,
    )
    farthest_mm: float = field(
        "Signed distances are cut off here: beyond it they say nothing about the shape.",
        unit="mm",
        gt=0,
    )
    max_gap_mm: float = field("Missing sections are bridged up to this distance.", unit="mm", gt=0)
    defect_radius_mm: float = field(
        "A difference from both neighbours is a defect if a disc of this radius fits into it; a "
        "thinner one is anatomy that moves from section to section.",
        unit="mm",
        ge=0,
    )
    defect_min_mm3: float = field(
        "Smaller defects are not repaired; the volume of a defect is its area times the section "
        "spacing.",
        unit="mm3",
        ge=0,
    )
    cortex_mm: float = field(
        "Missing tissue is a hole, not a sulcus, if less gray matter than this lies between it "
        "and white matter; keep it below the thinnest cortex.",
        unit="mm",
        ge=0,
    )
    hole_white_share: float = field(
        "Missing tissue is a hole if it cuts white matter open along more than this share of its "
        "border; a sulcus at the medial wall can graze some.",
        ge=0,
        le=1,
    )
    most_excluded: float = field(
        "An exclusion mask that marks a larger share of the tissue is refused. Subcortex, "
        "cerebellum and brain stem are a quarter of a human brain.",
        gt=0,
        le=1,
    )
    label_gap_mm: float = field(
        "Gray and white matter are compared only if a section's two neighbours are at most this "
        "far apart. If they are farther apart, a sulcus cut along its wall (two banks) looks like "
        "a defect.",
        unit="mm",
        ge=0,
    )
    fragment_share: float = field(
        "Components smaller than this share of the largest one are dropped.",
        source=_PAPER,
        ge=0,
        le=1,
    )
