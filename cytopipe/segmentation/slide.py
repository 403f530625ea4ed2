"""The slide around the tissue: where it was scanned, its gray value, and its noise.

Everything here works on blocks of about half a millimetre, which are few.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cytopipe.numerics.components import Mask, connected_to_border
from cytopipe.numerics.geometry import Floats
from cytopipe.segmentation.parts import Background
from cytopipe.study.config import Segmentation

Image = NDArray[np.float32]

# padding and frames are looked for in every n-th pixel; the shorter side has about this many
_COARSE_PX = 300
# JPEG and the sensor spread the one gray value of padding and of a frame: 2 gray values at least,
# and four standard deviations of what lies within 16
_PADDING_SPREAD, _FRAME_NOISE = 2, 16
# padding takes at least this share of the image's edge
_LEAST_PADDING = 0.1
# the gray values of a slide lie within 8 of the most frequent one, and half of its neighbouring
# pixels differ by at most 3; along the sides of a scan, the rest may be tissue that is cut off
_SLIDE_SPREAD, _SLIDE_GRAIN, _LEAST_SLIDE = 8, 3, 0.1
# at least this share of the outline of a scan, simplified by 1.5 px, is parallel to two axes within
# 3 degrees (about 0.13 of an ellipse's). Padding takes at least 2 % of the image, the scan 5 %
_RECTANGULAR, _OUTLINE_PX, _PARALLEL_DEG = 0.8, 1.5, 3.0
_LEAST_SCANNED, _MOST_SCANNED = 0.05, 0.98
# what lies on padding takes at most this share of the scan
_SPECKS = 0.02
# the surface that is fitted to the slide: rounds of selecting its blocks, standard deviations
_ROUNDS, _REACH = 8, 4.0


@dataclass(frozen=True)
class Slide:
    """The slide of a section.

    Attributes
    ----------
    scanned : (rows, columns), False in padding and in the frame of a scanner.
    stain : (rows, columns), by how many gray values a pixel differs from the slide, as if the slide
        were evenly lit. Positive in tissue, 0 outside `scanned`.
    level : gray value of the slide, the median over its blocks.
    noise : standard deviation of `stain` on the slide, averaged over blocks, in gray values. It
        includes stains and shading of the slide that no smooth surface explains.
    background : whether the slide is brighter or darker than the tissue.
    """

    scanned: Mask
    stain: Image
    level: float
    noise: float
    background: Background


def find_slide(image: NDArray[np.uint8], spacing_um: float, params: Segmentation) -> Slide:
    """Find the scanned area and the slide in it, and measure the stain against the slide.

    The slide is the gray value that is frequent where the image is flat and at its edge, and that
    lies at one end of the range: nearly everything else is darker, or nearly everything is
    brighter. Its shading is a surface of second order.

    Parameters
    ----------
    image : (rows, columns) at `spacing_um`.
    """
    scanned = scanned_area(image)
    step = max(1, round(params.block_um / spacing_um))
    mean, spread, inside = _blocks(image, scanned, step)
    field, on_slide = _shading(mean, spread, inside, _level(mean, spread, inside))
    level = float(np.median(field[inside])) if inside.any() else float(np.median(mean))
    residual = (mean - field)[on_slide]
    noise = max(_deviation(residual), 0.5) if residual.size else 0.5
    elsewhere = (mean - field)[inside & ~on_slide]
    least = _SLIDE_SPREAD / 2
    background: Background = (
        "dark" if np.sum(elsewhere > least) > np.sum(elsewhere < -least) else "bright"
    )
    lit = _enlarged(field, image.shape, step)
    # light that passes tissue is a share of the light that passes a bright slide
    stain = (lit - image) * (level / np.maximum(lit, 1)) if background == "bright" else image - lit
    stain = np.where(scanned, stain, 0).astype(np.float32)
    return Slide(scanned, stain, level, noise, background)


def scanned_area(image: NDArray[np.uint8]) -> Mask:
    """The part of the image that shows a slide: without padding and a scanner's frame.

    Padding and frames have one gray value, reach the edge of the image, and leave a shape with
    right angles, whose sides show a slide of another gray value. A slide of one gray value leaves
    the shape of the tissue; a rectangular piece of tissue shows grain along its sides.
    """
    step = max(1, min(image.shape) // _COARSE_PX)
    coarse = np.ascontiguousarray(image[::step, ::step])
    scanned = np.ones(coarse.shape, bool)
    peeled = False
    for _ in range(3):
        rows, columns = np.flatnonzero(scanned.any(1)), np.flatnonzero(scanned.any(0))
        window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        rest = _without_padding(coarse[window], scanned[window])
        if rest is None:
            break
        scanned[:] = False
        scanned[window] = rest
        peeled = True
    if not peeled:
        return np.ones(image.shape, bool)
    large = np.repeat(np.repeat(scanned, step, axis=0), step, axis=1)
    return np.ascontiguousarray(large[: image.shape[0], : image.shape[1]])


def _without_padding(image: NDArray[np.uint8], scanned: Mask) -> Mask | None:
    """`scanned` without padding of one gray value; None if the image has none."""
    edge = np.zeros_like(scanned)
    edge[[0, -1]] = True
    edge[:, [0, -1]] = True
    border = image[edge & scanned].astype(np.int16)
    rest_of_border = border
    while len(rest_of_border) > _LEAST_PADDING * len(border):
        value = int(np.argmax(np.bincount(rest_of_border, minlength=256)))
        off = np.abs(border - value)
        rest_of_border = rest_of_border[np.abs(rest_of_border - value) > _FRAME_NOISE]
        tolerance = _PADDING_SPREAD + 4 * np.sqrt(
            np.mean(off[off <= _FRAME_NOISE].astype(float) ** 2)
        )
        near = np.abs(image.astype(np.int16) - value) <= tolerance
        outside = connected_to_border(near | ~scanned)
        # specks and labels on the padding do not count
        square = np.ones((5, 5), np.uint8)
        rest = cv2.morphologyEx((~outside).astype(np.uint8), cv2.MORPH_OPEN, square)
        # a label is not the scan: something else lies on the slide
        scans = right_angled(rest)
        if scans is None or not _LEAST_SCANNED < np.mean(scans) < _MOST_SCANNED:
            continue
        inner = cv2.erode(scans, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE) > 0
        side = inner & ~(cv2.erode(np.pad(inner, 1).astype(np.uint8), square)[1:-1, 1:-1] > 0)
        slide = even_level(image, side)
        if slide is not None and abs(slide - value) > tolerance + _SLIDE_SPREAD / 2:
            return scanned & inner
    return None


def right_angled(mask: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """The components of a mask without specks; None unless all of them have right angles.

    Most of the outline of a scan, or of several scans on one canvas, is parallel to one of two
    perpendicular axes, which may be turned. That of tissue runs in all directions.
    """
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    areas = [cv2.contourArea(outline) for outline in outlines]
    scans = np.zeros_like(mask)
    for outline, area in zip(outlines, areas, strict=True):
        if area <= _SPECKS * sum(areas):
            continue
        corners = cv2.approxPolyDP(outline, _OUTLINE_PX, True)[:, 0].astype(np.float64)
        sides = np.roll(corners, -1, axis=0) - corners
        angle = np.degrees(np.arctan2(sides[:, 1], sides[:, 0])) % 90
        length = np.hypot(*sides.T)
        off = np.abs(angle[:, None] - angle)
        parallel = np.minimum(off, 90 - off) <= _PARALLEL_DEG
        if (parallel @ length).max() < _RECTANGULAR * length.sum():
            return None
        cv2.drawContours(scans, [outline], 0, 1, cv2.FILLED)
    return scans if scans.any() else None


def even_level(image: NDArray[np.uint8], mask: Mask) -> int | None:
    """The gray value of a slide or a label that fills much of `mask`; None if all is tissue.

    Most neighbouring pixels of about this gray value are alike; in tissue, grain comes between.
    """
    pairs = mask[:, 1:] & mask[:, :-1]
    values = image[:, 1:][pairs].astype(np.int16)
    alike = np.abs(values - image[:, :-1][pairs]) <= _SLIDE_GRAIN
    counts = np.bincount(values[alike], minlength=256)
    level = int(np.argmax(np.convolve(counts, np.ones(2 * _SLIDE_SPREAD + 1), "same")))
    near = np.abs(values - level) <= _SLIDE_SPREAD
    if near.sum() <= _LEAST_SLIDE * len(values) or alike[near].mean() < 0.5:
        return None
    return level


def _blocks(image: NDArray[np.uint8], scanned: Mask, step: int) -> tuple[Floats, Floats, Mask]:
    """Mean and standard deviation of the blocks of an image, and which are wholly scanned."""
    rows, columns = (max(1, size // step) for size in image.shape)
    whole = image[: rows * step, : columns * step].astype(np.float32)

    def average(values: Image) -> Floats:
        size = (columns, rows)
        return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float64)

    mean = average(whole)
    square = average(whole * whole)
    inside = average(scanned[: rows * step, : columns * step].astype(np.float32)) > 0.999
    return mean, np.sqrt(np.maximum(square - mean * mean, 0)), inside


def _level(mean: Floats, spread: Floats, inside: Mask) -> float:
    """Gray value of most of the slide."""
    if not inside.any():
        return float(np.median(mean))
    edge = _edge(inside)
    flat = inside & (spread <= 2 * np.percentile(spread[inside], 20) + 1)
    reach = _reach(spread[inside])

    def share(blocks: Mask) -> Floats:
        counts = np.bincount(np.rint(mean[blocks]).astype(int), minlength=256)
        return np.convolve(counts, np.ones(2 * reach + 1), "same") / max(int(blocks.sum()), 1)

    total = np.cumsum(np.bincount(np.rint(mean[inside]).astype(int), minlength=256))
    values = np.arange(256)
    beyond = 2 * reach + 1
    darker = np.where(values >= beyond, total[np.maximum(values - beyond, 0)], 0)
    brighter = total[-1] - total[np.minimum(values + beyond - 1, 255)]
    one_sided = (darker - brighter) / np.maximum(darker + brighter, 1)
    return float(np.argmax((share(flat) + share(edge)) * (one_sided**2 + 0.01)))


def _reach(spread: Floats) -> int:
    """Gray values to either side of the slide's that are the slide: by the grain of flat blocks."""
    return int(np.clip(np.rint(2 * np.percentile(spread, 10)), 1, _SLIDE_SPREAD))


