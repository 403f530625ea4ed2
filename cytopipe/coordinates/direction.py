"""Whether a transform carries points from the stack to the template, not the other way round.

The field's commonest mistake, and one that still gives plausible numbers. Three pairs of
landmarks that no bending of a brain can exchange, and the overlap of the two brains, tell.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytopipe.files import InputError
from cytopipe.formats.transforms import PointTransform
from cytopipe.formats.volumes import Volume, labels_at
from cytopipe.numerics.geometry import Floats

_AXES = (("right", "left"), ("front", "back"), ("top", "bottom"))
_SAMPLED = 100_000


@dataclass(frozen=True)
class Overlap:
    """Dice of gray and of white matter, the brain against the template."""

    gray: float
    white: float

    @property
    def mean(self) -> float:
        return (self.gray + self.white) / 2


def overlap(transform: PointTransform, tissue: Volume, template: Volume) -> Overlap:
    """Dice of a brain's tissue and the template's, looked up where the transform says.

    Each voxel of the stack is carried into the template and compared with what is there, so that
    this resamples the template on the grid of the stack.
    """
    # every k-th voxel of all: a regular thinning without a seed, of air as well
    every = max(1, round((tissue.data.size / _SAMPLED) ** (1 / 3)))
    thinned = tissue.data[::every, ::every, ::every]
    index = np.moveaxis(np.indices(thinned.shape), 0, -1).reshape(-1, 3) * every
    own = thinned.ravel()
    there = labels_at(template, transform(tissue.to_mm(index)))
    dice = [
        2
        * float(((own == kind) & (there == kind)).sum())
        / max(1, int((own == kind).sum() + (there == kind).sum()))
        for kind in (1, 2)
    ]
    return Overlap(*dice)


def check_landmarks(transform: PointTransform, tissue: Volume, remedy: str) -> None:
    """Right stays right of left, front in front of back, top above bottom.

    Raises
    ------
    InputError
        If the two ends of the brain (the outermost twentieth of its voxels on each side) are
        exchanged along an axis, or if none of them has a coordinate.
    """
    index = np.argwhere(tissue.data > 0)
    points = tissue.to_mm(index[:: max(1, len(index) // 20_000)])
    mapped = transform(points)
    known = np.isfinite(mapped).all(axis=1)
    if not known.any():
        raise InputError(
            f"{transform.source} to {transform.target}: the transform covers no point of the "
            f"brain; {remedy}"
        )
    for axis, (high, low) in enumerate(_AXES):
        first, last = np.quantile(points[known, axis], [0.05, 0.95])
        upper, lower = known & (points[:, axis] >= last), known & (points[:, axis] <= first)
        if mapped[upper, axis].mean() <= mapped[lower, axis].mean():
            raise InputError(
                f"{transform.source} to {transform.target}: the {high} of the brain does not lie "
                f"on the {high} side of its {low} in the template; {remedy}"
            )


def check_hemispheres(points_mm: Floats, hemispheres: NDArray[np.str_], remedy: str) -> None:
    """The left hemisphere's points lie left of the right one's.

    Raises
    ------
    InputError
        If not. Without points of both hemispheres nothing is said.
    """
    known = np.isfinite(points_mm).all(axis=1)
    left, right = known & (hemispheres == "L"), known & (hemispheres == "R")
    if left.any() and right.any() and not points_mm[left, 0].mean() < points_mm[right, 0].mean():
        raise InputError(
            f"the left hemisphere lies at R {points_mm[left, 0].mean():.1f} mm of the template, "
            f"the right one at {points_mm[right, 0].mean():.1f} mm; {remedy}"
        )


def check_overlap(found: Overlap, affine: Overlap, backward: Overlap, what: str) -> None:
    """The transform overlaps the brains as well as its affine part and as its inverse.

    A transform that is affine, or the identity, equals one of them but for rounding.

    Raises
    ------
    InputError
        If not, with the numbers.
    """
    for other, name in ((affine, "its affine part"), (backward, "its inverse")):
        if found.mean < other.mean - 1e-6:
            raise InputError(
                f"{what}: Dice {found.mean:.3f} is below that of {name} ({other.mean:.3f}): it "
                "runs the wrong way, or the registration failed; look at the reconstruction and "
                "at coordinates.given_moves in config/config.yaml"
            )


def affine_part(transform: PointTransform, tissue: Volume) -> Floats:
    """(4, 4) affine of least squared error to a transform over the brain's tissue, RAS mm."""
    index = np.argwhere(tissue.data > 0)
    points = tissue.to_mm(index[:: max(1, len(index) // 20_000)])
    mapped = transform(points)
    known = np.isfinite(mapped).all(axis=1)
    padded = np.column_stack([points[known], np.ones(int(known.sum()))])
    solution = np.linalg.lstsq(padded, mapped[known], rcond=None)[0]
    matrix = np.eye(4)
    matrix[:3] = solution.T
    return matrix
