"""The chain of filters of the CytoNet paper, section 3.2: `segmentation.method` is `paper`.

What the paper leaves open (clip limit, steps of the contour, sizes of what is cleaned) is set in
the config. The filters close narrow sulci and move the border of the tissue outwards.
"""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytopipe.numerics import clahe
from cytopipe.numerics.components import (
    Mask,
    connected_to_border,
    filled,
    pieces,
    without_small,
)
from cytopipe.numerics.filters import blurred, gaussian, minimum_maximum_mean, odd_size
from cytopipe.numerics.geometry import Floats
from cytopipe.numerics.histograms import BINS, histogram, mean
from cytopipe.numerics.snakes import chan_vese
from cytopipe.segmentation.half_level import NOISE_PX, visible_tissue
from cytopipe.segmentation.parts import Background, Parts
from cytopipe.segmentation.shape import without_rims
from cytopipe.segmentation.slide import find_slide
from cytopipe.study.config import Segmentation


def segment(image: NDArray[np.uint8], spacing_um: float, params: Segmentation) -> Parts:
    """Tissue and white matter of a section; no tissue if the section is blank.

    Parameters
    ----------
    image : (rows, columns) at `spacing_um`, on a bright or a dark slide.
    """
    pixel_mm2 = (spacing_um / 1000) ** 2
    slide, contrast = slide_level(image), params.min_contrast * 255
    darker, brighter = image < slide - contrast, image > slide + contrast
    side: Background = "bright"
    if np.count_nonzero(brighter) > np.count_nonzero(darker):
        # from here on, as if stained on a bright slide
        side, image, darker = "dark", 255 - image, brighter
    if np.count_nonzero(darker) * pixel_mm2 < params.min_tissue_mm2:
        return Parts.blank(image.shape, side)
    enhanced = enhance(image, spacing_um, params)
    cut, cut_from = threshold(enhanced, darker, params.max_valley, params.minimum)
    tissue = without_small(enhanced < cut * 65536, params.min_object_mm2 / pixel_mm2)
    tissue = filled(tissue, params.max_hole_mm2 / pixel_mm2)
    light = split_tissue(enhanced, image, tissue, params)
    white = without_rims(light, tissue, params.rim_um / spacing_um)
    white = without_patches(white, tissue, image, params)
    gray = tissue & ~white
    evened = find_slide(image, spacing_um, params)
    seen = visible_tissue(blurred(evened.stain, NOISE_PX), evened, spacing_um, params)
    white_contrast = relative_contrast(image, white, gray, slide_level(image))
    return Parts(
        tissue, white, seen, side, cut, cut_from, white_contrast if white.any() else math.nan
    )


def enhance(
    image: NDArray[np.uint8], spacing_um: float, params: Segmentation
) -> NDArray[np.uint16]:
    """Even out cells and staining, and raise the contrast of gray and white matter.

    The steps are a minimum, maximum and mean filter; CLAHE; a Gaussian; and the first filters
    again. The paper's lengths at 64 um scale with the spacing.
    """
    size = odd_size(params.filter_um, spacing_um)
    even = minimum_maximum_mean(image, size)
    kernel = max(1, round(params.clahe_um / spacing_um))
    equalized = clahe.equalize(np.asarray(even, np.uint8), kernel, params.clahe_clip)
    blurred = gaussian(equalized, params.sigma_um / spacing_um)
    # 16 bits from here on: sums are exact, so a mask does not depend on the order of summation
    whole = (blurred * 65535 + 0.5).astype(np.uint16)
    return np.asarray(minimum_maximum_mean(whole, size), np.uint16)


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


def split_tissue(
    enhanced: NDArray[np.uint16], image: NDArray[np.uint8], tissue: Mask, params: Segmentation
) -> Mask:
    """The light part of the tissue, by a morphological Chan-Vese contour.

    The contour starts from the Otsu threshold of the tissue. If it started from scikit-image's
    checkerboard, the result would depend on single gray values and on chance. Background pixels get
    the mean of the dark part, so they neither bend the contour at the pial surface nor change that
    mean.

    Where there is little white matter (near the poles), the Otsu threshold falls inside gray
    matter. The light part then has too little contrast in `image`, which is not enhanced, and is
    split again. Without a part of enough contrast, the mask is empty.
    """
    slide = slide_level(image)
    light = tissue
    for _ in range(3):
        split = otsu(histogram(enhanced, light))
        light = light & (enhanced >= (split + 1) << 8)
        contrast = relative_contrast(image, light, tissue & ~light, slide)
        if not light.any() or contrast >= params.min_white:
            break
    dark = tissue & ~light
    if not (light.any() and dark.any()):
        return np.zeros_like(tissue)
    even = np.where(tissue, enhanced, np.uint16(round(mean(enhanced, dark))))
    light = chan_vese(even, light, params.iterations, params.smoothing) & tissue
    if relative_contrast(image, light, tissue & ~light, slide) < params.min_white:
        return np.zeros_like(tissue)
    return light


def relative_contrast(image: NDArray[np.uint8], light: Mask, dark: Mask, slide: float) -> float:
    """Contrast of light to dark tissue, as a share of the contrast of slide to dark tissue.

    In cell-body stains, white matter has 0.4 to 0.6. Gray matter alone, split at the middle of its
    values, has 0.2 to 0.3. Without light or dark tissue, the contrast is 0.
    """
    if not (light.any() and dark.any()):
        return 0.0
    low = mean(image, dark)
    return float((mean(image, light) - low) / max(slide - low, 1.0))


def without_patches(
    white: Mask, tissue: Mask, image: NDArray[np.uint8], params: Segmentation
) -> Mask:
    """`white` without the pieces that are light patches of gray matter.

    There are two kinds. Cortex that is cut along its surface shows layer I as a broad patch, much
    of whose outline touches background. And CLAHE stretches the contrast of regions that are all
    gray matter, so they have little contrast in `image`.
    """
    gray = tissue & ~white
    if not (white.any() and gray.any()):
        return white
    # a vessel inside white matter is also background, but not connected to the border
    measured = pieces(white, connected_to_border(~tissue), image)
    low = mean(image, gray)
    inside = measured.against <= params.max_contact * measured.outline
    light = measured.total / measured.area - low >= params.min_white * (slide_level(image) - low)
    # the labels are -1 outside `white`, which reads the last entry
    return np.append(inside & light, False)[measured.labels]
