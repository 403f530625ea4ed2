"""Histogram and mean of an image inside a mask, without copying the pixels."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
BINS = 256


@njit(cache=True)
def histogram(image: NDArray[np.uint16], mask: Mask) -> NDArray[np.int64]:
    """Number of pixels in each of 256 equal bins of the 16-bit range."""
    counts = np.zeros(BINS, np.int64)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            counts[image[y, x] >> 8] += mask[y, x]
    return counts


@njit(cache=True)
def mean(image: NDArray[np.uint8] | NDArray[np.uint16], mask: Mask) -> float:
    """Mean of an image over `mask`; NaN if the mask is empty."""
    total, count = 0, 0
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            if mask[y, x]:
                total += image[y, x]
                count += 1
    return total / count if count else np.nan
