"""Cortical thickness along the streamlines of the depth field."""

import numpy as np
from numba import njit

from cytopipe.formats.volumes import Volume
from cytopipe.numerics.geometry import Floats

# Euler steps; chosen, not measured
STEP_VOXELS = 0.1


def thickness(depth: Volume, vertices: Floats, farthest_mm: float) -> Floats:
    """Length in mm (v,) of the streamline through each vertex from pial surface to white matter.

    The thickness of Jones, Buchbinder & Aharon, Human Brain Mapping 11 (2000) 12.

    Parameters
    ----------
    depth : 0 pial to 1 white, continued beyond both (`numerics.laplace.continued`).
    vertices : (v, 3) stack RAS mm.
    farthest_mm : a streamline ends at this length to either side. Where banks are fused, the depth
        has no slope to follow.
    """
    voxel_mm = float(depth.voxel_mm[0])
    indices = np.ascontiguousarray(depth.to_indices(vertices))
    lengths = np.zeros(len(indices))
    for direction in (-1.0, 1.0):
        lengths += _streamlines(depth.data, indices, direction, farthest_mm / voxel_mm, STEP_VOXELS)
    return np.asarray(lengths * voxel_mm)


@njit(cache=True)
def _sample(field, x, y, z):  # type: ignore[no-untyped-def]
    """Value and gradient of the trilinear interpolation."""
    i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    if i < 0 or j < 0 or k < 0:
        return 0.0, 0.0, 0.0, 0.0
    if i >= field.shape[0] - 1 or j >= field.shape[1] - 1 or k >= field.shape[2] - 1:
        return 0.0, 0.0, 0.0, 0.0
    a, b, c = x - i, y - j, z - k
    value = gx = gy = gz = 0.0
    for p in range(2):
        for q in range(2):
            for r in range(2):
                v = field[i + p, j + q, k + r]
                wa, wb, wc = (a if p else 1 - a), (b if q else 1 - b), (c if r else 1 - c)
                value += v * wa * wb * wc
                gx += v * (2 * p - 1) * wb * wc
                gy += v * (2 * q - 1) * wa * wc
                gz += v * (2 * r - 1) * wa * wb
    return value, gx, gy, gz


@njit(cache=True)
def _streamlines(field, starts, direction, farthest, step):  # type: ignore[no-untyped-def]
    """Length in voxels from each start to the boundary up (1) or down (-1) the field."""
    lengths = np.zeros(len(starts))
    for n in range(len(starts)):
        x, y, z = starts[n]
        while lengths[n] < farthest:
            value, gx, gy, gz = _sample(field, x, y, z)
            slope = np.sqrt(gx * gx + gy * gy + gz * gz)
            left = 1 - value if direction > 0 else value
            if slope < 1e-4 or left < 1e-3:
                break
            # the last step ends at the boundary, not beyond
            length = min(step, left / slope)
            x += direction * length * gx / slope
            y += direction * length * gy / slope
            z += direction * length * gz / slope
            lengths[n] += length
    return lengths
