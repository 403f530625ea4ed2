"""Gray and white matter inside the tissue."""

import math

import numpy as np
from numpy.typing import NDArray

from cytopipe.numerics.bitmasks import dilated
from cytopipe.numerics.components import (
    Mask,
    connected_to_border,
    edges_between,
    pieces,
    touching,
)
from cytopipe.numerics.histograms import histogram, mean
from cytopipe.numerics.snakes import chan_vese
from cytopipe.segmentation.background import otsu, slide_level
from cytopipe.study.config import Segmentation


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


def without_rims(light: Mask, tissue: Mask, rim_px: float) -> Mask:
    """The bodies of light tissue that reach deeper than `rim_px` from the background.

    Layer I has few cells, and a pixel that is half tissue, half slide is light. Both make a light
    rim along the pial surface, which is not white matter. White matter that touches the background
    (at a cut or the wall of a ventricle) belongs to a deep body and is kept up to its edge.
    """
    deep = light & ~dilated(~tissue, rim_px)
    # as far from the deep body as the rim is wide, and one more pixel for its corners
    return touching(light & dilated(deep, rim_px + 1), deep)


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


def contact_ratio(gray: Mask, white: Mask) -> float:
    """Contact with the background per area, gray matter over white matter.

    Gray matter covers the brain, so the ratio is well above 1 unless the two were mistaken for each
    other. It is NaN if one of them is missing, infinite if white matter touches no background.
    """
    outside = ~(gray | white)
    if not (gray.any() and white.any() and outside.any()):
        return float("nan")
    gray_contact = edges_between(gray, outside) / np.count_nonzero(gray)
    white_contact = edges_between(white, outside) / np.count_nonzero(white)
    return float(gray_contact / white_contact) if white_contact else float("inf")


def sulcal_zone(tissue: Mask, radius_px: float) -> Mask:
    """Tissue and the clefts in it: the closing of the tissue by a disc."""
    margin = math.ceil(radius_px) + 1
    grown = dilated(np.pad(tissue, margin), radius_px)
    return ~dilated(~grown, radius_px)[margin:-margin, margin:-margin]


def sulcal_boundary_px(tissue: Mask, zone: Mask) -> int:
    """Pixel edges between tissue and open background inside `zone` (see `sulcal_zone`).

    Open means connected to the background around the brain. If the mouth of a sulcus is closed,
    nothing of the sulcus counts.
    """
    return edges_between(tissue & zone, connected_to_border(~tissue) & zone)
