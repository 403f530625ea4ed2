"""The labels of one section, and what is doubtful about them."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from cytopipe.formats.tables import NO_WHITE, OK
from cytopipe.numerics.components import Mask, connected_to_border, filled, without_small
from cytopipe.segmentation import half_level, paper
from cytopipe.segmentation.parts import Background, Levels
from cytopipe.segmentation.shape import contact_ratio, sulcal_boundary_px, sulcal_zone
from cytopipe.study.config import Segmentation

BACKGROUND, GRAY, WHITE = 0, 1, 2

Labels = NDArray[np.uint8]


REMARKS = {
    "faint": "its tissue is faint; check the outline",
    "smear": "something faint without a clear border was not taken for tissue",
    "ink": "ink, a label or something as dark was not taken for tissue",
    "slide": "its slide is uneven, or the scan shows none; check the outline",
    "cut off": "its tissue touches the edge of the scan and may be cut off",
    "sulci closed": "its labels close sulci that are open in the image",
    "white unknown": "no section of its chunk shows white matter; whether it has any is unknown",
    "white by neighbours": "it does not show by itself what is gray and what is white matter; the "
    "two were told apart as in its neighbours",
    "white outside": "white matter touches the background more than gray matter does; check that "
    "the two were not mistaken for each other",
}


@dataclass(frozen=True)
class Segmented:
    """The labels of a section, (rows, columns) or one pixel, and columns of `SegmentationRow`.

    `sulcal_before_mm` is measured on the image before any filter. If `sulcal_after_mm` is much
    less, sulci were closed. A `contact_ratio` below 1 is doubtful. All are NaN without labels.
    `levels` is what the section itself shows of gray and white matter, None if it does not show
    both. The table does not have it.
    """

    labels: Labels
    background: Background
    threshold: float
    threshold_from: str
    white_contrast: float
    sulcal_before_mm: float
    sulcal_after_mm: float
    contact_ratio: float
    remarks: str
    status: str
    levels: Levels | None

    @classmethod
    def empty(
        cls, status: str, background: Background = "", remarks: tuple[str, ...] = ()
    ) -> "Segmented":
        """A section without labels."""
        nan = float("nan")
        labels = np.zeros((1, 1), np.uint8)
        return cls(
            labels, background, nan, "", nan, nan, nan, nan, "; ".join(remarks), status, None
        )

    def remarked(self, remark: str) -> "Segmented":
        """The same section with another remark."""
        return replace(self, remarks="; ".join(filter(None, (self.remarks, remark))))


def segment(
    image: NDArray[np.uint8],
    spacing_um: float,
    params: Segmentation,
    expected: Levels | None = None,
) -> Segmented:
    """Label the background, gray and white matter of a section.

    Cell bodies are stained: gray matter differs more from the slide than white matter does.

    Parameters
    ----------
    image : (rows, columns) at `spacing_um`, on a bright or a dark slide.
    expected : gray and white matter of neighbouring sections, for a section that does not show
        both by itself.
    """
    pixel_mm2 = (spacing_um / 1000) ** 2
    if params.method == "paper":
        parts = paper.segment(image, spacing_um, params)
    else:
        parts = half_level.segment(image, spacing_um, params, expected)
    tissue = parts.tissue
    if np.count_nonzero(tissue) * pixel_mm2 < params.min_tissue_mm2:
        return Segmented.empty("blank", parts.background, parts.remarks)
    white = without_small(parts.white, params.min_white_mm2 / pixel_mm2)
    # cortex and sulci are not holes of white matter: they reach the background around the brain
    white = filled(white, params.max_island_mm2 / pixel_mm2)
    tissue = tissue | white
    labels = np.where(white, WHITE, np.where(tissue, GRAY, BACKGROUND)).astype(np.uint8)
    zone = sulcal_zone(parts.seen, params.sulcus_um / spacing_um)
    before_mm = sulcal_boundary_px(parts.seen, zone) * spacing_um / 1000
    after_mm = sulcal_boundary_px(tissue, zone) * spacing_um / 1000
    contact = contact_ratio(labels == GRAY, labels == WHITE)
    remarks = list(parts.remarks)
    if after_mm < (1 - params.max_closed) * before_mm:
        remarks.append("sulci closed")
    if contact < 1:
        remarks.append("white outside")
    lacks_white = not white.any() and _deep_mm2(tissue, spacing_um, params) > (
        params.max_deep * np.count_nonzero(tissue) * pixel_mm2
    )
    return Segmented(
        labels=labels,
        background=parts.background,
        threshold=parts.threshold,
        threshold_from=parts.threshold_from,
        white_contrast=parts.white_contrast if white.any() else float("nan"),
        sulcal_before_mm=before_mm,
        sulcal_after_mm=after_mm,
        contact_ratio=contact,
        remarks="; ".join(remarks),
        status=NO_WHITE if lacks_white else OK,
        levels=parts.levels,
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
        remarks="",
        status=OK if tissue.any() else "blank",
    )


def remarks_of(segmented: Segmented) -> list[str]:
    """What a person should look at, in sentences."""
    sentences = [REMARKS[remark] for remark in segmented.remarks.split("; ") if remark]
    if segmented.status == NO_WHITE:
        sentences.append(
            "no white matter was found, although the depth of its tissue or its neighbours lead to "
            "expect it; its labels are not used. Draw them, or exclude the section"
        )
    if segmented.background == "dark":
        sentences.append(
            "its background is dark; set background to dark in config/sections.tsv, so that "
            "networks see it like the other sections"
        )
    return sentences


def _deep_mm2(tissue: Mask, spacing_um: float, params: Segmentation) -> float:
    """Area of tissue that lies deeper below the surface than any cortex is thick."""
    outside = connected_to_border(np.pad(~tissue, 1, constant_values=True))
    depth_px = cv2.distanceTransform((~outside).astype(np.uint8), cv2.DIST_L2, 5)
    deep = np.count_nonzero(depth_px * spacing_um > params.thickest_um)
    return float(deep * (spacing_um / 1000) ** 2)
