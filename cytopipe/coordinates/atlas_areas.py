"""The area of each point, from the labels of an atlas around its template coordinate."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cytopipe.formats.atlas import HEMISPHERES, Atlas
from cytopipe.formats.volumes import Volume
from cytopipe.numerics.geometry import Floats


def area_at(
    atlas: Atlas, points_mm: Floats, hemispheres: NDArray[Any], sigma_mm: float, reach_mm: float
) -> tuple[NDArray[np.object_], Floats]:
    """The most probable area of each point among those of its own hemisphere.

    The probability of an area is its share of the labelled voxels of that hemisphere within
    `reach_mm`, weighted by a Gaussian of width `sigma_mm` of their distance. It tells how near
    other areas are, not how certain the registration is.

    Parameters
    ----------
    points_mm : (n, 3) template RAS mm; NaN for points without a coordinate.
    hemispheres : (n,) "L" or "R".

    Returns
    -------
    (n,) name and (n,) probability; "" and NaN for points without a labelled voxel in reach.
    """
    names = np.full(len(points_mm), "", object)
    probability = np.full(len(points_mm), np.nan)
    numbers = np.array([0, *sorted(atlas.names)])
    # labels may be any numbers: count by their ranks
    data = np.searchsorted(numbers, np.asarray(atlas.labels.data, np.int64))
    offsets = _offsets(atlas.labels, reach_mm)
    for side in HEMISPHERES:
        own = np.array([n != 0 and atlas.hemispheres[n] in (side, "") for n in numbers.tolist()])
        here = np.flatnonzero((hemispheres == side) & np.isfinite(points_mm).all(axis=1))
        ranks, shares = _vote(
            data,
            own,
            atlas.labels.to_indices(points_mm[here]),
            offsets,
            np.ascontiguousarray(atlas.labels.affine[:3, :3]),
            sigma_mm,
            reach_mm,
        )
        inside = ranks > 0
        names[here[inside]] = [atlas.names[n] for n in numbers[ranks[inside]].tolist()]
        probability[here[inside]] = shares[inside]
    return names, probability


def _offsets(labels: Volume, reach_mm: float) -> NDArray[np.int64]:
    """(n, 3) index steps from the voxel nearest to a point to all that may be in reach of it."""
    inverse = np.linalg.inv(labels.affine[:3, :3])
    most = np.ceil(reach_mm * np.linalg.norm(inverse, axis=1) + 0.5).astype(int)
    axes = [np.arange(-n, n + 1) for n in most]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3).astype(np.int64)


@njit(cache=True)
def _vote(
    data: Any, own: Any, points: Any, offsets: Any, axes: Any, sigma: float, reach: float
) -> Any:
    ranks = np.zeros(points.shape[0], np.int64)
    shares = np.zeros(points.shape[0])
    votes = np.zeros(own.shape[0])
    for p in range(points.shape[0]):
        votes[:] = 0.0
        for o in range(offsets.shape[0]):
            i = int(np.floor(points[p, 0] + 0.5)) + offsets[o, 0]
            j = int(np.floor(points[p, 1] + 0.5)) + offsets[o, 1]
            k = int(np.floor(points[p, 2] + 0.5)) + offsets[o, 2]
            if not (0 <= i < data.shape[0] and 0 <= j < data.shape[1] and 0 <= k < data.shape[2]):
                continue
            if not own[data[i, j, k]]:
                continue
            di, dj, dk = i - points[p, 0], j - points[p, 1], k - points[p, 2]
            square = 0.0
            for axis in range(3):
                step = axes[axis, 0] * di + axes[axis, 1] * dj + axes[axis, 2] * dk
                square += step * step
            if square <= reach * reach:
                votes[data[i, j, k]] += np.exp(-square / (2 * sigma * sigma))
        total = votes.sum()
        if total > 0:
            ranks[p] = np.argmax(votes)
            shares[p] = votes[ranks[p]] / total
    return ranks, shares
