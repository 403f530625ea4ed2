"""Morphological active contours without edges (Marquez-Neila et al. 2014), 64 pixels per word.

The result equals `skimage.segmentation.morphological_chan_vese` with lambda1 = lambda2 = 1, pixel
for pixel. It is faster because it smooths 64 pixels at a time, reads the image only along the
contour, and updates the sums of the two regions only for pixels that changed. Gray values are
integers, so the sums are exact in any order.

scikit-image alternates its two smoothing operators through a state that outlives the call. Here
each call starts with the same operator, like the first call of scikit-image.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cytopipe.numerics import bitmasks
from cytopipe.numerics.bitmasks import ALL, ONE, Words, from_left, from_right, last_word, position


def chan_vese(
    image: NDArray[np.uint16], initial: NDArray[np.bool_], iterations: int, smoothing: int
) -> NDArray[np.bool_]:
    """Move a contour until it separates an image into two regions of uniform intensity.

    Parameters
    ----------
    image : (rows, columns).
    initial : (rows, columns), the initial inside.
    iterations : steps of the contour, which move it by at most one pixel each.
    smoothing : curvature steps after each iteration; more give a smoother contour.

    Returns
    -------
    (rows, columns), the inside.
    """
    evolved = _evolve(image, bitmasks.pack(initial), iterations, smoothing)
    return bitmasks.unpack(evolved, image.shape[1])


@njit(cache=True)
def _smooth(words: Words, out: Words, last: np.uint64, grow: bool) -> None:
    """Apply a curvature operator over the four straight segments of three pixels.

    If `grow`, the intersection of the four dilations (skimage's inf_sup), else the union of the
    four erosions (sup_inf). Pixels beyond the image are not set, as in scipy's binary morphology.
    """
    rows, count = words.shape
    for y in range(1, rows - 1):
        for k in range(1, count - 1):
            here, up, down = words[y, k], words[y - 1, k], words[y + 1, k]
            left = from_left(here, words[y, k - 1])
            right = from_right(here, words[y, k + 1])
            up_left = from_left(up, words[y - 1, k - 1])
            up_right = from_right(up, words[y - 1, k + 1])
            down_left = from_left(down, words[y + 1, k - 1])
            down_right = from_right(down, words[y + 1, k + 1])
            if grow:
                out[y, k] = here | (
                    (up | down) & (left | right) & (up_left | down_right) & (up_right | down_left)
                )
            else:
                out[y, k] = here & (
                    (up & down) | (left & right) | (up_left & down_right) | (up_right & down_left)
                )
        out[y, count - 2] &= last


@njit(cache=True)
def _attach(
    words: Words, out: Words, image: NDArray[np.uint16], outside_mean: float, inside_mean: float
) -> None:
    """Assign each pixel on the contour, where the gradient is not zero, to the nearer mean."""
    rows, columns = image.shape
    count = words.shape[1]
    last = last_word(columns)
    last_bit = ONE << np.uint64((columns - 1) & 63)
    for y in range(1, rows + 1):
        for k in range(1, count - 1):
            here = words[y, k]
            # the gradient is one-sided at the image border: the pixel replaces a missing neighbour
            up = words[y - 1, k] if y > 1 else here
            down = words[y + 1, k] if y < rows else here
            left = from_left(here, words[y, k - 1])
            right = from_right(here, words[y, k + 1])
            if k == 1:
                left = (left & ~ONE) | (here & ONE)
            contour = ALL
            if k == count - 2:
                right = (right & ~last_bit) | (here & last_bit)
                contour = last
            contour &= (left ^ right) | (up ^ down)
            moved = here
            while contour:
                bit = contour & (~contour + ONE)
                value = np.float64(image[y - 1, (k - 1) * 64 + position(bit)])
                force = (value - inside_mean) ** 2 - (value - outside_mean) ** 2
                if force < 0:
                    moved |= bit
                elif force > 0:
                    moved &= ~bit
                contour ^= bit
            out[y, k] = moved


@njit(cache=True)
def _change(
    before: Words, after: Words, image: NDArray[np.uint16], total: int, number: int
) -> tuple[int, int]:
    """Update the sum and number of the pixels inside from `before` to `after`."""
    rows, count = after.shape
    for y in range(1, rows - 1):
        for k in range(1, count - 1):
            changed = before[y, k] ^ after[y, k]
            while changed:
                bit = changed & (~changed + ONE)
                value = int(image[y - 1, (k - 1) * 64 + position(bit)])
                if after[y, k] & bit:
                    total += value
                    number += 1
                else:
                    total -= value
                    number -= 1
                changed ^= bit
    return total, number


@njit(cache=True)
def _evolve(image: NDArray[np.uint16], initial: Words, iterations: int, smoothing: int) -> Words:
    last = last_word(image.shape[1])
    everything = np.int64(image.sum())
    current = initial.copy()
    moved = np.zeros_like(initial)
    smoothed = np.zeros_like(initial)
    inside, number = _change(moved, current, image, 0, 0)
    grow_first = True
    for _ in range(iterations):
        # the small term is skimage's guard against an empty region
        inside_mean = inside / (number + 1e-8)
        outside_mean = (everything - inside) / (image.size - number + 1e-8)
        _attach(current, moved, image, outside_mean, inside_mean)
        for _ in range(smoothing):
            _smooth(moved, smoothed, last, grow_first)
            _smooth(smoothed, moved, last, not grow_first)
            grow_first = not grow_first
        inside, number = _change(current, moved, image, inside, number)
        current, moved = moved, current
    return current