def _shading(mean: Floats, spread: Floats, inside: Mask, level: float) -> tuple[Floats, Mask]:
    """A surface of second order through the slide's blocks, and which blocks these are.

    It grows from the blocks near `level`, and from those at the edge of the scan, where strong
    vignetting leaves only a part of the slide near one level. The surface that explains more blocks
    is the slide's.
    """
    if not inside.any():
        return np.full(mean.shape, level), inside
    least = float(_reach(spread[inside]))
    near = inside & (np.abs(mean - level) <= least)
    flat = inside & (spread <= 3 * np.median(spread[near]) + 1) if near.any() else inside
    grown = [_surface(mean, flat, start, level, least) for start in (near, _edge(inside))]
    explained = [np.count_nonzero(flat & (np.abs(mean - field) <= least)) for field, _ in grown]
    return grown[int(np.argmax(explained))]


def _surface(
    mean: Floats, flat: Mask, start: Mask, level: float, least: float
) -> tuple[Floats, Mask]:
    """A surface of second order, fitted to `start` and then to all flat blocks that are near it."""
    field, chosen = np.full(mean.shape, level), flat & start
    terms = second_order(mean.shape)
    for _ in range(_ROUNDS):
        if np.count_nonzero(chosen) < 4 * terms.shape[-1]:
            break
        weights, *_ = np.linalg.lstsq(terms[chosen], mean[chosen], rcond=None)
        field = terms @ weights
        tolerance = max(_REACH * _deviation((mean - field)[chosen]), least)
        chosen = flat & (np.abs(mean - field) < tolerance)
    return field, chosen


def _edge(inside: Mask) -> Mask:
    """The outermost blocks of the scanned area."""
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    edge = np.zeros_like(inside)
    edge[[rows[0], rows[-1]]] = True
    edge[:, [columns[0], columns[-1]]] = True
    return edge & inside


def second_order(shape: tuple[int, ...]) -> Floats:
    """The terms 1, x, y, xx, xy, yy of a surface, (rows, columns, 6); x and y are -1 to 1."""
    rows, columns = shape
    y, x = np.mgrid[:rows, :columns]
    y, x = y / max(rows - 1, 1) * 2 - 1, x / max(columns - 1, 1) * 2 - 1
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)


def _deviation(values: Floats) -> float:
    """Standard deviation from the median absolute deviation of a normal distribution."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def _enlarged(field: Floats, shape: tuple[int, ...], step: int) -> Image:
    """A surface on blocks, at the pixels of the image."""
    rows, columns = field.shape
    large = cv2.resize(
        field.astype(np.float32), (columns * step, rows * step), interpolation=cv2.INTER_LINEAR
    )
    down, right = max(0, shape[0] - rows * step), max(0, shape[1] - columns * step)
    return np.pad(large, ((0, down), (0, right)), mode="edge")[: shape[0], : shape[1]]
