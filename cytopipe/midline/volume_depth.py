"""The depth in the volume, at the pixels of a section and at its points."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytopipe.formats import volumes
from cytopipe.formats.volumes import Volume
from cytopipe.numerics.geometry import Floats

# section and volume may differ by this much and still be compared; chosen, not measured
CONTINUED_VOXELS = 3


def read_slab(path: Path, a_mm: Floats) -> Volume:
    """The part of a volume between planes of the stack.

    Parameters
    ----------
    a_mm : positions along A; five voxels more are kept on either side.
    """
    volume = volumes.read(path)
    if not len(a_mm):
        return volume
    step, first = volume.affine[1, 1], volume.affine[1, 3]
    ends = (np.array([a_mm.min(), a_mm.max()]) - first) / step
    margin = CONTINUED_VOXELS + 2
    start = max(0, int(np.floor(ends[0])) - margin)
    affine = volume.affine.copy()
    affine[:3, 3] = volume.to_mm(np.array([0, start, 0]))
    slab = volume.data[:, start : max(start + 1, int(np.ceil(ends[1])) + margin + 1)]
    return Volume(np.ascontiguousarray(slab), affine)


def continued(depth: Volume) -> Volume:
    """The depth with its tangents beyond the cortex, below 0 outside and above 1 in white matter.

    Each voxel outside the cortex gets the mean of the linear continuations from its neighbours that
    have a value; NaN more than `CONTINUED_VOXELS` from the cortex.
    """
    values = depth.data.astype(np.float32)
    for _ in range(CONTINUED_VOXELS):
        values = _one_voxel_further(values)
    return Volume(values, depth.affine)


def _one_voxel_further(values: NDArray[np.float32]) -> NDArray[np.float32]:
    padded = np.pad(values, 2, constant_values=np.nan)
    known = np.isfinite(padded)
    slopes = []
    for axis in range(3):
        after, before = np.roll(padded, -1, axis) - padded, padded - np.roll(padded, 1, axis)
        after = np.where(np.isnan(after), before, after)
        before = np.where(np.isnan(before), after, before)
        slopes.append(np.nan_to_num((after + before) / 2))
    total, count = np.zeros_like(padded), np.zeros(padded.shape, np.uint8)
    plain = np.where(known, padded, np.float32(0))
    for axis in range(3):
        for step in (-1, 1):
            total += np.roll(plain + step * np.where(known, slopes[axis], 0), step, axis)
            count += np.roll(known, step, axis)
    further = ~known & (count > 0)
    inner = (slice(2, -2),) * 3
    return np.where(further, total / np.maximum(count, 1), padded)[inner].astype(np.float32)


def depth_of_page(
    depth: Volume, labels: NDArray[np.uint8], to_ras: Callable[[Floats], Floats]
) -> NDArray[np.float32]:
    """Depth of the volume at the pixels of tissue and beside them, (rows, columns); NaN elsewhere.

    Parameters
    ----------
    depth : of `continued`.
    to_ras : (n, 2) pixels as column, row to (n, 3) stack RAS mm.
    """
    rows, columns = np.nonzero(ndimage.binary_dilation(labels > 0))
    page = np.full(labels.shape, np.nan, np.float32)
    pixels = np.column_stack([columns, rows]).astype(np.float64)
    page[rows, columns] = depth_at(depth, to_ras(pixels))
    return page


def depth_at(depth: Volume, points_mm: Floats) -> Floats:
    """Trilinear depth (n,) at points (n, 3) in stack RAS mm.

    Voxels outside the cortex (NaN) are ignored; NaN where all voxels around a point are.
    """
    indices = depth.to_indices(points_mm).T
    cortex = np.isfinite(depth.data)
    weight = ndimage.map_coordinates(cortex.astype(np.float32), indices, order=1)
    values = np.where(cortex, depth.data, np.float32(0))
    total = ndimage.map_coordinates(values, indices, order=1)
    out = np.full(len(points_mm), np.nan)
    np.divide(total, weight, out=out, where=weight > 1e-3)
    return out
