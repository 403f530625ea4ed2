"""Whether a transform carries points from the stack to the template, and not the other way round.

A transform in the wrong direction is the field's most common mistake, and it still gives plausible
numbers. Two things reveal it: three pairs of landmarks that no bending of a brain can exchange, and
the overlap of the two brains. A transform of another space or unit puts the brain elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytopipe.files import InputError
from cytopipe.formats.transforms import PointTransform
from cytopipe.formats.volumes import Volume, labels_at
from cytopipe.numerics.geometry import Floats

_AXES = (("right", "left"), ("front", "back"), ("top", "bottom"))
# numbers of voxels that are looked at, to limit the time; chosen, not measured
_OVERLAP_VOXELS = 100_000
_TISSUE_VOXELS = 20_000
_MIDDLE_VOXELS = 100_000
# tissue farther than this share of the brain's length from the other's tissue has no counterpart:
# 5 mm in a human brain, more than sulci differ between persons; chosen
APART = 0.03
# a larger share of a brain outside the template's volume is an error of the transform: the volume
# holds a whole brain of the species, so that sound ones have 0. Chosen
MOST_OUTSIDE = 0.5


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


def length_mm(tissue: Volume) -> float:
    """The longest side of the tissue's box."""
    occupied = np.argwhere(tissue.data > 0)
    return float(((np.ptp(occupied, axis=0) + 1) * tissue.voxel_mm).max())


def apart_mm(points_mm: Floats, tissue: Volume) -> Floats:
    """Distance (n,) of points (n, 3) from a tissue, to a voxel; infinite for unknown points."""
    distance_mm = ndimage.distance_transform_edt(tissue.data == 0, tissue.voxel_mm)
    known = np.isfinite(points_mm).all(axis=1)
    at = tissue.to_indices(points_mm[known]).T
    inside = np.clip(at, 0, np.array(tissue.data.shape)[:, None] - 1)
    # from beyond the grid, the way to its border comes on top
    beyond_mm = np.linalg.norm((at - inside) * tissue.voxel_mm[:, None], axis=0)
    apart = np.full(len(points_mm), np.inf)
    apart[known] = ndimage.map_coordinates(distance_mm, inside, order=1) + beyond_mm
    return apart


def alone(transform: PointTransform, tissue: Volume, other: Volume) -> tuple[float, Floats]:
    """Tissue that has none of the other's tissue within 3 % of the other's length.

    Parameters
    ----------
    transform : moves points of `tissue` to `other`.

    Returns
    -------
    Its share, and points (n, 3) that sample it, mm in the space of `tissue`.
    """
    points_mm = tissue_points_mm(tissue)
    is_alone = apart_mm(transform(points_mm), other) > APART * length_mm(other)
    return float(is_alone.mean()), points_mm[is_alone]


def likeliest_part(
    transform: PointTransform, tissue: Volume, parts: Mapping[str, Volume]
) -> Volume:
    """The part of a template that a brain consists of: it overlaps, and little of it is alone."""
    backward = transform.inverse()

    def similarity(part: Volume) -> float:
        return overlap(transform, tissue, part).mean - alone(backward, part, tissue)[0]

    return max(parts.values(), key=similarity)


def outside(points_mm: Floats, template: Volume) -> NDArray[np.bool_]:
    """Whether points (n, 3) lie outside the template's volume; not those without a coordinate."""
    at = template.to_indices(points_mm)
    size = np.array(template.data.shape)
    return np.asarray(((at < -0.5) | (at > size - 0.5)).any(axis=1))


def check_inside(transform: PointTransform, tissue: Volume, template: Volume, remedy: str) -> None:
    """Raise InputError if a transform puts most of a brain outside the template's volume.

    A brain that is not covered passes; see `check_landmarks`.
    """
    mapped = transform(tissue_points_mm(tissue))
    known = mapped[np.isfinite(mapped).all(axis=1)]
    share = float(outside(known, template).mean()) if len(known) else 0.0
    if share > MOST_OUTSIDE:
        middle = ", ".join(f"{value:.0f}" for value in np.median(known, axis=0))
        ends = template.to_mm(np.array([np.zeros(3), np.array(template.data.shape) - 1]))
        axes = ", ".join(
            f"{axis} {low:.0f} to {high:.0f}" for axis, low, high in zip("RAS", *ends, strict=True)
        )
        raise InputError(
            f"{transform.source} to {transform.target}: puts {100 * share:.0f} % of the brain "
            f"outside the template ({axes} mm), its middle at {middle} mm; {remedy}"
        )


def middle_mm(template: Volume) -> float:
    """R of the plane between the hemispheres: 0, or the tissue's median if most is on one side.

    It is 0 in human templates; the atlas of a mouse may count from its corner.
    """
    right_mm = tissue_points_mm(template, _MIDDLE_VOXELS)[:, 0]
    return 0.0 if 0.4 < float((right_mm > 0).mean()) < 0.6 else float(np.median(right_mm))


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


def check_overlap(full: Overlap, backward: Overlap, what: str) -> None:
    """Raise InputError if the inverse of a transform gives a better overlap.

    The identity equals its inverse up to rounding.
    """
    if full.mean < backward.mean - 1e-6:
        raise InputError(
            f"{what}: Dice {full.mean:.3f} is below that of its inverse ({backward.mean:.3f}): it "
            "runs the wrong way; look at the reconstruction and at coordinates.given_moves in "
            "config/config.yaml"
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
