"""Detect fused banks of sulci in a label volume and separate them by about one voxel.

This follows the anatomically consistent enhancement (ACE) of CRUISE: Han, Pham, Tosun, Rettmann,
Xu, Prince, NeuroImage 23 (2004) 997. Fronts start at the white matter and grow through gray matter;
the voxels where the fronts of two banks meet are removed. CRUISE slows the fronts in fluid. Labels
carry no such information, so the speed is 1 in the whole cortex.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

from cytopipe import logs

FARTHEST = np.float32(1e6)
MOST_ROUNDS = 100  # a brain needs 2 or 3; winding paths need more
SETTLED = 1e-3  # voxels; chosen, not measured

_ALL = [(a, b, c) for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)]
_STEPS = np.array([step for step in _ALL if step > (0, 0, 0)], np.int64)
_LENGTHS = np.linalg.norm(_STEPS, axis=1).astype(np.float32)


def distance_from_white(labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Length of the shortest path to the white matter through the cortex, in voxels.

    Parameters
    ----------
    labels : (i, j, k) 0 outside, 1 cortex, 2 white matter, on an isotropic grid.

    Returns
    -------
    (i, j, k) from the face of the white matter to the centre of a voxel; 0 in white matter, 1e6
    outside and where there is no path. Computed to first order by sweeps in the eight directions
    (Zhao, Mathematics of Computation 74 (2005) 603) until nothing changes; the log warns if that
    takes more than `MOST_ROUNDS`.
    """
    padded = np.pad(labels, 1)
    # the centres of white voxels lie half a voxel behind the faces
    distance = np.where(padded == 2, np.float32(-0.5), FARTHEST)
    for _ in range(MOST_ROUNDS):
        change = 0.0
        for direction in range(8):
            signs = (1 - 2 * (direction & 1), 1 - (direction & 2), 1 - (direction & 4) // 2)
            change = max(change, _sweep(distance, padded, *signs))
        if change < SETTLED:
            break
    else:
        logs.info(
            f"warning: the distance from the white matter still changes by {change:.3g} voxels "
            f"after {MOST_ROUNDS} rounds; look for labels of thin, winding cortex"
        )
    return np.ascontiguousarray(np.maximum(distance, 0)[1:-1, 1:-1, 1:-1])


def fused_banks(
    labels: NDArray[np.uint8],
    share: float,
    fall: float,
    around_voxels: float,
    min_evidence: float = 0.0,
) -> NDArray[np.bool_]:
    """Cortex voxels midway between two touching banks, from labels as in `distance_from_white`.

    Parameters
    ----------
    share : two fronts are those of two banks if they meet at this share of the usual thickness or
        more. Nearer to the white matter, the walls of a fundus meet beneath every open sulcus.
    fall : how steeply the distance must fall to both sides together, in voxels per step: 2 if
        fronts meet head on, 1 at two voxels that share the ridge, 0 within one front.
    around_voxels : the usual thickness is the mean distance along the outside within about this
        distance.
    min_evidence : fronts also meet below the fundus, nearer to the white matter, and where the
        cortex bulges, at an obtuse angle. The evidence for two banks is the distance, over its mean
        in the fused banks around (within about the usual thickness), plus a quarter of the fall:
        1.5 where two banks meet head on. Voxels with less than this are cortex.

    Returns
    -------
    (i, j, k) where fronts meet, one voxel wide on flat banks and up to two at mouth and fundus, in
    pieces that are connected to the outside and reach deeper than the ridge under the fundus of an
    open sulcus, which `share` cuts off.
    """
    distance = distance_from_white(labels)
    touching = _outside(labels, distance)
    if not touching.any():
        return np.zeros(labels.shape, bool)
    usual = _usual(distance, touching, around_voxels)
    thickness_voxels = float(np.median(distance[touching]))
    deeper_voxels = 1 + int(np.ceil((1 - share) * thickness_voxels))
    far = np.pad(distance, 1, constant_values=FARTHEST)
    falls = _ridge(far, np.pad(share * usual, 1), fall, _STEPS, _LENGTHS)[1:-1, 1:-1, 1:-1]
    ridge = falls > 0
    block = np.ones((3, 3, 3), bool)
    pieces, count = ndimage.label(ridge, block)
    near = ndimage.binary_dilation(labels == 0, block)
    deep = ~ndimage.binary_dilation(labels == 0, block, deeper_voxels)
    connected, reaches_deep = np.zeros((2, count + 1), bool)
    connected[pieces[ridge & near]] = True
    reaches_deep[pieces[ridge & deep]] = True
    fused = np.asarray((connected & reaches_deep)[pieces] & ridge)
    if min_evidence > 0 and fused.any():
        around = _usual(distance, fused, thickness_voxels)
        fused &= distance / around + falls / 4 >= min_evidence
    return fused


def usual_thickness(
    labels: NDArray[np.uint8], distance: NDArray[np.float32], around_voxels: float
) -> NDArray[np.float32]:
    """Mean distance from the white matter along the outside, within about `around_voxels`.

    Parameters
    ----------
    distance : of `distance_from_white`.

    Returns
    -------
    (i, j, k) voxels; `FARTHEST` if no cortex lies between white matter and outside.
    """
    touching = _outside(labels, distance)
    if not touching.any():
        return np.full(labels.shape, FARTHEST)
    return _usual(distance, touching, around_voxels)


def _outside(labels: NDArray[np.uint8], distance: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Cortex along the outside from which a path leads to the white matter."""
    return np.asarray(ndimage.binary_dilation(labels == 0) & (labels == 1) & (distance < FARTHEST))


def _usual(
    distance: NDArray[np.float32], touching: NDArray[np.bool_], around_voxels: float
) -> NDArray[np.float32]:
    """Mean of `distance` where `touching`, weighted by a Gaussian and drawn towards the median."""
    step = max(1, round(around_voxels / 4))
    blocks = tuple(-(-size // step) for size in distance.shape)
    at = np.argwhere(touching)
    values = distance[touching]
    flat = np.ravel_multi_index(tuple((at // step).T), blocks)
    sums, weights = (
        ndimage.gaussian_filter(
            np.bincount(flat, per_voxel, int(np.prod(blocks))).reshape(blocks),
            around_voxels / step,
            mode="constant",
        )
        for per_voxel in (values, np.ones(len(values)))
    )
    # one voxel of the median in each block: far from the outside, the median holds
    local = (sums + np.median(values)) / (weights + 1)
    fine = np.repeat(np.repeat(np.repeat(local, step, 0), step, 1), step, 2)
    return fine[tuple(slice(size) for size in distance.shape)].astype(np.float32)


@njit(cache=True)
def _sweep(distance, labels, si, sj, sk):  # type: ignore[no-untyped-def]
    """Update all cortex voxels in one direction; return the largest change."""
    ni, nj, nk = labels.shape
    largest = np.float32(0)
    for a in range(1, ni - 1):
        i = a if si > 0 else ni - 1 - a
        for b in range(1, nj - 1):
            j = b if sj > 0 else nj - 1 - b
            for c in range(1, nk - 1):
                k = c if sk > 0 else nk - 1 - c
                if labels[i, j, k] != 1:
                    continue
                x = min(distance[i - 1, j, k], distance[i + 1, j, k])
                y = min(distance[i, j - 1, k], distance[i, j + 1, k])
                z = min(distance[i, j, k - 1], distance[i, j, k + 1])
                low, high = min(x, y, z), max(x, y, z)
                if low >= distance[i, j, k]:
                    continue
                mid = max(min(x, y), min(max(x, y), z))
                value = low + np.float32(1)
                if value > mid:
                    half = mid - low
                    value = (low + mid + np.sqrt(np.float32(2) - half * half)) / np.float32(2)
                    if value > high:
                        p, q = mid - low, high - low
                        root = (p + q) ** 2 - np.float32(3) * (p * p + q * q - np.float32(1))
                        value = low + (p + q + np.sqrt(root)) / np.float32(3)
                if value < distance[i, j, k]:
                    largest = max(largest, distance[i, j, k] - value)
                    distance[i, j, k] = value
    return largest


@njit(cache=True)
def _ridge(distance, nearest, fall, steps, lengths):  # type: ignore[no-untyped-def]
    """The steepest fall to both sides of voxels that are highest along one of 13 lines, or 0."""
    ni, nj, nk = distance.shape
    ridge = np.zeros(distance.shape, np.float32)
    for i in range(1, ni - 1):
        for j in range(1, nj - 1):
            for k in range(1, nk - 1):
                here = distance[i, j, k]
                if here < nearest[i, j, k] or here >= FARTHEST:
                    continue
                for s in range(len(steps)):
                    a, b, c = steps[s]
                    one, other = distance[i + a, j + b, k + c], distance[i - a, j - b, k - c]
                    # of two equals only the first counts: the ridge is one voxel wide on flat banks
                    if one > here or other >= here:
                        continue
                    steepness = (2 * here - one - other) / lengths[s]
                    if steepness >= fall and steepness > ridge[i, j, k]:
                        ridge[i, j, k] = steepness
    return ridge
