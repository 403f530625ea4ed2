"""What lies near single pixels of an image, found without a pass over all of it."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]


def nearest(mask: Mask, rows: Ints, columns: Ints, reach: float) -> tuple[Ints, Ints]:
    """Nearest pixel of a mask to each of n pixels, as scipy's `distance_transform_edt` finds it.

    Parameters
    ----------
    rows, columns : (n,) pixels of the image.
    reach : pixels farther away than this may be missed.

    Returns
    -------
    (n,) row and (n,) column, both -1 where none is found. Of several at the same distance the
    leftmost, then the uppermost.
    """
    found = _nearest(mask, rows, columns, int(np.ceil(reach)))
    return found[0], found[1]


def count(mask: Mask, rows: Ints, columns: Ints, reach: int) -> Ints:
    """(n,) pixels of a mask in squares of 2 `reach` + 1 pixels an edge around n pixels."""
    return np.asarray(_count(mask, rows, columns, reach))


def beside(labels: NDArray[np.uint8], one: int, other: int) -> Mask:
    """Pixels labelled `one` that share an edge with a pixel labelled `other`."""
    return np.asarray(_beside(labels, one, other))


@njit(cache=True)
def _nearest(mask: Any, rows: Any, columns: Any, reach: int) -> Any:
    height, width = mask.shape
    found = np.full((2, rows.size), -1, np.int64)
    for i in range(rows.size):
        y, x = rows[i], columns[i]
        least = 2 * (reach + 1) ** 2
        for u in range(max(0, x - reach), min(width, x + reach + 1)):
            across = (u - x) ** 2
            if across >= least:
                continue
            for v in range(max(0, y - reach), min(height, y + reach + 1)):
                if mask[v, u] and across + (v - y) ** 2 < least:
                    least = across + (v - y) ** 2
                    found[0, i], found[1, i] = v, u
    return found


@njit(cache=True)
def _count(mask: Any, rows: Any, columns: Any, reach: int) -> Any:
    height, width = mask.shape
    counts = np.zeros(rows.size, np.int64)
    for i in range(rows.size):
        left, right = max(0, columns[i] - reach), min(width, columns[i] + reach + 1)
        for v in range(max(0, rows[i] - reach), min(height, rows[i] + reach + 1)):
            for u in range(left, right):
                counts[i] += mask[v, u]
    return counts


@njit(cache=True)
def _beside(labels: Any, one: int, other: int) -> Any:
    rows, columns = labels.shape
    found = np.zeros(labels.shape, np.bool_)
    for y in range(rows):
        for x in range(columns):
            if labels[y, x] == one:
                found[y, x] = (
                    (y > 0 and labels[y - 1, x] == other)
                    or (y + 1 < rows and labels[y + 1, x] == other)
                    or (x > 0 and labels[y, x - 1] == other)
                    or (x + 1 < columns and labels[y, x + 1] == other)
                )
    return found
