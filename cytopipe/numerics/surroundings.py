"""What surrounds the background of a label volume."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

# the directions to the neighbours that share a face, an edge or a corner
DIRECTIONS = 26


def facing_white(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """In how many of 26 directions the next tissue from a voxel of background is white matter.

    A ventricle, or the place of an excluded nucleus, faces white matter nearly all around, even if
    it is open to the outside. A sulcus faces gray matter.

    Parameters
    ----------
    labels : (i, j, k) 0 background, 1 gray, 2 white matter.

    Returns
    -------
    (i, j, k) 0 to 26; 0 in tissue.
    """
    counts = np.zeros(labels.shape, np.uint8)
    _count(np.ascontiguousarray(labels), np.empty_like(labels, order="C"), counts)
    return counts


@njit(cache=True)
def _count(labels: Any, ahead: Any, counts: Any) -> None:
    """Carry the label of the last tissue along each direction; `ahead` is overwritten."""
    ni, nj, nk = labels.shape
    for direction in range(27):
        di, dj, dk = direction // 9 - 1, direction // 3 % 3 - 1, direction % 3 - 1
        if direction == 13:
            continue
        for a in range(ni):
            i = a if di > 0 else ni - 1 - a
            for b in range(nj):
                j = b if dj > 0 else nj - 1 - b
                for c in range(nk):
                    k = c if dk > 0 else nk - 1 - c
                    seen = labels[i, j, k]
                    if seen == 0:
                        x, y, z = i - di, j - dj, k - dk
                        if 0 <= x < ni and 0 <= y < nj and 0 <= z < nk:
                            seen = ahead[x, y, z]
                        if seen == 2:
                            counts[i, j, k] += 1
                    ahead[i, j, k] = seen
