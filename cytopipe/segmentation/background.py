"""The slide around the tissue: is it bright or dark, is there tissue at all, and where it ends."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytopipe.numerics.components import Mask
from cytopipe.numerics.histograms import BINS, histogram

Floats = NDArray[np.float64]
Polarity = Literal["bright", "dark"]
Choice = Literal["slide", "otsu"]


@dataclass(frozen=True)
class Threshold:
    """Where the histogram is cut.

    Attributes
    ----------
    value : tissue has lower gray values, as a share of the full range.
    source : "minimum" of the histogram, or "otsu" where it has none.
    """

    value: float
    source: Literal["minimum", "otsu"]


def slide_level(image: NDArray[np.uint8]) -> float:
    """Gray value of the slide: the median of a frame one percent of the image wide."""
    width = max(1, min(image.shape) // 100)
    frame = [image[:width], image[-width:], image[:, :width], image[:, -width:]]
    return float(np.median(np.concatenate([part.ravel() for part in frame])))


def smooth_histogram(counts: NDArray[np.int64]) -> Floats:
    """Median of 3 bins, then mean of 5 (CytoNet paper, section 3.2)."""
    return np.asarray(
        ndimage.uniform_filter1d(ndimage.median_filter(counts.astype(np.float64), 3), 5)
    )


def otsu(counts: NDArray[np.int64]) -> int:
    """The last bin of the lower class where a histogram is best split in two (Otsu 1979).

    As `skimage.filters.threshold_otsu`.
    """
    counts = np.asarray(counts, np.float64)
    sums = counts * np.arange(len(counts))
    below, above = np.cumsum(counts)[:-1], np.cumsum(counts[::-1])[-2::-1]
    mean_below = np.cumsum(sums)[:-1] / np.maximum(below, 1)
    mean_above = np.cumsum(sums[::-1])[-2::-1] / np.maximum(above, 1)
    return int(np.argmax(below * above * (mean_below - mean_above) ** 2))


def valleys(smoothed: Floats, max_valley: float) -> list[float]:
    """Local minima of a histogram that part two peaks, as bin positions.

    A minimum counts when, on both sides, the histogram rises to 1 / `max_valley` times its height
    before it falls below it. Ripples on a peak pass no such test; without it, one of them lies
    closer to the Otsu threshold than the valley does.
    """
    found = []
    start, last = 1, len(smoothed) - 1
    while start < last:
        end = start
        while end < last and smoothed[end + 1] == smoothed[start]:
            end += 1
        height = smoothed[start]
        if end < last and smoothed[start - 1] > height and smoothed[end + 1] > height:
            peaks = (
                _peak_before_fall(smoothed[start - 1 :: -1], height),
                _peak_before_fall(smoothed[end + 1 :], height),
            )
            if height <= max_valley * min(peaks):
                found.append((start + end) / 2)
        start = end + 1
    return found


def _peak_before_fall(side: Floats, height: float) -> float:
    """The largest value of `side` before it first falls below `height`."""
    lower = np.flatnonzero(side < height)
    return float(side[: lower[0] if len(lower) else len(side)].max())


def threshold(
    image: NDArray[np.uint16], darker: Mask, max_valley: float, choice: Choice
) -> Threshold:
    """Gray value that parts tissue from a bright slide (CytoNet paper, section 3.2).

    It is a local minimum of the smoothed histogram of 256 bins; of several, the paper takes the one
    nearest the Otsu threshold (`choice` = "otsu"). That was the minimum between gray and white
    matter in about 12 of 59 sections of a phantom: where tissue is a small part of the scan, Otsu's
    threshold, halfway between gray matter and slide, lies among the values of white matter.
    The default ("slide") takes the minimum that best separates the pixels that are clearly darker
    than the slide from those that are not. Without any minimum, both take the Otsu threshold.

    Parameters
    ----------
    image : the enhanced section.
    darker : pixels of the original image darker than the slide by the least contrast of tissue.
    """
    of_tissue, of_slide = histogram(image, darker), histogram(image, ~darker)
    counts = of_tissue + of_slide
    split = otsu(counts)
    minima = valleys(smooth_histogram(counts), max_valley)
    if not minima:
        return Threshold((split + 1) / BINS, "otsu")
    if choice == "otsu":
        best = min(minima, key=lambda position: abs(position - split))
    else:

        def wrong(position: float) -> int:
            """Pixels that a cut there gives to the wrong side."""
            cut = math.ceil(position + 0.5)
            return int(of_tissue[cut:].sum() + of_slide[:cut].sum())

        best = min(minima, key=wrong)
    return Threshold((best + 0.5) / BINS, "minimum")
