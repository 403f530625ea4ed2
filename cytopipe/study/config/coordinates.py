"""The section `coordinates`."""

from typing import Literal

from cytopipe.study.config.base import ConfigSection, Moves, field

_AXES = "^(own|[RL][AP][SI]|[RL][SI][AP]|[AP][RL][SI]|[AP][SI][RL]|[SI][RL][AP]|[SI][AP][RL])$"


class Coordinates(ConfigSection):
    """The transform to the template.

    manual/{brain}/to-{template}{given_suffix} is used if it exists. Otherwise ANTs registers the
    tissue labels (affine, then SyN); the papers take their transforms from elsewhere.
    """

    registration_mm: float = field(
        "The voxel size at which a brain is registered to the template.", unit="mm", gt=0
    )
    seed: int = field("The seed of the registration.", ge=1)
    given_suffix: Literal[".h5", ".mat", ".tfm", ".txt", ".nii.gz"] = field(
        "The suffix of a ready-made transform under manual/, which decides its format: .h5, .mat, "
        ".tfm or .txt (ITK), .nii.gz (displacement field) or .txt (4x4 matrix, RAS mm)."
    )
    given_moves: Moves = field(
        "What that file moves from the stack to the template: points or image."
    )
    anchoring_target: str | None = field(
        "The NIfTI volume that the anchorings of QuickNII and VisuAlign refer to, or null "
        "(docs/transforms.md)."
    )
    anchoring_axes: str = field(
        "The axes along which the anchorings count voxels: own for those of the file, or their "
        "directions, e.g. RAS.",
        pattern=_AXES,
    )
    atlas_sigma_mm: float = field(
        "The width of the Gaussian that weights the atlas labels around a point.", unit="mm", gt=0
    )
    atlas_reach_mm: float = field(
        "A point without an atlas label within this distance is outside the atlas.",
        unit="mm",
        gt=0,
    )
