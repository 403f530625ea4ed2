"""Examine an image file in milliseconds, from its header and a window of each level."""

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytopipe.files import InputError
from cytopipe.formats.images.description import ImageDescription
from cytopipe.formats.images.pyramid import MOST_PIXELS, Pyramid, open_reader
from cytopipe.formats.images.reader import COPY_AGAIN
from cytopipe.formats.images.whole_slide import companions

# the coarsest level is decoded as a whole, as an overview, up to this size
_OVERVIEW_PX = 2**22
# of a larger level, this many windows of this edge along each axis
_SAMPLES, _SAMPLE_PX = 8, 64
# a tile or strip larger than this is not decoded, nor is a PNG or JPEG
_SEGMENT_PX = 2**24
_WINDOW_PX = 128  # edge of a window, in pixels of the coarser of the two levels compared
_CELLS = 8  # two levels are compared by the means of this many parts along each axis
_TILED_ABOVE_PX = 2**24  # larger levels are read by windows and need tiles
_MISSING_CHECKED = 20


@dataclass(frozen=True)
class Examination(ImageDescription):
    """What `examine` learnt: the metadata, and what a look at the pixels adds.

    Attributes
    ----------
    size_bytes : size of the file or folder.
    background : "bright" or "dark", by an overview, the coarsest level or windows spread over the
        only one: what stands out from the frame around it is darker or brighter. "" if nothing
        stands out, or if its parts are too large to decode.
    black : share of the overview that is exactly 0, where the background is bright: a border that a
        program added, or a part that was lost at all levels.
    needs_copy : why its windows cannot be read in place, so that the pyramids stage has to make a
        copy ("" if they can). `levels` in sections.tsv is then "no", else "yes".
    """

    size_bytes: int
    background: str
    black: float
    needs_copy: str


def examine(path: Path) -> Examination:
    """Examine an image file without decoding more than a window of each level.

    Each window is compared with the same part of the next level. This finds a level that is all
    zeros, shows another image or is out of place. A PNG or JPEG is decoded if it is small.

    Raises
    ------
    InputError
        If the file is missing, truncated, in an unknown format, or not gray or RGB of 8 or 16 bits;
        if a codec or tile cannot be decoded, or is too large; if a level is missing, out of order,
        or shows something else.
    """
    with open_reader(path) as reader:
        description = reader.description
        description.check_segments()
        pyramid = Pyramid(reader, 1.0)
        for level, region in reader.missing_segments(_MISSING_CHECKED):
            pyramid.confirm_empty(level, region)
        overview = _overview(description, pyramid, len(description.levels) - 1)
        _check_levels(description, pyramid, overview)
        background = "" if overview is None else _background(overview)
        return Examination(
            **vars(description),
            size_bytes=_size_bytes(path),
            background=background,
            black=float(np.mean(overview == 0)) if background == "bright" else 0.0,
            needs_copy=_reason_to_copy(description),
        )


def _size_bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path, *companions(path)]
    return sum(file.stat().st_size for file in files)


def _reason_to_copy(description: ImageDescription) -> str:
    if description.decoded_whole:
        return f"a {description.format} has no levels and no tiles"
    if description.of_scanner:
        return "a scanner's own format"
    levels, factors = description.levels, description.factors
    pixels = [level.height * level.width for level in levels]
    for number, level in enumerate(levels):
        rows, columns = level.segment
        if pixels[number] > _TILED_ABOVE_PX and columns == level.width and rows != level.height:
            return f"level {number} has strips, not tiles"
        if pixels[number] > _TILED_ABOVE_PX and rows * columns > _TILED_ABOVE_PX:
            return f"level {number} is a single strip"
    if pixels[-1] > MOST_PIXELS // 4:
        return f"its coarsest level still has {levels[-1].width} x {levels[-1].height} px"
    for number, (fine, coarse) in enumerate(pairwise(factors)):
        if coarse / fine > 8.5 and pixels[number] > MOST_PIXELS // 4:
            return f"level {number + 1} is {coarse / fine:.3g} times coarser than level {number}"
    return ""


def _overview(description: ImageDescription, pyramid: Pyramid, number: int) -> NDArray[Any] | None:
    """A level or, if it is large, windows spread over it; None if its segments are too large."""
    level = description.levels[number]
    if math.prod(level.segment) > _SEGMENT_PX:
        return None
    if level.height * level.width <= _OVERVIEW_PX:
        return pyramid.read_level(number)
    height, width = (min(_SAMPLE_PX, length) for length in level.shape)
    rows, columns = (
        [round(room * step / (_SAMPLES - 1)) for step in range(_SAMPLES)]
        for room in (level.height - height, level.width - width)
    )
    windows = [[pyramid.read_window(number, r, c, height, width) for c in columns] for r in rows]
    return np.block(windows)


