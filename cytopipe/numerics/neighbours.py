"""Pixels near single pixels of an image, without a pass over the whole image."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True)
def nearest(mask: Any, rows: Any, columns: Any, reach: float) -> Any:
    """Nearest pixel of a mask to each of n pixels, as in scipy's `distance_transform_edt`.

    Parameters
    ----------
    mask : (height, width) bool.
    rows, columns : (n,) pixels of the image.
    reach : pixels farther away than this may be missed.

    Returns
    -------
    (n,) row and (n,) column; both are -1 if no pixel is near. If several are equally near, the
    leftmost wins, then the uppermost.
    """
    height, width = mask.shape
    nearest_row = np.full(rows.size, -1, np.int64)
    nearest_column = np.full(rows.size, -1, np.int64)
    reach_px = int(np.ceil(reach))
    for i in range(rows.size):
        y, x = rows[i], columns[i]
        least = 2 * (reach_px + 1) ** 2
        for u in range(max(0, x - reach_px), min(width, x + reach_px + 1)):
            across = (u - x) ** 2
            if across >= least:
                continue
            for v in range(max(0, y - reach_px), min(height, y + reach_px + 1)):
                if mask[v, u] and across + (v - y) ** 2 < least:
                    least = across + (v - y) ** 2
                    nearest_row[i], nearest_column[i] = v, u
    return nearest_row, nearest_column


@njit(cache=True)
def count(mask: Any, rows: Any, columns: Any, reach: int) -> Any:
    """Number (n,) of the mask's pixels in a square of 2 `reach` + 1 pixels around each pixel."""
    height, width = mask.shape
    counts = np.zeros(rows.size, np.int64)
    for i in range(rows.size):
        left, right = max(0, columns[i] - reach), min(width, columns[i] + reach + 1)
        for v in range(max(0, rows[i] - reach), min(height, rows[i] + reach + 1)):
            for u in range(left, right):
                counts[i] += mask[v, u]
    return counts


@njit(cache=True)
def beside(labels: NDArray[np.uint8], one: int, other: int) -> NDArray[np.bool_]:
    """Pixels labelled `one` that share an edge with a pixel labelled `other`."""
    rows, columns = labels.shape
    touches = np.zeros(labels.shape, np.bool_)
    for y in range(rows):
        for x in range(columns):
            if labels[y, x] == one:
                touches[y, x] = (
                    (y > 0 and labels[y - 1, x] == other)
                    or (y + 1 < rows and labels[y + 1, x] == other)
                    or (x > 0 and labels[y, x - 1] == other)
                    or (x + 1 < columns and labels[y, x + 1] == other)
                )
    return touches
