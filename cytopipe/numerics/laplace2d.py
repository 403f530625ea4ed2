"""The Laplace equation on the pixels of a mask, and walks along its gradient.

Boundaries lie on the faces BETWEEN pixels (finite volumes), half a pixel from the centre of the
last unknown. The solution in a strip of n pixels is then exact, not shifted by half a pixel, which
would be a twentieth of the depth if the cortex is ten pixels thick.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cytopipe.numerics.components import touching
from cytopipe.numerics.geometry import Floats
from cytopipe.numerics.relaxation import equations, line_width, omegas, sweep

Mask = NDArray[np.bool_]

REACHED, LIMIT, FLAT, WALL = 0, 1, 2, 3
ROUND = 8  # half sweeps between two checks of the residual. Chosen, not measured
COARSEST_PX = 64  # no image is halved to a shorter side than this. Chosen, not measured


def solve_laplace(
    unknown: Mask, values: Floats, centred: Mask, tolerance: float = 3e-5, max_sweeps: int = 3000
) -> NDArray[np.float32]:
    """Solve the Laplace equation by red-black over-relaxation, starting from half the resolution.

    Parameters
    ----------
    unknown : (rows, columns) pixels to solve for.
    values : (rows, columns) Dirichlet values of the other pixels; NaN insulates (no flux), and so
        does the border of the image.
    centred : (rows, columns) pixels whose value holds at their centre; the values of the others
        hold on the face towards the unknown.
    tolerance : sweeps end when no pixel differs from the mean of its neighbours by more than this.
        The error of the solution is about ten times as large, and up to 200 times in lumps of 50 to
        100 px beside much narrower cortex.
    max_sweeps : sweeps end here in any case.

    Returns
    -------
    (rows, columns) the solution at unknown pixels. Centred pixels beside them keep their value; the
    other neighbours get the value that puts the Dirichlet value on the face by linear
    interpolation. NaN elsewhere and in pieces that touch no boundary.
    """
    known = np.where(unknown, np.nan, values)
    return np.asarray(_solve(np.ascontiguousarray(unknown), known, centred, tolerance, max_sweeps))


def _solve(unknown: Mask, known: Floats, centred: Mask, tolerance: float, max_sweeps: int) -> Any:
    guess = np.zeros((0, 0), np.float32)
    if min(unknown.shape) >= 2 * COARSEST_PX:
        unknown_there, known_there, centred_there = _coarser(unknown, known, centred)
        guess = _solve(unknown_there, known_there, centred_there, tolerance, max_sweeps)
    borders, contacts = _borders(unknown, known)
    unknown = touching(unknown, borders)
    reds, blacks = _pack(unknown, known, centred, guess)
    # a strip of n pixels has the radius cos(pi / n). The widest pieces, crowns or two banks without
    # a sulcus, are a few times as wide as the mean, 2 area / border; the guess is good there
    width = max(3.0, 2 * 2 * np.count_nonzero(unknown) / max(1, contacts))
    series = omegas(np.cos(np.pi / width), 2 * max_sweeps)
    steps = (np.uint64(line_width(unknown.shape[1])),)
    for half in range(0, 2 * max_sweeps, ROUND):
        if sweep(reds, blacks, steps, series[half : half + ROUND]) < tolerance:
            break
    return _unpack(reds[0], blacks[0], unknown, known, centred)


def walk(
    field: NDArray[np.float32],
    allowed: Mask,
    points_px: Floats,
    target: float,
    limits_px: Floats,
    step_px: float = 0.2,
) -> tuple[Floats, NDArray[np.int64]]:
    """Move points along the gradient of the field until its value is `target`.

    Parameters
    ----------
    field : from `solve_laplace`.
    allowed : pixels that points may not leave.
    points_px : (n, 2) column, row; inside `allowed`.
    target : value to reach, uphill or downhill. If it is the highest value of the field (a ridge),
        a walk ends where the field stops rising.
    limits_px : (n,) longest path of each point.

    Returns
    -------
    (n, 2) the ends of the walks, and (n,) why they ended: REACHED, LIMIT, FLAT (no gradient) or
    WALL.
    """
    ends = np.array(points_px, np.float64)
    how = np.zeros(len(ends), np.int64)
    _walk(field, allowed, ends, target, np.asarray(limits_px, np.float64), step_px, how)
    return ends, how


@njit(cache=True)
def _coarser(unknown: Any, known: Any, centred: Any) -> Any:
    """The equations at half the resolution, from two by two pixels each.

    A pixel is centred if one of the four is. It is unknown if at least three are, so that a sulcus
    one pixel wide stays open. Otherwise its value is the mean of the known ones.
    """
    rows, columns = (unknown.shape[0] + 1) // 2, (unknown.shape[1] + 1) // 2
    half = np.zeros((rows, columns), np.bool_)
    values, centres = np.full((rows, columns), np.nan), np.zeros((rows, columns), np.bool_)
    for y in range(rows):
        for x in range(columns):
            unknowns = count = middle_count = 0
            total = middle_total = 0.0
            for v in range(2 * y, min(2 * y + 2, unknown.shape[0])):
                for u in range(2 * x, min(2 * x + 2, unknown.shape[1])):
                    if unknown[v, u]:
                        unknowns += 1
                    elif not np.isnan(known[v, u]):
                        total += known[v, u]
                        count += 1
                        if centred[v, u]:
                            middle_total += known[v, u]
                            middle_count += 1
            if middle_count > 0:
                centres[y, x], values[y, x] = True, middle_total / middle_count
            elif unknowns >= 3:
                half[y, x] = True
            elif count > 0:
                values[y, x] = total / count
    return half, values, centres


@njit(cache=True)
def _borders(unknown: Any, known: Any) -> Any:
    """The unknown pixels beside a known one, and the number of faces between them."""
    rows, columns = unknown.shape
    borders = np.zeros_like(unknown)
    contacts = 0
    for y in range(rows):
        for x in range(columns):
            if not unknown[y, x]:
                continue
            for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                v, u = y + down, x + right
                if 0 <= v < rows and 0 <= u < columns and not np.isnan(known[v, u]):
                    borders[y, x] = True
                    contacts += 1
    return borders, contacts


@njit(cache=True)
def _pack(unknown: Any, known: Any, centred: Any, guess: Any) -> Any:
    """The two colours of the checkerboard (see `cytopipe.numerics.relaxation`).

    Pixel (row, column) belongs to line row + 1 of the colour (row + column) % 2. The field is the
    guess at unknown pixels, and elsewhere the pixel's contribution to a neighbour's sum.
    """
    rows, columns = unknown.shape
    field = np.zeros((2, rows + 2, 1, line_width(columns)), np.float32)
    inverse = np.zeros_like(field)
    for y in range(rows):
        for x in range(columns):
            colour, place = (y + x) & 1, (x + 1) >> 1
            if not unknown[y, x]:
                if not np.isnan(known[y, x]):
                    weight = 1 if centred[y, x] else 2
                    field[colour, y + 1, 0, place] = weight * known[y, x]
                continue
            weights = 0
            for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                v, u = y + down, x + right
                if v < 0 or u < 0 or v >= rows or u >= columns:
                    continue
                if unknown[v, u]:
                    weights += 1
                elif not np.isnan(known[v, u]):
                    weights += 1 if centred[v, u] else 2
            field[colour, y + 1, 0, place] = _finer(guess, y, x)
            if weights > 0:
                inverse[colour, y + 1, 0, place] = np.float32(1) / np.float32(weights)
    return (
        (field[0].reshape(-1), *equations(inverse[0], 0, 0)),
        (field[1].reshape(-1), *equations(inverse[1], 1, 0)),
    )


@njit(cache=True)
def _finer(guess: Any, y: int, x: int) -> Any:
    """Bilinear value at a pixel from the image of half the resolution; NaN pixels are ignored."""
    total = weights = np.float32(0)
    for v, down in ((y >> 1, 3), ((y >> 1) + 2 * (y & 1) - 1, 1)):
        for u, across in ((x >> 1, 3), ((x >> 1) + 2 * (x & 1) - 1, 1)):
            if 0 <= v < guess.shape[0] and 0 <= u < guess.shape[1] and not np.isnan(guess[v, u]):
                weight = np.float32(down * across)
                total += weight * guess[v, u]
                weights += weight
    return total / weights if weights > 0 else np.float32(0.5)


@njit(cache=True)
def _unpack(reds: Any, blacks: Any, solved: Any, known: Any, centred: Any) -> Any:
    """The solution, with the values beside it (see `solve_laplace`)."""
    rows, columns = solved.shape
    red, black = reds.reshape(rows + 2, -1), blacks.reshape(rows + 2, -1)
    image = np.full((rows, columns), np.nan, np.float32)
    for y in range(rows):
        for x in range(columns):
            if solved[y, x]:
                colour = black if (y + x) & 1 else red
                image[y, x] = colour[y + 1, (x + 1) >> 1]
    for y in range(rows):
        for x in range(columns):
            if np.isnan(known[y, x]):
                continue
            total, faces = 0.0, 0
            for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                v, u = y + down, x + right
                if 0 <= v < rows and 0 <= u < columns and solved[v, u]:
                    total += image[v, u]
                    faces += 1
            if faces > 0:
                image[y, x] = known[y, x] if centred[y, x] else 2 * known[y, x] - total / faces
    return image


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
def interpolate(field: NDArray[np.float32], points: Floats) -> Floats:
    """Bilinear value of the field at points (n, 2), as column, row in pixels; NaN is ignored."""
    values = np.empty(points.shape[0])
    for i in range(points.shape[0]):
        values[i] = _value(field, points[i, 0], points[i, 1])
    return values


@njit(cache=True)
def _difference(field: Any, row: int, column: int, down: int, right: int) -> float:
    """Central difference; a neighbour without a value gets the pixel's own (no flux)."""
    rows, columns = field.shape
    own = before = after = np.float64(field[row, column])
    if np.isnan(own):
        return 0.0
    v, u = row + down, column + right
    if v < rows and u < columns and not np.isnan(field[v, u]):
        after = np.float64(field[v, u])
    v, u = row - down, column - right
    if v >= 0 and u >= 0 and not np.isnan(field[v, u]):
        before = np.float64(field[v, u])
    return (after - before) / 2


