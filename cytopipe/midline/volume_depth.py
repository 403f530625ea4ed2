"""The depth in the volume, beside which the depth that a section shows can be checked."""

from pathlib import Path

import numpy as np
from scipy import ndimage

from cytopipe.formats import volumes
from cytopipe.formats.volumes import Volume
from cytopipe.numerics.geometry import Floats


def read_slab(path: Path, a_mm: Floats) -> Volume:
    """The depth of the volume between planes of the stack.

    Parameters
    ----------
    a_mm : positions along A; two voxels more are kept on either side.
    """
    depth = volumes.read(path)
    if not len(a_mm):
        return depth
    step, first = depth.affine[1, 1], depth.affine[1, 3]
    ends = (np.array([a_mm.min(), a_mm.max()]) - first) / step
    start = max(0, int(np.floor(ends[0])) - 2)
    affine = depth.affine.copy()
    affine[:3, 3] = depth.to_mm(np.array([0, start, 0]))
    slab = depth.data[:, start : max(start + 1, int(np.ceil(ends[1])) + 3)]
    return Volume(np.ascontiguousarray(slab), affine)


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
