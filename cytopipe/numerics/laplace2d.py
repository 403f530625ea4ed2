"""The Laplace equation on the pixels of a mask, and walks along its gradient.

Finite volumes: a boundary lies on the faces BETWEEN pixels, half a pixel from the centre of the
last unknown, which makes the solution in a strip of n pixels exact instead of shifted by half a
pixel (a twentieth of the depth at ten pixels of cortex).
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

REACHED, LIMIT, FLAT, WALL = 0, 1, 2, 3


def solve_laplace(
    unknown: Mask, values: Floats, centred: Mask, tolerance: float = 3e-5, max_sweeps: int = 3000
) -> NDArray[np.float32]:
    """Solve the Laplace equation by red-black successive over-relaxation.

    Parameters
    ----------
    unknown : (rows, columns) pixels to solve for.
    values : (rows, columns) Dirichlet value of the other pixels; NaN insulates (no flux), and so
        does the border of the image.
    centred : (rows, columns) pixels whose value holds at their centre; the value of the others
        holds on the face towards the unknown.
    tolerance : sweeps end when no pixel is off its neighbours' mean by more than this; the error
        of the solution is some ten times as large.

    Returns
    -------
    (rows, columns) solution at unknown pixels; the value at centred pixels beside them; at the
    other neighbours the value that puts the Dirichlet value on the face by linear
    interpolation; NaN elsewhere and in pieces that touch no boundary.
    """
    inside = np.pad(unknown, 1)
    known = np.pad(np.where(unknown, np.nan, values), 1, constant_values=np.nan)
    weight = np.where(np.isnan(known), 0.0, np.where(np.pad(centred, 1), 1.0, 2.0))
    pull = weight * np.nan_to_num(known)
    diagonal = np.zeros(inside.shape, np.float32)
    source = np.zeros(inside.shape, np.float32)
    contacts = np.zeros(inside.shape, np.int8)
    middle = (slice(1, -1), slice(1, -1))
    for there in _NEIGHBOURS:
        diagonal[middle] += (inside + weight)[there]
        source[middle] += pull[there]
        contacts[middle] += weight[there] > 0
    contacts[~inside] = 0
    inverse = np.divide(1, diagonal, out=np.zeros_like(diagonal), where=diagonal > 0)
    field = np.where(inside, np.float32(0.5), np.float32(0))
    # a strip of n pixels wants 2 / (1 + sin(pi / n)). The slowest piece, a crown or two banks
    # without a sulcus, is some three times as wide as the mean, 2 area / border
    width = max(3.0, 3 * 2 * inside.sum() / max(1, int(contacts.sum(dtype=np.int64))))
    relaxation = np.float32(2 / (1 + np.sin(np.pi / width)))
    _sweep(field, source, inverse, _runs(inside), relaxation, np.float32(tolerance), max_sweeps)

    # a piece without a border is all initial guess
    pieces, count = ndimage.label(inside)
    bounded = np.bincount(pieces.ravel(), contacts.ravel(), count + 1) > 0
    solution = np.where(inside & bounded[pieces], field, np.nan)
    total, faces = np.zeros(inside.shape), np.zeros(inside.shape)
    for there in _NEIGHBOURS:
        valid = ~np.isnan(solution[there])
        total[middle] += np.where(valid, solution[there], 0.0)
        faces[middle] += valid
    beside = ~inside & (faces > 0) & ~np.isnan(known)
    mean = total / np.maximum(faces, 1)
    outer = np.where(np.pad(centred, 1), known, 2 * known - mean)
    return np.asarray(np.where(beside, outer, solution)[middle], np.float32)


def gradient(field: NDArray[np.float32], where: Mask) -> tuple[Floats, Floats]:
    """Central differences along x and y at the pixels `where`; 0 elsewhere.

    A neighbour that is NaN takes the pixel's own value (no flux).
    """
    padded = np.pad(field.astype(np.float64), 1, constant_values=np.nan)
    own = padded[1:-1, 1:-1]
    up, down, left, right = (
        np.where(np.isnan(padded[there]), own, padded[there]) for there in _NEIGHBOURS
    )
    usable = where & ~np.isnan(own)
    return (
        np.asarray(np.where(usable, (right - left) / 2, 0.0)),
        np.asarray(np.where(usable, (down - up) / 2, 0.0)),
    )


def interpolate(field: NDArray[np.float32], points_px: Floats) -> Floats:
    """Bilinear value of the field at (n, 2) column, row; corners that are NaN are left out."""
    return np.asarray(_interpolate(field, np.asarray(points_px, np.float64)))


def walk(
    field: NDArray[np.float32],
    allowed: Mask,
    points_px: Floats,
    target: float,
    limits_px: Floats,
    step_px: float = 0.2,
) -> tuple[Floats, NDArray[np.int64]]:
    """Carry points along the gradient of the field until its value is `target`.

    Parameters
    ----------
    field : as from `solve_laplace`.
    allowed : pixels in which points may be; a step that would leave them is not made.
    points_px : (n, 2) column, row; inside `allowed`.
    target : value to reach, uphill or downhill. With the highest value of the field (a ridge)
        a walk ends where the field stops rising.
    limits_px : (n,) longest path of each point.

    Returns
    -------
    (n, 2) where the walks ended, and how: REACHED, LIMIT, FLAT (no gradient) or WALL.
    """
    along_x, along_y = gradient(field, allowed)
    ends = np.array(points_px, np.float64)
    how = np.zeros(len(ends), np.int64)
    _walk(field, along_x, along_y, allowed, ends, target, np.asarray(limits_px), step_px, how)
    return ends, how


# slices of a padded array that bring the upper, lower, left and right neighbour to a pixel
_NEIGHBOURS = (
    (slice(0, -2), slice(1, -1)),
    (slice(2, None), slice(1, -1)),
    (slice(1, -1), slice(0, -2)),
    (slice(1, -1), slice(2, None)),
)


@njit(cache=True)
def _runs(mask: Any) -> Any:
    """(n, 3) row, first column and end column of the runs of a mask whose border is empty."""
    rows, columns = mask.shape
    runs = np.empty((mask.size // 2 + 1, 3), np.int32)
    count = 0
    for row in range(rows):
        column = 0
        while column < columns:
            if mask[row, column]:
                first = column
                while mask[row, column]:
                    column += 1
                runs[count, 0], runs[count, 1], runs[count, 2] = row, first, column
                count += 1
            column += 1
    return runs[:count].copy()


@njit(cache=True, fastmath=True)
def _sweep(
    field: Any, source: Any, inverse: Any, runs: Any, relaxation: Any, tolerance: Any, most: int
) -> None:
    for _ in range(most):
        largest = np.float32(0)
        for colour in range(2):
            for run in range(runs.shape[0]):
                y, first, end = runs[run, 0], runs[run, 1], runs[run, 2]
                for x in range(first + ((y + first + colour) & 1), end, 2):
                    change = (
                        field[y - 1, x]
                        + field[y + 1, x]
                        + field[y, x - 1]
                        + field[y, x + 1]
                        + source[y, x]
                    ) * inverse[y, x] - field[y, x]
                    field[y, x] += relaxation * change
                    largest = max(largest, abs(change))
        if largest < tolerance:
            return


@njit(cache=True)
def _value(field: Any, x: float, y: float) -> float:
    rows, columns = field.shape
    left, top = int(np.floor(x)), int(np.floor(y))
    total = weights = 0.0
    for row in range(top, top + 2):
        for column in range(left, left + 2):
            if 0 <= row < rows and 0 <= column < columns and not np.isnan(field[row, column]):
                weight = (1 - abs(y - row)) * (1 - abs(x - column))
                total += weight * field[row, column]
                weights += weight
    return total / weights if weights > 0 else np.nan


@njit(cache=True)
def _interpolate(field: Any, points: Any) -> Any:
    values = np.empty(points.shape[0])
    for i in range(points.shape[0]):
        values[i] = _value(field, points[i, 0], points[i, 1])
    return values


@njit(cache=True)
def _slope(along_x: Any, along_y: Any, allowed: Any, x: float, y: float) -> Any:
    rows, columns = allowed.shape
    left, top = int(np.floor(x)), int(np.floor(y))
    gx = gy = weights = 0.0
    for row in range(top, top + 2):
        for column in range(left, left + 2):
            if 0 <= row < rows and 0 <= column < columns and allowed[row, column]:
                weight = (1 - abs(y - row)) * (1 - abs(x - column))
                gx += weight * along_x[row, column]
                gy += weight * along_y[row, column]
                weights += weight
    if weights > 0:
        return gx / weights, gy / weights
    return 0.0, 0.0


@njit(cache=True)
def _is_allowed(allowed: Any, x: float, y: float) -> bool:
    row, column = int(np.floor(y + 0.5)), int(np.floor(x + 0.5))
    inside = 0 <= row < allowed.shape[0] and 0 <= column < allowed.shape[1]
    return inside and allowed[row, column]


@njit(cache=True)
def _walk(
    field: Any,
    along_x: Any,
    along_y: Any,
    allowed: Any,
    points: Any,
    target: float,
    limits: Any,
    step: float,
    how: Any,
) -> None:
    for i in range(points.shape[0]):
        x, y, gone = points[i, 0], points[i, 1], 0.0
        value = _value(field, x, y)
        uphill = 1.0 if value < target else -1.0
        how[i] = REACHED
        while value != target:
            if gone >= limits[i]:
                how[i] = LIMIT
                break
            length = min(step, limits[i] - gone)
            # midpoint rule: the slope half a step ahead
            gx, gy = _slope(along_x, along_y, allowed, x, y)
            slope = np.sqrt(gx * gx + gy * gy)
            if not slope > 1e-5:
                how[i] = FLAT
                break
            half = 0.5 * length * uphill / slope
            gx2, gy2 = _slope(along_x, along_y, allowed, x + half * gx, y + half * gy)
            slope2 = np.sqrt(gx2 * gx2 + gy2 * gy2)
            if slope2 > 1e-5:
                gx, gy, slope = gx2, gy2, slope2
            to_x = x + length * uphill * gx / slope
            to_y = y + length * uphill * gy / slope
            if not _is_allowed(allowed, to_x, to_y):
                how[i] = WALL
                break
            after = _value(field, to_x, to_y)
            if (after - value) * uphill <= 0:
                # over the ridge, or round the last bit of one
                how[i] = REACHED if abs(value - target) < 0.1 else FLAT
                break
            if (after - target) * uphill >= 0:
                share = (target - value) / (after - value)
                near_x, near_y = x + share * (to_x - x), y + share * (to_y - y)
                # between two allowed points there may lie the corner of a pixel that is not
                if _is_allowed(allowed, near_x, near_y):
                    x, y = near_x, near_y
                elif share > 0.5:
                    x, y = to_x, to_y
                break
            x, y, value, gone = to_x, to_y, after, gone + length
        points[i, 0], points[i, 1] = x, y
