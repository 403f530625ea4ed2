"""Contrast limited adaptive histogram equalization, bit for bit as in scikit-image.

The result on uint8 images is that of `skimage.exposure.equalize_adapthist` (Zuiderveld 1994), but
without its intermediate arrays of all pixels times four neighbours. OpenCV's CLAHE differs: it
takes a number of tiles, and a limit on another scale.
"""

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

BINS = 256
GRAY_VALUES = 1 << 14  # as in scikit-image


def equalize(
    image: NDArray[np.uint8], kernel_px: int, clip_limit: float = 0.01
) -> NDArray[np.float64]:
    """Equalize an image over tiles of `kernel_px` pixels, blended bilinearly between their centres.

    Parameters
    ----------
    image : (rows, columns).
    kernel_px : edge of a tile in PIXELS.
    clip_limit : largest share of a tile's pixels that one of the 256 bins may hold; the excess is
        spread over all bins. scikit-image's default, 0.01, limits the gain of contrast to 2.56.

    Returns
    -------
    (rows, columns), from 0 to 1; all zeros if the image is constant.
    """
    low, high, _, _ = cv2.minMaxLoc(image)
    if low == high:
        return np.zeros(image.shape)
    binned = cv2.LUT(image, _bin_of_gray(int(low), int(high)))
    histograms = _tile_histograms(binned, kernel_px)
    limit = max(1, int(clip_limit * kernel_px * kernel_px))
    for histogram in histograms.reshape(-1, BINS):
        _clip(histogram, limit)
    maps = np.cumsum(histograms, axis=-1) * ((GRAY_VALUES - 1) / kernel_px**2)
    # integer gray values, as floats for the blending
    maps = np.floor(np.minimum(maps, GRAY_VALUES - 1))
    blended = np.empty(image.shape, np.int16)
    least, most = _blend(binned, maps, kernel_px, blended)
    out = np.empty(image.shape)
    scale = (np.arange(most + 1) - float(least)) / float(most - least)
    _look_up(blended, scale, out)
    return out


def _bin_of_gray(low: int, high: int) -> NDArray[np.uint8]:
    """Bin of each gray value after stretching [low, high], with skimage's rounding."""
    gray = np.clip(np.arange(256) * 257, low * 257, high * 257)
    stretched = np.round((gray - low * 257.0) / ((high - low) * 257.0) * (GRAY_VALUES - 1))
    return (stretched.astype(np.int64) // (1 + GRAY_VALUES // BINS)).astype(np.uint8)


@njit(cache=True)
def _reflected(i: int, n: int) -> int:
    """Index into n items of position i >= 0 if they are reflected without repeating the edges."""
    if n == 1:
        return 0
    i %= 2 * (n - 1)
    return i if i < n else 2 * (n - 1) - i


@njit(cache=True)
def _tile_histograms(binned: NDArray[np.uint8], kernel: int) -> NDArray[np.int64]:
    """Histograms of all tiles; reflection completes the last ones."""
    rows, columns = binned.shape
    down, across = -(-rows // kernel), -(-columns // kernel)
    histograms = np.zeros((down, across, BINS), np.int64)
    for y in range(down * kernel):
        row = binned[_reflected(y, rows)]
        for tile in range(across):
            histogram = histograms[y // kernel, tile]
            inside = min((tile + 1) * kernel, columns)
            for x in range(tile * kernel, inside):
                histogram[row[x]] += 1
            for x in range(inside, (tile + 1) * kernel):
                histogram[row[_reflected(x, columns)]] += 1
    return histograms


@njit(cache=True)
def _clip(histogram: NDArray[np.int64], limit: int) -> None:
    """Cap the bins and spread the excess, in the order of skimage's `clip_histogram`."""
    bins = histogram.size
    excess = 0
    for i in range(bins):
        if histogram[i] > limit:
            excess += histogram[i] - limit
            histogram[i] = limit
    share = excess // bins
    upper = limit - share
    for i in range(bins):
        # a bin raised here may exceed `upper`; the next loop caps it
        if histogram[i] < upper:
            histogram[i] += share
            excess -= share
    for i in range(bins):
        if upper <= histogram[i] < limit:
            excess += histogram[i] - limit
            histogram[i] = limit
    while excess > 0:
        before = excess
        for first in range(bins):
            below = 0
            for i in range(bins):
                below += histogram[i] < limit
            step = max(1, below // excess)
            for i in range(first, bins, step):
                if histogram[i] < limit:
                    histogram[i] += 1
                    excess -= 1
            if excess <= 0:
                break
        if excess == before:
            break


@njit(cache=True)
def _blend(
    binned: NDArray[np.uint8], maps: NDArray[np.float64], kernel: int, blended: NDArray[np.int16]
) -> tuple[int, int]:
    """Map each pixel by the four nearest tiles, weighted bilinearly; return minimum and maximum."""
    rows, columns = binned.shape
    half = kernel // 2
    down, across, _ = maps.shape
    far = np.arange(kernel) / kernel
    near = 1 - far
    least, most = GRAY_VALUES, 0
    for y in range(rows):
        tile_y, offset_y = divmod(y + half, kernel)
        above, below = max(tile_y - 1, 0), min(tile_y, down - 1)
        far_y, near_y = far[offset_y], near[offset_y]
        start = 0
        while start < columns:
            # a run of pixels between the same two columns of tile centres
            tile_x = (start + half) // kernel
            end = min(columns, (tile_x + 1) * kernel - half)
            left, right = max(tile_x - 1, 0), min(tile_x, across - 1)
            map_al, map_ar = maps[above, left], maps[above, right]
            map_bl, map_br = maps[below, left], maps[below, right]
            first = start + half - tile_x * kernel
            for x in range(start, end):
                value = binned[y, x]
                far_x, near_x = far[first + x - start], near[first + x - start]
                # skimage rounds each of the four terms to float32, and sums in float32
                total = np.float32(map_al[value] * (near_x * near_y))
                total += np.float32(map_ar[value] * (far_x * near_y))
                total += np.float32(map_bl[value] * (near_x * far_y))
                total += np.float32(map_br[value] * (far_x * far_y))
                blended[y, x] = np.int16(total)
            start = end
        for x in range(columns):
            least, most = min(least, blended[y, x]), max(most, blended[y, x])
    return least, most


@njit(cache=True)
def _look_up(
    values: NDArray[np.int16], table: NDArray[np.float64], out: NDArray[np.float64]
) -> None:
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            out[y, x] = table[values[y, x]]