@njit(cache=True)
def _slope(field: Any, allowed: Any, x: float, y: float) -> Any:
    """Gradient along x and y, bilinear between those of the four pixels that are allowed."""
    rows, columns = allowed.shape
    left, top = int(np.floor(x)), int(np.floor(y))
    gx = gy = weights = 0.0
    for row in range(top, top + 2):
        for column in range(left, left + 2):
            if 0 <= row < rows and 0 <= column < columns and allowed[row, column]:
                weight = (1 - abs(y - row)) * (1 - abs(x - column))
                gx += weight * _difference(field, row, column, 0, 1)
                gy += weight * _difference(field, row, column, 1, 0)
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
def _walk(field, allowed, points, target, limits, step, how):  # type: ignore[no-untyped-def]
    for i in range(points.shape[0]):
        x, y, gone = points[i, 0], points[i, 1], 0.0
        value = _value(field, x, y)
        uphill = 1.0 if value < target else -1.0
        how[i] = REACHED
        while value != target:
            if gone >= limits[i] - 1e-9:  # ten steps of 0.2 are less than 2
                how[i] = LIMIT
                break
            length = min(step, limits[i] - gone)
            # midpoint rule: the slope half a step ahead
            gx, gy = _slope(field, allowed, x, y)
            slope = np.sqrt(gx * gx + gy * gy)
            if not slope > 1e-5:
                how[i] = FLAT
                break
            half = 0.5 * length * uphill / slope
            gx2, gy2 = _slope(field, allowed, x + half * gx, y + half * gy)
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
                # beyond the ridge, or at its end
                how[i] = REACHED if abs(value - target) < 0.1 else FLAT
                break
            if (after - target) * uphill >= 0:
                share = (target - value) / (after - value)
                near_x, near_y = x + share * (to_x - x), y + share * (to_y - y)
                # a corner of a forbidden pixel may lie between two allowed points
                if _is_allowed(allowed, near_x, near_y):
                    x, y = near_x, near_y
                elif share > 0.5:
                    x, y = to_x, to_y
                break
            x, y, value, gone = to_x, to_y, after, gone + length
        points[i, 0], points[i, 1] = x, y
