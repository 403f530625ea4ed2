"""Whether a transform carries points from the stack to the template, and not the other way round.

A transform in the wrong direction is the field's most common mistake, and it still gives plausible
numbers. Two things reveal it: three pairs of landmarks that no bending of a brain can exchange, and
the overlap of the two brains.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytopipe.files import InputError
from cytopipe.formats.transforms import PointTransform
from cytopipe.formats.volumes import Volume, labels_at
from cytopipe.numerics.geometry import Floats

_AXES = (("right", "left"), ("front", "back"), ("top", "bottom"))
# numbers of voxels that are looked at, to limit the time; chosen, not measured
_OVERLAP_VOXELS = 100_000
_TISSUE_VOXELS = 20_000


@dataclass(frozen=True)
class Overlap:
    """Dice of gray and of white matter, the brain against the template."""

    gray: float
    white: float

    @property
    def mean(self) -> float:
        return (self.gray + self.white) / 2


def overlap(transform: PointTransform, tissue: Volume, template: Volume) -> Overlap:
    """Dice of a brain's tissue and the template's, which is resampled on the grid of the stack."""
    # every k-th voxel of all, background included
    every = max(1, round((tissue.data.size / _OVERLAP_VOXELS) ** (1 / 3)))
    thinned = tissue.data[::every, ::every, ::every]
    index = np.moveaxis(np.indices(thinned.shape), 0, -1).reshape(-1, 3) * every
    own = thinned.ravel()
    there = labels_at(template, transform(tissue.to_mm(index)))
    dice = []
    for kind in (1, 2):
        first, second = own == kind, there == kind
        total = max(1, int(first.sum() + second.sum()))
        dice.append(2 * float((first & second).sum()) / total)
    return Overlap(*dice)


def tissue_points_mm(tissue: Volume, most: int = _TISSUE_VOXELS) -> Floats:
    """RAS mm, (n, 3), of about `most` evenly spaced voxels of the tissue."""
    index = np.argwhere(tissue.data > 0)
    return tissue.to_mm(index[:: max(1, len(index) // most)])


def check_landmarks(transform: PointTransform, tissue: Volume, remedy: str) -> None:
    """Check that right stays right of left, front in front of back, and top above bottom.

    Raises
    ------
    InputError
        If the two ends of the brain (the outermost twentieth of its voxels on each side) are
        exchanged along an axis, or if no point of it has a coordinate.
    """
    points = tissue_points_mm(tissue)
    mapped = transform(points)
    known = np.isfinite(mapped).all(axis=1)
    spaces = f"{transform.source} to {transform.target}"
    if not known.any():
        raise InputError(f"{spaces}: the transform covers no point of the brain; {remedy}")
    for axis, (high, low) in enumerate(_AXES):
        first, last = np.quantile(points[known, axis], [0.05, 0.95])
        upper, lower = known & (points[:, axis] >= last), known & (points[:, axis] <= first)
        if mapped[upper, axis].mean() <= mapped[lower, axis].mean():
            raise InputError(
                f"{spaces}: the {high} of the brain does not lie on the {high} side of its {low} "
                f"in the template; {remedy}"
            )


def check_hemispheres(points_mm: Floats, hemispheres: NDArray[np.str_], remedy: str) -> None:
    """Raise InputError if the points of the left hemisphere do not lie left of the right one's.

    Passes if either hemisphere has no points.
    """
    known = np.isfinite(points_mm).all(axis=1)
    left, right = (points_mm[known & (hemispheres == side), 0] for side in ("L", "R"))
    if len(left) and len(right) and not left.mean() < right.mean():
        raise InputError(
            f"the left hemisphere lies at R {left.mean():.1f} mm of the template, the right one at "
            f"{right.mean():.1f} mm; {remedy}"
        )


def check_overlap(full: Overlap, affine: Overlap, backward: Overlap, what: str) -> None:
    """Raise InputError if the affine part or the inverse of a transform gives a better overlap.

    A transform that is affine, or the identity, equals one of them up to rounding.
    """
    for other, name in ((affine, "its affine part"), (backward, "its inverse")):
        if full.mean < other.mean - 1e-6:
            raise InputError(
                f"{what}: Dice {full.mean:.3f} is below that of {name} ({other.mean:.3f}): it "
                "runs the wrong way, or the registration failed; look at the reconstruction and "
                "at coordinates.given_moves in config/config.yaml"
            )


def affine_part(transform: PointTransform, tissue: Volume) -> Floats:
    """(4, 4) affine of least squared error to a transform over the brain's tissue, RAS mm."""
    points = tissue_points_mm(tissue)
    mapped = transform(points)
    known = np.isfinite(mapped).all(axis=1)
    padded = np.column_stack([points[known], np.ones(int(known.sum()))])
    solution = np.linalg.lstsq(padded, mapped[known], rcond=None)[0]
    matrix = np.eye(4)
    matrix[:3] = solution.T
    return matrix
