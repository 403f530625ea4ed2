"""Cortical depth: Laplace's equation between the pial surface and the white matter.

The depth of the papers (Leprince et al., ISBI 2015, cited in CytoNet section 3.2) is the harmonic
function of the cortex that is 0 outside the brain and 1 in the white matter.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

# spectral radius of Jacobi's iteration assumed for the acceleration: that of a ribbon some ten
# voxels thick; a guess too high costs few sweeps, one too low many
RHO = 0.992
CHECK_EVERY = 20


def laplace_depth(
    labels: NDArray[np.uint8], tolerance: float = 5e-4, most_sweeps: int = 1000
) -> NDArray[np.float32]:
    """Depth in the cortex by red-black successive over-relaxation with Chebyshev acceleration.

    Parameters
    ----------
    labels : (i, j, k) 0 outside, 1 cortex, 2 white matter, on an isotropic grid. What lies beyond
        the array is outside.
    tolerance : the iteration ends when the estimated error is below this everywhere; the estimate
        is the change of a plain Jacobi step over 1 - RHO.
    most_sweeps : the iteration ends here in any case: cortex without white matter nearby (a lump)
        converges slowly and has no meaningful depth.

    Returns
    -------
    (i, j, k) depth: 0 outside, 1 in white matter, between the two in the cortex.

    Notes
    -----
    The boundary values hold on the FACES between voxels: a neighbour beyond a boundary of value b
    stands for 2 b - u, the linear continuation of u. Values fixed at the neighbours' centres would
    make the cortex a voxel thicker, which shifts 0.5 inwards at gyral crowns: on the phantom at
    1.4 mm the 95th percentile of the mid-surface's error falls from 0.82 to 0.71 voxels.
    Checkerboard ordering with omega after Chebyshev: Press et al., Numerical Recipes, 20.5.1.
    Single precision suffices: the error of the sum of six values below 1 is far under `tolerance`.
    """
    # C order, whatever a reader gives: the sweeps work on a flat view
    padded = np.ascontiguousarray(np.pad(labels, 1))
    # white matter holds 2 b = 2 during the sweeps; the - u of each boundary is in the weights
    depth = np.where(padded == 2, 2, np.where(padded == 1, 0.5, 0)).astype(np.float32)
    _, rows, columns = padded.shape
    flat = depth.reshape(-1)
    colours = [(voxels, _weights(padded, voxels)) for voxels in _colours(padded)]
    omega = np.float32(1)
    for sweep in range(most_sweeps):
        measure = sweep % CHECK_EVERY == CHECK_EVERY - 1
        largest = 0.0
        for half, (voxels, weights) in enumerate(colours):
            change = _relax(flat, voxels, weights, rows * columns, columns, omega, measure)
            largest = max(largest, change)
            # the first half sweep is plain, the second starts the series of omegas
            first = sweep == 0 and half == 0
            omega = np.float32(1 / (1 - RHO**2 * (0.5 if first else 0.25 * float(omega))))
        if measure and largest / (1 - RHO) < tolerance:
            break
    depth[padded == 2] = 1
    return np.ascontiguousarray(depth[1:-1, 1:-1, 1:-1])


def continued(depth: NDArray[np.float32], labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Depth with one layer of voxels beyond the cortex, continued linearly through its borders.

    A voxel outside gets minus the mean of its neighbours in the cortex, one in white matter 2
    minus that mean, so that interpolation between voxels meets 0 and 1 at the faces.
    """
    cortex = np.pad(labels == 1, 1)
    values = np.where(cortex, np.pad(depth, 1), np.float32(0))
    inner = slice(1, -1)
    total, count = np.zeros(labels.shape, np.float32), np.zeros(labels.shape, np.uint8)
    for axis in range(3):
        for beside in (slice(0, -2), slice(2, None)):
            where = tuple(beside if a == axis else inner for a in range(3))
            total += values[where]
            count += cortex[where]
    beyond = (labels != 1) & (count > 0)
    mean = total / np.maximum(count, 1)
    return np.where(beyond, np.where(labels == 2, 2 - mean, -mean), depth).astype(np.float32)


def _colours(labels: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Flat indices of the cortex voxels of even and of odd i + j + k."""
    cortex = np.flatnonzero(labels == 1)
    _, rows, columns = labels.shape
    odd = (cortex // (rows * columns) + cortex // columns % rows + cortex % columns) % 2 == 1
    return cortex[~odd], cortex[odd]


def _weights(labels: NDArray[np.uint8], voxels: NDArray[np.int64]) -> NDArray[np.float32]:
    """1 over the number of neighbours plus the number of those beyond a boundary."""
    _, rows, columns = labels.shape
    flat = labels.reshape(-1)
    beyond = np.zeros(len(voxels), np.float32)
    for step in (rows * columns, columns, 1):
        beyond += flat[voxels - step] != 1
        beyond += flat[voxels + step] != 1
    return np.asarray(1 / (6 + beyond), np.float32)


@njit(cache=True)
def _relax(depth, voxels, weights, plane, row, omega, measure):  # type: ignore[no-untyped-def]
    """One half sweep; returns the largest residual if `measure` is set."""
    largest = np.float32(0)
    for index in range(voxels.size):
        v = voxels[index]
        mean = (
            (depth[v - plane] + depth[v + plane])
            + (depth[v - row] + depth[v + row])
            + (depth[v - 1] + depth[v + 1])
        ) * weights[index]
        change = mean - depth[v]
        depth[v] += omega * change
        if measure:
            largest = max(largest, abs(change))
    return largest
