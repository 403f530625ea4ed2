"""Fused banks of sulci found on a label volume and carved open, about one voxel wide.

After the anatomically consistent enhancement (ACE) of CRUISE: Han, Pham, Tosun, Rettmann, Xu,
Prince, NeuroImage 23 (2004) 997, section on ACE. There a distance from the white matter grows
through gray matter and the voxels where fronts of two banks meet are thinned out. Here the labels
alone are known, without a membership of fluid: the speed is 1 in the whole cortex.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

from cytopipe import logs

# a meeting of fronts counts as one of banks from this share of the usual thickness on: below it
# lie the walls of a fundus, which meet beneath it in every open sulcus
SHARE = 0.8
# how much the distance falls to both sides together, in voxels a step: 2 for fronts head on,
# 0 for one front; two voxels that share the ridge have 1
FALL = 0.4
# a meeting that stays this near the outside is the fundus of an open sulcus, or a dent
DEEPER_VOXELS = 2
FARTHEST = np.float32(1e6)
# a brain needs 2 or 3; each round goes around some bends of a way
MOST_ROUNDS = 100
SETTLED = 1e-3  # voxels

_ALL = [(a, b, c) for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)]
_STEPS = np.array([step for step in _ALL if step > (0, 0, 0)], np.int64)
_LENGTHS = np.linalg.norm(_STEPS, axis=1).astype(np.float32)


def distance_from_white(labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Length of the shortest way to the white matter inside the cortex, in voxels.

    Parameters
    ----------
    labels : (i, j, k) 0 outside, 1 cortex, 2 white matter, on an isotropic grid.

    Returns
    -------
    (i, j, k) from the face of the white matter to a voxel's centre; 0 in white matter, 1e6 outside
    and where no way leads. First order, by sweeps in the eight directions (Zhao, Mathematics of
    Computation 74 (2005) 603) until nothing changes; the log says where `MOST_ROUNDS` do not do.
    """
    padded = np.ascontiguousarray(np.pad(labels, 1))
    # the centres of white voxels lie half a voxel behind their faces
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


def fused_banks(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Cortex voxels midway between two banks of a sulcus that touch.

    Parameters
    ----------
    labels : (i, j, k) 0 outside, 1 cortex, 2 white matter, on an isotropic grid.

    Returns
    -------
    (i, j, k) where fronts from the white matter meet, at `SHARE` of the usual thickness or farther
    (the median distance along the outside), connected to the outside and more than `DEEPER_VOXELS`
    deep: one voxel wide on flat banks, up to two at mouth and fundus.
    """
    distance = distance_from_white(labels)
    touching = ndimage.binary_dilation(labels == 0) & (labels == 1) & (distance < FARTHEST)
    if not touching.any():
        return np.zeros(labels.shape, bool)
    nearest = SHARE * float(np.median(distance[touching]))
    ridge = _ridge(np.pad(distance, 1, constant_values=FARTHEST), nearest, FALL, _STEPS, _LENGTHS)
    ridge = ridge[1:-1, 1:-1, 1:-1].astype(bool)
    block = np.ones((3, 3, 3), bool)
    pieces, _ = ndimage.label(ridge, block)
    near = ndimage.binary_dilation(labels == 0, block)
    deep = ~ndimage.binary_dilation(labels == 0, block, DEEPER_VOXELS)
    kept = np.intersect1d(pieces[ridge & near], pieces[ridge & deep])
    return np.asarray(np.isin(pieces, kept))


def open_sulci(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`labels` with the voxels between fused banks (`fused_banks`) as outside."""
    return np.where(fused_banks(labels), 0, labels).astype(labels.dtype)


@njit(cache=True)
def _sweep(distance, labels, si, sj, sk):  # type: ignore[no-untyped-def]
    """Update all cortex voxels in one direction; the largest change."""
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
    """Voxels highest along one of 13 lines through them, falling steeply to both sides."""
    ni, nj, nk = distance.shape
    ridge = np.zeros(distance.shape, np.uint8)
    for i in range(1, ni - 1):
        for j in range(1, nj - 1):
            for k in range(1, nk - 1):
                here = distance[i, j, k]
                if here < nearest or here >= FARTHEST:
                    continue
                for s in range(len(steps)):
                    a, b, c = steps[s]
                    one, other = distance[i + a, j + b, k + c], distance[i - a, j - b, k - c]
                    # of two equals the first alone: the ridge is one voxel wide on flat banks
                    if one > here or other >= here:
                        continue
                    if 2 * here - one - other >= fall * lengths[s]:
                        ridge[i, j, k] = 1
                        break
    return ridge
