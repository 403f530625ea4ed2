"""Gray and white matter inside the tissue, and what is cleaned from their masks."""

import math

import numpy as np
from numpy.typing import NDArray

from cytopipe.numerics.components import (
    Mask,
    connected_to_border,
    edges_between,
    filled,
    pieces,
    touching,
    without_small,
)
from cytopipe.numerics.histograms import histogram, mean
from cytopipe.numerics.packed import dilated
from cytopipe.numerics.snakes import chan_vese
from cytopipe.segmentation.background import otsu, slide_level


def split_tissue(
    enhanced: NDArray[np.uint16],
    image: NDArray[np.uint8],
    tissue: Mask,
    min_white: float,
    iterations: int,
    smoothing: int,
) -> Mask:
    """White matter, the light part of the tissue, by a morphological Chan-Vese contour.

    The contour starts from the Otsu threshold of the tissue; from scikit-image's checkerboard its
    result would hang on single gray values, and which side is white matter on chance. Background
    pixels take the mean of the dark part: they join it, and neither bend the contour at the pial
    surface nor move its mean.

    Where there is little white matter (near the poles), the Otsu threshold falls inside gray
    matter. The light part then has too little contrast in `image` and is split again.

    Parameters
    ----------
    enhanced, image : the section with and without enhanced contrast, on a bright slide.
    min_white : see `relative_contrast`; tissue without such a part has no white matter.

    Returns
    -------
    (rows, columns), True in light tissue.
    """
    slide = slide_level(image)
    light = tissue
    for _ in range(3):
        split = otsu(histogram(enhanced, light))
        light = light & (enhanced >= (split + 1) << 8)
        if not light.any() or relative_contrast(image, light, tissue & ~light, slide) >= min_white:
            break
    dark = tissue & ~light
    if not (light.any() and dark.any()):
        return np.zeros_like(tissue)
    even = np.where(tissue, enhanced, np.uint16(round(mean(enhanced, dark))))
    light = chan_vese(even, light, iterations, smoothing) & tissue
    if relative_contrast(image, light, tissue & ~light, slide) < min_white:
        return np.zeros_like(tissue)
    return light


def without_rims(bright: Mask, tissue: Mask, rim_px: float) -> Mask:
    """The bright tissue that belongs to a body reaching deeper than `rim_px` from the background.

    Layer I has few cells, and a pixel half tissue, half slide is light: both make a light rim along
    the pial surface that is no white matter. White matter that touches the background (a cut, the
    wall of a ventricle) hangs on a deep body and is kept up to its edge.
    """
    deep = bright & ~dilated(~tissue, rim_px)
    # as far from the deep body as the rim is wide, and a pixel for its corners
    return touching(bright & dilated(deep, rim_px + 1), deep)


def relative_contrast(image: NDArray[np.uint8], light: Mask, dark: Mask, slide: float) -> float:
    """How far the light tissue's mean is on the way from the dark tissue's to the slide's.

    In cell-body stains white matter is halfway (0.4 to 0.6). Gray matter alone, split where its
    values happen to have their middle, gives 0.2 to 0.3.
    """
    if not (light.any() and dark.any()):
        return 0.0
    low = mean(image, dark)
    return float((mean(image, light) - low) / max(slide - low, 1.0))


def without_patches(
    white: Mask, tissue: Mask, image: NDArray[np.uint8], min_white: float, max_contact: float
) -> Mask:
    """`white` without pieces that are light patches of gray matter.

    Two things tell: cortex cut along its surface shows layer I as a broad patch, much of whose
    outline is background; and CLAHE stretches the contrast of regions that are all gray matter,
    so that a piece may have none in `image` (see `relative_contrast`).
    """
    gray = tissue & ~white
    if not (white.any() and gray.any()):
        return white
    # a vessel inside white matter is background too, but not the one around the brain
    found = pieces(white, connected_to_border(~tissue), image)
    low = mean(image, gray)
    inside = found.against <= max_contact * found.outline
    light = found.total / found.area - low >= min_white * (slide_level(image) - low)
    # labels are -1 outside, which reads the last entry
    return np.append(inside & light, False)[found.labels]


def clean_white(white: Mask, min_white_px: float, max_island_px: float) -> Mask:
    """`white` without small pieces, and with the small gaps in it filled.

    A gap is what white matter encloses: an island of gray matter, a vessel. Cortex hangs together
    through the background and sulci open into it, so that neither is ever a gap.
    """
    return filled(without_small(white, min_white_px), max_island_px)


def contact_ratio(gray: Mask, white: Mask) -> float:
    """Contact with the background per area, gray matter over white matter.

    Gray matter covers the brain: the ratio is well above 1 unless the two are mistaken for one
    another. NaN where one of them is missing; infinite where white matter touches nothing.
    """
    outside = ~(gray | white)
    if not (gray.any() and white.any() and outside.any()):
        return float("nan")
    of_gray = edges_between(gray, outside) / np.count_nonzero(gray)
    of_white = edges_between(white, outside) / np.count_nonzero(white)
    return float(of_gray / of_white) if of_white else float("inf")


def sulcal_zone(tissue: Mask, radius_px: float) -> Mask:
    """Tissue and the clefts in it: the closing of the tissue by a disc."""
    margin = math.ceil(radius_px) + 1
    grown = dilated(np.pad(tissue, margin), radius_px)
    return ~dilated(~grown, radius_px)[margin:-margin, margin:-margin]


def sulcal_boundary_px(tissue: Mask, zone: Mask) -> int:
    """Pixel edges between tissue and open background inside `zone` (see `sulcal_zone`).

    Open means connected to the background around the brain: a sulcus whose mouth is closed, and
    with it everything behind, no longer counts.
    """
    return edges_between(tissue & zone, connected_to_border(~tissue) & zone)
