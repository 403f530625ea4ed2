"""Cortical depth: Laplace's equation between the pial surface and the white matter.

The depth (Leprince et al., ISBI 2015, cited in CytoNet section 3.2) is the harmonic function in the
cortex that is 0 outside the brain and 1 in the white matter.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cytopipe.numerics.relaxation import equations, line_width, omegas, sweep

# a voxel of cortex with the pial surface through its centre: two banks of a sulcus touch there
SHEET = 3
# spectral radius of Jacobi's iteration in a ribbon some ten voxels thick
RHO = 0.992
ROUND = 10  # half sweeps between two checks of the residual. Chosen, not measured


def laplace_depth(
    labels: NDArray[np.uint8], tolerance: float = 5e-4, most_sweeps: int = 1000
) -> NDArray[np.float32]:
    """Depth in the cortex by red-black successive over-relaxation with Chebyshev acceleration.

    Parameters
    ----------
    labels : (i, j, k) 0 outside, 1 cortex, 2 white matter, SHEET, on an isotropic grid. Everything
        beyond the array is outside.
    tolerance : the iteration ends when the error is below this everywhere (see `_error`). Where the
        cortex is T voxels thick, single precision leaves an error of about 2e-8 T^2.
    most_sweeps : the iteration ends here in any case: cortex far from white matter (a lump)
        converges slowly and has no meaningful depth.

    Returns
    -------
    (i, j, k) depth: 0 outside and on sheets, 1 in white matter, in between in the cortex.

    Notes
    -----
    The boundary values hold on the FACES between voxels: a neighbour beyond a boundary of value b
    counts as 2 b - u, the linear continuation of u. Values at the neighbours' centres would make
    the cortex a voxel thicker, which shifts 0.5 inwards at gyral crowns: on the phantom at 1.4 mm,
    values on the faces lower the 95th percentile of the mid-surface error from 0.82 to 0.71 voxels.
    A sheet has no thickness: its value holds at the centres of its voxels.
    """
    labels = np.ascontiguousarray(labels)
    planes, lines, columns = labels.shape
    shape = planes + 2, lines + 2, line_width(columns)
    red, black = _pack(labels, 0, shape), _pack(labels, 1, shape)
    steps = np.uint64(shape[1] * shape[2]), np.uint64(shape[2])
    series = omegas(RHO, 2 * most_sweeps)
    before = np.inf
    for half in range(0, 2 * most_sweeps, ROUND):
        residual = sweep(red, black, steps, series[half : half + ROUND])
        if _error(residual, before, series[half]) < tolerance:
            break
        before = residual
    depth = np.empty(labels.shape, np.float32)
    _unpack(red[0].reshape(shape), black[0].reshape(shape), labels, depth)
    return depth


def continued(depth: NDArray[np.float32], labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The depth, continued linearly into the voxels beside the cortex.

    A voxel outside gets minus the mean of its neighbours in the cortex, and one in white matter
    gets 2 minus that mean, so that interpolation between voxels meets 0 and 1 at the faces.
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
    beyond = ((labels == 0) | (labels == 2)) & (count > 0)
    mean = total / np.maximum(count, 1)
    return np.where(beyond, np.where(labels == 2, 2 - mean, -mean), depth).astype(np.float32)


def _error(residual: float, before: float, omega: float) -> float:
    """Upper estimate of the error of a solution, from its residual now and ROUND half sweeps ago.

    A component that Jacobi's iteration shrinks by r per sweep has a residual of 1 - r of its error.
    The acceleration shrinks components with r below RHO by omega - 1. A slower one (cortex thicker
    than assumed) shrinks by s with s + omega - 1 = omega r sqrt(s) (Young), from which r follows.
    The slowest component remains at the end.
    """
    if residual == 0:
        return 0.0
    if residual >= before or np.isinf(before):
        return np.inf
    shrinks = max((residual / before) ** (2 / ROUND), omega - 1)
    return float(residual / (1 - max(RHO, (shrinks + omega - 1) / (omega * np.sqrt(shrinks)))))


def _pack(labels: NDArray[np.uint8], colour: int, shape: tuple[int, int, int]) -> tuple[Any, ...]:
    """One colour of the checkerboard (see `cytopipe.numerics.relaxation`).

    Voxel (i, j, k) belongs to line (i + 1, j + 1) of the colour (i + j + k + 1) % 2. The field is
    0.5 in the cortex and 2 b = 2 in white matter; the term - u of each boundary is in the weights:
    1 over the number of neighbours plus the number of neighbours beyond a boundary.
    """
    # numpy uses large pages and numba does not, which would take twice as long
    field, inverse = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    _fill(labels, colour, field, inverse)
    return field.reshape(-1), *equations(inverse, colour, 1)


@njit(cache=True, inline="always")
def _is_beyond(label: Any) -> Any:
    """Whether the boundary lies on the face towards a voxel with this label."""
    return label == 0 or label == 2


@njit(cache=True)
def _fill(labels: Any, colour: int, field: Any, inverse: Any) -> None:
    """Fill the field and the weights of a colour."""
    planes, lines, columns = labels.shape
    for i in range(planes):
        for j in range(lines):
            for k in range((i + j + 1 + colour) & 1, columns, 2):
                number = (k + 1) >> 1
                if labels[i, j, k] == 2:
                    field[i + 1, j + 1, number] = 2
                elif labels[i, j, k] == 1:
                    field[i + 1, j + 1, number] = 0.5
                    beyond = (
                        (i == 0 or _is_beyond(labels[i - 1, j, k]))
                        + (i == planes - 1 or _is_beyond(labels[i + 1, j, k]))
                        + (j == 0 or _is_beyond(labels[i, j - 1, k]))
                        + (j == lines - 1 or _is_beyond(labels[i, j + 1, k]))
                        + (k == 0 or _is_beyond(labels[i, j, k - 1]))
                        + (k == columns - 1 or _is_beyond(labels[i, j, k + 1]))
                    )
                    inverse[i + 1, j + 1, number] = np.float32(1) / np.float32(6 + beyond)


@njit(cache=True)
def _unpack(red: Any, black: Any, labels: Any, depth: Any) -> None:
    """Fill the depth from both colours."""
    planes, lines, columns = labels.shape
    for i in range(planes):
        for j in range(lines):
            for k in range(columns):
                if labels[i, j, k] == 1:
                    field = black if (i + j + k + 1) & 1 else red
                    depth[i, j, k] = field[i + 1, j + 1, (k + 1) >> 1]
                else:
                    depth[i, j, k] = labels[i, j, k] == 2
