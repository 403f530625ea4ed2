"""Exact coverage of pixels by closed loops, so that images need no supersampling.

The winding number is summed along the rows. An edge within a pixel counts by the area it cuts off.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cytopipe.numerics.geometry import Floats


def coverage(segments_px: Floats, rows: int, columns: int) -> NDArray[np.float32]:
    """Share of each pixel inside closed directed loops, (rows, columns).

    Parameters
    ----------
    segments_px : (n, 2, 2) start and end as (column, row), integer = pixel centre, as from
        `slicing.plane_segments`. Loops may leave the window. Holes run in the opposite direction of
        outer contours.
    """
    covered = np.zeros((rows, columns), np.float32)
    edges = np.ascontiguousarray(segments_px, np.float64) + 0.5
    if len(edges) > 0:
        changes = np.zeros((rows, columns + 1), np.float32)
        turning = _accumulate(changes, edges)
        _sum_rows(changes, np.sign(turning), covered)
    return covered


@njit(cache=True)
def _sum_rows(changes, sign, covered) -> None:  # type: ignore[no-untyped-def]
    for row in range(covered.shape[0]):
        total = 0.0
        for column in range(covered.shape[1]):
            total += sign * changes[row, column]
            # rounding errors are neither tissue nor a hole
            covered[row, column] = 0.0 if total < 1e-4 else 1.0 if total > 1 - 1e-4 else total


@njit(cache=True)
def _ramp(left, right, x) -> float:  # type: ignore[no-untyped-def]
    """Mean over an edge from `left` to `right` of max(0, x - position)."""
    if x <= left:
        return 0.0
    if x >= right:
        return float(x - 0.5 * (left + right))
    return float(0.5 * (x - left) * (x - left) / (right - left))


@njit(cache=True)
def _covered(left, right, x) -> float:  # type: ignore[no-untyped-def]
    """Mean over an edge from `left` to `right` of the share of pixel [x - 1, x] to its right."""
    return _ramp(left, right, x) - _ramp(left, right, x - 1.0)


@njit(cache=True)
def _accumulate(image, edges) -> float:  # type: ignore[no-untyped-def]
    """Add the change of covered area along the rows at each edge; return the signed area.

    This is the accumulation buffer of R. Levien's font-rs.
    """
    rows, columns = image.shape[0], image.shape[1] - 1
    turning = 0.0
    for e in range(edges.shape[0]):
        x0, y0, x1, y1 = edges[e, 0, 0], edges[e, 0, 1], edges[e, 1, 0], edges[e, 1, 1]
        turning += 0.5 * (x0 + x1) * (y1 - y0)
        if y0 == y1:
            continue
        sign = 1.0
        if y0 > y1:
            x0, y0, x1, y1, sign = x1, y1, x0, y0, -1.0
        slope = (x1 - x0) / (y1 - y0)
        for row in range(max(0, int(np.floor(y0))), min(rows, int(np.ceil(y1)))):
            top, bottom = max(y0, float(row)), min(y1, float(row + 1))
            height = bottom - top
            if height <= 0:
                continue
            left = x0 + slope * (top - y0)
            right = x0 + slope * (bottom - y0)
            if left > right:
                left, right = right, left
            # an edge left of the window covers whole rows, one right of it covers nothing
            left, right = min(max(left, 0.0), columns), min(max(right, 0.0), columns)
            first, last = int(left), int(right)
            if first == last:
                mean = 0.5 * (left + right) - first
                image[row, first] += -sign * height * (1 - mean)
                if first + 1 <= columns:
                    image[row, first + 1] += -sign * height * mean
                continue
            # the area to the right of the edge, column by column
            before = 0.0
            for column in range(first, min(last, columns) + 1):
                reached = _covered(left, right, column + 1.0)
                image[row, column] += -sign * height * (reached - before)
                before = reached
            if last + 1 <= columns:
                image[row, last + 1] += -sign * height * (1 - before)
    return float(turning)