def _background(overview: NDArray[Any]) -> str:
    width = max(1, min(overview.shape) // 100)
    sides = overview[:width], overview[-width:], overview[:, :width], overview[:, -width:]
    frame = np.concatenate([side.ravel() for side in sides])
    # neither a black border nor a lost part shows the slide, if a tenth of the frame does
    shown = frame[frame > 0]
    slide = float(np.median(shown if 10 * len(shown) > len(frame) else frame))
    low, high = np.percentile(overview, [0.5, 99.5])
    # uneven illumination and noise stay below a twentieth of the light
    contrast = max(0.1 * (high - low), 0.05 * high)
    darker = np.count_nonzero((overview > 0) & (overview < slide - contrast))
    brighter = np.count_nonzero(overview > slide + contrast)
    if max(darker, brighter) < 0.002 * overview.size:
        return ""
    return "dark" if brighter > darker else "bright"


def _check_levels(
    description: ImageDescription, pyramid: Pyramid, overview: NDArray[Any] | None
) -> None:
    """Decode a window of each level where there is most to see, and compare neighbours.

    Levels whose tiles or strips are too large to decode quickly are skipped.
    """
    readable = [math.prod(level.segment) <= _SEGMENT_PX for level in description.levels]
    center = (0.5, 0.5) if overview is None else _busiest_part(overview)
    for number, both_readable in enumerate(map(all, pairwise(readable))):
        if both_readable:
            _compare_levels(pyramid, number, center)
    # where levels agree, they may have been lost together
    if overview is not None and not overview.any():
        overview = _overview(description, pyramid, 0)
    if overview is not None and not overview.any():
        raise InputError(
            f"{pyramid.path}: contains nothing but 0, so a copy or conversion failed{COPY_AGAIN}"
        )


def _busiest_part(image: NDArray[Any]) -> tuple[float, float]:
    """Middle of the part of an image that varies most, as fractions of its height and width."""
    height, width = (max(1, length // 8) for length in image.shape)
    corners = [
        (row, column)
        for row in range(0, image.shape[0] - height + 1, height)
        for column in range(0, image.shape[1] - width + 1, width)
    ]
    row, column = max(
        corners, key=lambda at: float(image[at[0] : at[0] + height, at[1] : at[1] + width].std())
    )
    return (row + height / 2) / image.shape[0], (column + width / 2) / image.shape[1]


def _compare_levels(pyramid: Pyramid, number: int, center: tuple[float, float]) -> None:
    """Raise InputError unless a level and the next coarser one look alike around `center`."""
    fine, coarse = pyramid.levels[number : number + 2]
    factor = coarse.spacing_um / fine.spacing_um
    # the fine window costs most; if it is much finer, compare fewer pixels of the coarse level
    edge = max(_CELLS, min(_WINDOW_PX, int(1024 / factor)))
    row, rows, fine_row, fine_rows = _span(center[0], edge, coarse.height, fine.height, factor)
    column, columns, fine_column, fine_columns = _span(
        center[1], edge, coarse.width, fine.width, factor
    )
    if min(rows, columns) < _CELLS:
        return  # the rounding of sizes changes so few pixels as much as another image does
    coarse_cells = _cell_means(pyramid.read_window(number + 1, row, column, rows, columns))
    fine_cells = _cell_means(
        pyramid.read_window(number, fine_row, fine_column, fine_rows, fine_columns)
    )
    difference = np.abs(coarse_cells - fine_cells).mean()
    coarse_spread, fine_spread = coarse_cells.std(), fine_cells.std()
    # a blank part differs by its noise; elsewhere interpolation and codecs hardly change a mean
    alike = difference < 0.01 * max(coarse_cells.max(), fine_cells.max(), 100) or (
        min(coarse_spread, fine_spread) > 0
        and difference < max(coarse_spread, fine_spread)
        and np.corrcoef(coarse_cells.ravel(), fine_cells.ravel())[0, 1] > 0.8
    )
    if not alike:
        raise InputError(
            f"{pyramid.path}: level {number} shows something else than level {number + 1} around "
            f"row {fine_row + fine_rows // 2}, column {fine_column + fine_columns // 2} (gray "
            f"values {fine_cells.mean():.0f} and {coarse_cells.mean():.0f} on average){COPY_AGAIN}"
        )


def _span(
    center: float, edge: int, coarse: int, fine: int, factor: float
) -> tuple[int, int, int, int]:
    """Start and size of a stretch of an axis, in a coarse level and in the finer one.

    It has at most `edge` coarse pixels and lies around `center`, a fraction of the axis.
    """
    size = min(edge, coarse)
    start = min(max(int(center * coarse) - size // 2, 0), coarse - size)
    fine_start, fine_end = round(start * factor), min(round((start + size) * factor), fine)
    return start, size, fine_start, max(fine_end - fine_start, 1)


def _cell_means(window: NDArray[Any]) -> NDArray[np.float32]:
    """Means of the parts of a window, `_CELLS` along each axis."""
    import cv2  # not on a GPU node, where no file is examined

    size = (_CELLS, _CELLS)
    means = cv2.resize(window.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(means)
