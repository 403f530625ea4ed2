"""The labels of one section: the chain of the CytoNet paper, section 3.2."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cytopipe.numerics import clahe
from cytopipe.numerics.components import filled, without_small
from cytopipe.numerics.filters import gaussian, minimum_maximum_mean, odd_size
from cytopipe.segmentation.background import slide_level, threshold
from cytopipe.segmentation.matter import (
    contact_ratio,
    split_tissue,
    sulcal_boundary_px,
    sulcal_zone,
    without_patches,
    without_rims,
)
from cytopipe.study.config import Segmentation

BACKGROUND, GRAY, WHITE = 0, 1, 2

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Segmented:
    """The labels of a section, (rows, columns) or one pixel, and columns of `SegmentationRow`.

    If `sulcal_after_mm` is less than `sulcal_before_mm`, a sulcus was closed when small objects and
    holes were removed. A `contact_ratio` below 1 is doubtful. Both are NaN without labels.
    """

    labels: Labels
    background: Literal["bright", "dark", ""]
    threshold: float
    threshold_from: str
    sulcal_before_mm: float
    sulcal_after_mm: float
    contact_ratio: float
    status: str

    @classmethod
    def empty(cls, status: str, background: Literal["bright", "dark", ""] = "") -> "Segmented":
        """A section without labels."""
        nan = float("nan")
        return cls(np.zeros((1, 1), np.uint8), background, nan, "", nan, nan, nan, status)


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


def segment(image: NDArray[np.uint8], spacing_um: float, params: Segmentation) -> Segmented:
    """Label the background, gray and white matter of a section.

    Cell bodies are stained: gray matter differs more from the slide than white matter does.

    Parameters
    ----------
    image : (rows, columns) at `spacing_um`, on a bright or a dark slide.
    """
    pixel_mm2 = (spacing_um / 1000) ** 2
    slide, contrast = slide_level(image), params.min_contrast * 255
    darker, brighter = image < slide - contrast, image > slide + contrast
    side: Literal["bright", "dark"] = "bright"
    if np.count_nonzero(brighter) > np.count_nonzero(darker):
        # from here on, as if stained on a bright slide
        side, image, darker = "dark", 255 - image, brighter
    if np.count_nonzero(darker) * pixel_mm2 < params.min_tissue_mm2:
        return Segmented.empty("blank", side)
    enhanced = enhance(image, spacing_um, params)
    cut, cut_from = threshold(enhanced, darker, params.max_valley, params.minimum)
    raw_tissue = enhanced < cut * 65536
    tissue = without_small(raw_tissue, params.min_object_mm2 / pixel_mm2)
    tissue = filled(tissue, params.max_hole_mm2 / pixel_mm2)
    if np.count_nonzero(tissue) * pixel_mm2 < params.min_tissue_mm2:
        return Segmented.empty("blank", side)
    light = split_tissue(enhanced, image, tissue, params)
    white = without_rims(light, tissue, params.rim_um / spacing_um)
    white = without_patches(white, tissue, image, params)
    white = without_small(white, params.min_white_mm2 / pixel_mm2)
    # cortex and sulci are not holes of white matter: they reach the background around the brain
    white = filled(white, params.max_island_mm2 / pixel_mm2)
    tissue |= white
    labels = np.where(white, WHITE, np.where(tissue, GRAY, BACKGROUND)).astype(np.uint8)
    zone = sulcal_zone(tissue, params.sulcus_um / spacing_um)
    return Segmented(
        labels=labels,
        background=side,
        threshold=cut,
        threshold_from=cut_from,
        sulcal_before_mm=sulcal_boundary_px(raw_tissue, zone) * spacing_um / 1000,
        sulcal_after_mm=sulcal_boundary_px(tissue, zone) * spacing_um / 1000,
        contact_ratio=contact_ratio(labels == GRAY, labels == WHITE),
        status="ok",
    )


def with_manual_labels(
    computed: Segmented, labels: Labels, spacing_um: float, params: Segmentation
) -> Segmented:
    """`computed` with labels drawn by a person instead."""
    tissue = labels != BACKGROUND
    zone = sulcal_zone(tissue, params.sulcus_um / spacing_um)
    return replace(
        computed,
        labels=labels if tissue.any() else np.zeros((1, 1), np.uint8),
        threshold_from="manual",
        sulcal_after_mm=sulcal_boundary_px(tissue, zone) * spacing_um / 1000,
        contact_ratio=contact_ratio(labels == GRAY, labels == WHITE),
        status="ok" if tissue.any() else "blank",
    )
