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
# the gray values of a slide along the sides of a scan lie within 8 of the most frequent one
_SLIDE_SPREAD = 8
# a scan with straight edges fills its enclosing rectangle to at least this share; an ellipse fills
# 0.79 of it, a coronal section less. Padding takes at least 2 % of the image, the scan at least 5 %
_RECTANGULAR, _LEAST_SCANNED, _MOST_SCANNED = 0.95, 0.05, 0.98
# what lies on padding takes at most this share of the scan, tissue in a scan at least this share
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

    Padding and frames have one gray value, reach the edge of the image, and leave a rectangle whose
    sides show a slide of another gray value. A slide of one gray value leaves the shape of the
    tissue, which is no rectangle; a rectangular piece of tissue shows texture along its sides.
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
    """`scanned` without padding of one gray value; None if there is no padding."""
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
        count, labels, boxes, _ = cv2.connectedComponentsWithStats(rest, connectivity=4)
        sizes = boxes[1:, cv2.CC_STAT_AREA]
        # a label is not the scan: something else lies on the slide
        if count < 2 or sizes.max() < (1 - _SPECKS) * sizes.sum():
            continue
        largest = (labels == 1 + int(np.argmax(sizes))).astype(np.uint8)
        (_, (height, width), _) = cv2.minAreaRect(cv2.findNonZero(largest))
        # corners are centres of pixels
        area = (height + 1) * (width + 1)
        if not _LEAST_SCANNED * image.size < largest.sum() < _MOST_SCANNED * image.size:
            continue
        if largest.sum() < _RECTANGULAR * area:
            continue
        inner = cv2.erode(largest, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE) > 0
        side = inner & ~(cv2.erode(np.pad(inner, 1).astype(np.uint8), square)[1:-1, 1:-1] > 0)
        slide = _even_level(image[side])
        if slide is None or abs(slide - value) <= tolerance + _SLIDE_SPREAD / 2:
            continue
        # ink and labels are even all over
        if np.mean(np.abs(image[inner].astype(np.int16) - slide) > _SLIDE_SPREAD) > _SPECKS:
            return scanned & inner
    return None


def _even_level(side: NDArray[np.uint8]) -> int | None:
    """The gray value of most pixels along the sides of a scan; None if they differ."""
    if len(side) == 0:
        return None
    counts = np.bincount(side, minlength=256)
    width = 2 * _SLIDE_SPREAD + 1
    most = int(np.argmax(np.convolve(counts, np.ones(width), "same")))
    near = counts[max(0, most - _SLIDE_SPREAD) : most + _SLIDE_SPREAD + 1]
    return most if near.sum() > len(side) / 2 else None


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
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    edge = np.zeros_like(inside)
    edge[[rows[0], rows[-1]]] = True
    edge[:, [columns[0], columns[-1]]] = True
    edge &= inside
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
    """A surface of second order through the slide's blocks, and which blocks these are."""
    field = np.full(mean.shape, level)
    if not inside.any():
        return field, inside
    terms = second_order(mean.shape)
    least = tolerance = float(_reach(spread[inside]))
    chosen = inside & (np.abs(mean - level) <= tolerance)
    flat = inside & (spread <= 3 * np.median(spread[chosen]) + 1) if chosen.any() else inside
    chosen &= flat
    for _ in range(_ROUNDS):
        if np.count_nonzero(chosen) < 4 * terms.shape[-1]:
            break
        weights, *_ = np.linalg.lstsq(terms[chosen], mean[chosen], rcond=None)
        field = terms @ weights
        tolerance = max(_REACH * _deviation((mean - field)[chosen]), least)
        chosen = flat & (np.abs(mean - field) < tolerance)
    return field, chosen


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
