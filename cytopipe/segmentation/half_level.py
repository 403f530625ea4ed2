"""Tissue whose border lies half-way between the slide and the tissue beside it.

A pixel on the border of the tissue is as much darker than the slide as it is covered by tissue. At
half the difference between the slide and the tissue beside it, half of it is covered. No filter
moves the border, so a sulcus of one pixel stays open.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from cytopipe.numerics.components import (
    Mask,
    connected_to_border,
    filled,
    pieces,
    touching,
    without_small,
)
from cytopipe.numerics.filters import blurred, mean_inside
from cytopipe.segmentation import matter
from cytopipe.segmentation.parts import HALF_LEVEL, Levels, Parts
from cytopipe.segmentation.slide import Image, Slide, even_level, find_slide, right_angled
from cytopipe.study.config import Segmentation

# Blurs in pixels, because the optics and the averaging blur a border by about one pixel, whatever
# its size. The first one evens out the noise of single pixels. The second one averages the tissue
# beside a pixel: twice as wide, it takes a pale layer I for slide where layer II is twice as dark;
# half as wide, it fills sulci of two pixels (128 um sections of a person's folded surfaces).
NOISE_PX, _BESIDE_PX = 0.4, 2.0
# a cleft that does not show the slide is at most this wide
_CLEFT_PX = 5
_SQUARE = np.ones((3, 3), np.uint8)


def segment(
    image: NDArray[np.uint8],
    spacing_um: float,
    params: Segmentation,
    expected: Levels | None = None,
) -> Parts:
    """Tissue and white matter of a section; no tissue if the section is blank.

    Parameters
    ----------
    image : (rows, columns) at `spacing_um`, on a bright or a dark slide.
    expected : gray and white matter of neighbouring sections (see `matter.split`).
    """
    pixel_mm2 = (spacing_um / 1000) ** 2
    slide = find_slide(image, spacing_um, params)
    stain = blurred(slide.stain, NOISE_PX)
    seen = visible_tissue(stain, slide, spacing_um, params)
    tissue, remarks = _without_ink(seen, image, slide, spacing_um, params)
    tissue &= ~bright_lines(stain, tissue, spacing_um, params)
    tissue = filled(tissue, params.max_hole_mm2 / pixel_mm2)
    tissue = without_small(tissue, params.min_object_mm2 / pixel_mm2)
    if np.count_nonzero(tissue) * pixel_mm2 < params.min_tissue_mm2:
        return Parts.blank(image.shape, slide.background, remarks)
    typical = float(np.median(slide.stain[tissue]))
    if typical < params.faint * 255:
        if _halo(tissue, slide) > params.max_halo * typical:
            return Parts.blank(image.shape, slide.background, (*remarks, "smear"))
        remarks += ("faint",)
    if _length_at_edge_mm(tissue, slide.scanned, spacing_um) > params.max_cut_mm:
        remarks += ("cut off",)
    if slide.noise > params.max_noise:
        remarks += ("slide",)
    white = matter.split(stain, tissue, spacing_um, params, expected)
    sign = -1 if slide.background == "bright" else 1
    threshold = (slide.level + sign * typical / 2) / 255
    return Parts(
        tissue,
        white.mask,
        seen,
        slide.background,
        threshold,
        HALF_LEVEL,
        white.contrast,
        white.levels,
        remarks,
    )


def visible_tissue(stain: Image, slide: Slide, spacing_um: float, params: Segmentation) -> Mask:
    """What differs from the slide, and is larger than dirt and thicker than a hair."""
    least = max(params.min_contrast * 255, params.min_noise * slide.noise)
    tissue = without_small(
        tissue_of(stain, least), params.min_object_mm2 * (1000 / spacing_um) ** 2
    )
    depth_px = cv2.distanceTransform(tissue.astype(np.uint8), cv2.DIST_L2, 3)
    return touching(tissue, depth_px * spacing_um > params.min_thickness_um / 2)


def tissue_of(stain: Image, visible: float) -> Mask:
    """Pixels of which at least half is tissue, by the stain of the tissue beside them.

    What has less stain than `visible` is slide. From there, the background extends over pixels that
    are less than half covered: those of the border, and those of clefts that are too narrow to show
    the slide. White matter beside gray matter may have less than half its stain, but is no cleft.
    """
    clear = stain < visible
    border = _grown(_grown(clear))
    core = cv2.erode((~clear).astype(np.uint8), _SQUARE) > 0
    uncovered = border & (stain < mean_inside(stain, core, _BESIDE_PX) / 2)
    uncovered |= stain < _without_clefts(stain, _CLEFT_PX) / 2
    return ~touching(clear | uncovered, clear)


def _without_clefts(stain: Image, width_px: int) -> Image:
    """The stain, with clefts narrower than `width_px` filled up to the paler of their sides."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width_px, width_px))
    return np.asarray(cv2.morphologyEx(stain, cv2.MORPH_CLOSE, disc))


