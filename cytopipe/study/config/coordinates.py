"""The section `coordinates`."""

from collections.abc import Sequence
from typing import Annotated, Literal

from cytopipe.study.config.base import ConfigSection, FilePath, Moves, field, text

Axes = Annotated[
    str,
    text(
        "own or three letters as in RAS",
        "own|[RL][AP][SI]|[RL][SI][AP]|[AP][RL][SI]|[AP][SI][RL]|[SI][RL][AP]|[SI][AP][RL]",
    ),
]


class Coordinates(ConfigSection):
    """The transform to the template.

    manual/{brain}/to-{template}{given_suffix} is used if it exists. Otherwise ANTs registers the
    tissue labels (affine, then SyN); the papers take their transforms from elsewhere.
    """

    registration_mm: float = field(
        "The voxel size at which a brain is registered to the template.", unit="mm", gt=0
    )
    seed: int = field("The seed of the registration.", ge=1)
    search_voxels: int = field(
        "The number of voxels along the brain in the coarse search for its orientation; 30 are "
        "6 mm in a human brain.",
        unit="voxels",
        ge=15,
        le=100,
    )
    search_turns_deg: Sequence[float] = field(
        "The turns about each axis from which the search starts, beside 0.", unit="deg"
    )
    min_orientation_margin: float = field(
        "The smallest difference between two correlations with the template that tells two "
        "orientations apart; a flip changes it by 0.04 or more, mirroring a whole brain by up to "
        "0.005 (docs/transforms.md).",
        gt=0,
        lt=1,
    )
    min_side_gain: float = field(
        "The smallest difference between the mean Dice coefficients of a whole brain and of its "
        "mirror image that tells left from right; a smaller one tells nothing. Five phantom brains "
        "have 0.02 to 0.11; one person's brain and a symmetric template 0.002.",
        gt=0,
        le=1,
    )
    min_dice: float = field(
        "A brain whose Dice coefficients of gray and white matter with the template have a smaller "
        "mean has no coordinates; sound ones had 0.74 to 0.91, flipped ones 0.56 to 0.66 "
        "(docs/transforms.md).",
        ge=0,
        le=1,
    )
    max_alone: float = field(
        "The largest share of a brain's or the template's tissue that has no counterpart in the "
        "other.",
        ge=0,
        le=1,
    )
    gap_reach: float = field(
        "Points within this share of the template's length of tissue that the brain lacks are "
        "marked beside_gap, if it lacks more than max_alone.",
        ge=0,
        le=1,
    )
    return_mm: float = field(
        "A point returns if the way to the template and back ends this near to its start; fields "
        "are inverted to 0.005 mm.",
        unit="mm",
        gt=0,
    )
    given_suffix: Literal[".h5", ".mat", ".tfm", ".txt", ".nii.gz"] = field(
        "The suffix of a ready-made transform under manual/, which decides its format: .h5, .mat, "
        ".tfm or .txt (ITK), .nii.gz (displacement field) or .txt (4x4 matrix, RAS mm)."
    )
    given_moves: Moves = field(
        "What that file moves from the stack to the template: points or image."
    )
    anchoring_target: FilePath | None = field(
        "The NIfTI volume that the anchorings of QuickNII and VisuAlign refer to, or null "
        "(docs/transforms.md)."
    )
    anchoring_axes: Axes = field(
        "The axes along which the anchorings count voxels: own for those of the file, or their "
        "directions, e.g. RAS."
    )
    error_points: int = field(
        "The registration's error at a point is estimated from this many points around it, some 10 "
        "mm of cortex on both banks.",
        ge=1,
    )
    along_cortex: float = field(
        "The registration's error over the distance from the middle of the template's cortex; it "
        "sees no border along the cortex.",
        source="phantoms: 2 to 4.7 along an axis, 1 where all folds match the template's; with "
        "4.5, 94 to 100 % of the coordinates lie within two errors along each axis",
        gt=0,
    )
    atlas_sigma_mm: float = field(
        "The width of the Gaussian that weights the atlas labels around a point.", unit="mm", gt=0
    )
    atlas_reach_mm: float = field(
        "A point without an atlas label within this distance is outside the atlas.",
        unit="mm",
        gt=0,
    )
