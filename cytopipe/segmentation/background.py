"""The slide around the tissue: its gray value, and the threshold between the two."""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytopipe.numerics.components import Mask
from cytopipe.numerics.geometry import Floats
from cytopipe.numerics.histograms import BINS, histogram


def slide_level(image: NDArray[np.uint8]) -> float:
    """Gray value of the slide: the median of a frame whose width is 1 % of the image's."""
    width = max(1, min(image.shape) // 100)
    frame = [image[:width], image[-width:], image[:, :width], image[:, -width:]]
    return float(np.median(np.concatenate([part.ravel() for part in frame])))


def otsu(counts: NDArray[np.int64]) -> int:
    """The last bin of the lower class in the best split of a histogram (Otsu 1979).

    The same as `skimage.filters.threshold_otsu`.
    """
    counts = np.asarray(counts, np.float64)
    sums = counts * np.arange(len(counts))
    below, above = np.cumsum(counts)[:-1], np.cumsum(counts[::-1])[-2::-1]
    mean_below = np.cumsum(sums)[:-1] / np.maximum(below, 1)
    mean_above = np.cumsum(sums[::-1])[-2::-1] / np.maximum(above, 1)
    return int(np.argmax(below * above * (mean_below - mean_above) ** 2))


def valleys(counts: NDArray[np.int64], max_valley: float) -> list[float]:
    """Positions, in bins, of the local minima between two peaks of a smoothed histogram.

    The histogram is smoothed by a median of 3 bins, then a mean of 5 (CytoNet paper, section 3.2).
    A minimum counts if, on both sides, the histogram rises to 1 / `max_valley` times its height
    before it falls below it. This rejects ripples on a peak, which can lie closer to the Otsu
    threshold than the true valley does.
    """
    smoothed = ndimage.uniform_filter1d(ndimage.median_filter(counts.astype(np.float64), 3), 5)
    minima = []
    start, last = 1, len(smoothed) - 1
    while start < last:
        end = start
        while end < last and smoothed[end + 1] == smoothed[start]:
            end += 1
        height = smoothed[start]
        if end < last and smoothed[start - 1] > height and smoothed[end + 1] > height:
            left = _peak_before_fall(smoothed[start - 1 :: -1], height)
            right = _peak_before_fall(smoothed[end + 1 :], height)
            if height <= max_valley * min(left, right):
                minima.append((start + end) / 2)
        start = end + 1
    return minima


def _peak_before_fall(side: Floats, height: float) -> float:
    """The largest value of `side` before it first falls below `height`."""
    lower = np.flatnonzero(side < height)
    return float(side[: lower[0] if len(lower) else len(side)].max())


def threshold(
    image: NDArray[np.uint16], darker: Mask, max_valley: float, choice: Literal["slide", "otsu"]
) -> tuple[float, Literal["minimum", "otsu"]]:
    """The gray value that separates tissue from a bright slide (CytoNet paper, section 3.2).

    It is a local minimum of the smoothed histogram of 256 bins. If there are several, the paper
    takes the one nearest to the Otsu threshold (`choice` = "otsu"). If tissue is a small part of
    the scan, that can be the minimum between gray and white matter (in about 12 of 59 sections of a
    phantom). The default ("slide") takes the minimum that best separates the pixels that are
    clearly darker than the slide in the original image (`darker`) from the others. Without any
    minimum, both take the Otsu threshold.

    Returns
    -------
    The threshold as a share of the full range (tissue is darker), and where it comes from.
    """
    tissue_counts, slide_counts = histogram(image, darker), histogram(image, ~darker)
    counts = tissue_counts + slide_counts
    split = otsu(counts)
    minima = valleys(counts, max_valley)
    if not minima:
        return (split + 1) / BINS, "otsu"

    def distance(position: float) -> float:
        """Distance to the Otsu threshold, or the number of pixels on the wrong side of a cut."""
        if choice == "otsu":
            return abs(position - split)
        cut = math.ceil(position + 0.5)
        return int(tissue_counts[cut:].sum() + slide_counts[:cut].sum())

    return (min(minima, key=distance) + 0.5) / BINS, "minimum"