def bright_lines(stain: Image, tissue: Mask, spacing_um: float, params: Segmentation) -> Mask:
    """Thin bright lines that lead from the background into the tissue: sulci closed by the pixels.

    A line is brighter than what lies within half of `params.line_um` to either side, by more than
    the grain of the tissue, and longer than `params.min_line_mm`.
    """
    width_px = max(3, 2 * round(params.line_um / spacing_um / 2) + 1)
    beside = _without_clefts(np.where(tissue, stain, 0), width_px)
    paler = (beside - stain) / np.maximum(beside, 1)
    of_tissue = paler[tissue][::16]
    usual = float(np.median(of_tissue)) if of_tissue.size else 0.0
    spread = 1.4826 * float(np.median(np.abs(of_tissue - usual))) if of_tissue.size else 0.0
    lines = tissue & (paler > max(params.line_contrast, usual + params.line_noise * spread))
    # pixels at the background are bright because it covers a part of them
    border = _grown(connected_to_border(~tissue))
    inner = (lines & ~border).astype(np.uint8)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(inner)
    kept = np.zeros(count, bool)
    kept[labels[_grown(border & lines)]] = True
    size_px = np.hypot(boxes[:, cv2.CC_STAT_WIDTH], boxes[:, cv2.CC_STAT_HEIGHT])
    kept &= size_px * spacing_um / 1000 > params.min_line_mm
    kept[0] = False
    chosen = kept[labels]
    return np.asarray(chosen | (lines & border & _grown(chosen)))


def _grown(mask: Mask) -> Mask:
    return np.asarray(cv2.dilate(mask.astype(np.uint8), _SQUARE) > 0)


def _halo(tissue: Mask, slide: Slide) -> float:
    """The median stain two and three pixels outside the tissue."""
    near = _grown(tissue)
    around = _grown(_grown(near)) & ~near & slide.scanned
    return float(np.median(slide.stain[around])) if around.any() else 0.0


def _without_ink(
    tissue: Mask,
    image: NDArray[np.uint8],
    slide: Slide,
    spacing_um: float,
    params: Segmentation,
) -> tuple[Mask, tuple[str, ...]]:
    """Remove labels, and what absorbs more than tissue does or than the densest other tissue."""
    if not tissue.any():
        return tissue, ()
    absorbed = np.clip(slide.stain, 0, 255).astype(np.uint8)
    measured = pieces(tissue, tissue, absorbed)
    mean = measured.total / measured.area
    scale = slide.level if slide.background == "bright" else 255 - slide.level
    ink = mean > params.max_stain * scale
    large = measured.area * (spacing_um / 1000) ** 2 >= params.min_tissue_mm2
    for piece in np.flatnonzero(large & ~ink):
        own = measured.labels == piece
        ink[piece] = right_angled(own.astype(np.uint8)) is not None and (
            even_level(image, own) is not None
        )
    for piece in np.flatnonzero(~ink & (mean > params.ink_ratio * mean.min())):
        others = ~ink
        others[piece] = False
        # the labels are -1 outside `tissue`, which reads the last entry
        rest = absorbed[np.append(others, False)[measured.labels]]
        # a brain is darker than a crumb of it
        ink[piece] = rest.size > measured.area[piece] and (
            mean[piece] > params.ink_ratio * np.percentile(rest, 95)
        )
    if not ink.any():
        return tissue, ()
    return np.append(~ink, False)[measured.labels], ("ink",)


def _length_at_edge_mm(tissue: Mask, scanned: Mask, spacing_um: float) -> float:
    """Length of the tissue's outline that lies on the edge of the scanned area."""
    inner = cv2.erode(np.pad(scanned, 1).astype(np.uint8), _SQUARE)[1:-1, 1:-1] > 0
    return float(np.count_nonzero(tissue & scanned & ~inner) * spacing_um / 1000)
