"""What can be known of an image file in milliseconds: its header, and a window of each level."""

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytopipe.files import InputError
from cytopipe.formats.images.pyramid import MOST_PIXELS, Pyramid, level_factors, open_store
from cytopipe.formats.images.store import COPY_AGAIN, Store

# an image that says where to look is decoded up to this size
_OVERVIEW_PX = 2**22
# a tile or strip larger than this is not decoded for a look
_SEGMENT_PX = 2**24
_LOOK_PX = 128  # edge of a window, of the coarser of the two levels that are compared
_CELLS = 8  # levels are compared by means of so many parts along each axis
_TILED_ABOVE_PX = 2**24  # larger levels are read by windows, and need tiles
_ABSENT_LOOKED_AT = 20


@dataclass(frozen=True)
class ExaminedLevel:
    """A level of a file.

    Attributes
    ----------
    height, width : rows and columns.
    factor : pixels of level 0 that one of its pixels is wide.
    spacing_um : its pixel size if the metadata give one for level 0, else None.
    segment : rows and columns decoded at once: a tile, a strip, a chunk.
    codec : how they are compressed.
    looked_at : a window was decoded; not so where a single strip is too large to decode for a look.
    """

    height: int
    width: int
    factor: float
    spacing_um: float | None
    segment: tuple[int, int]
    codec: str
    looked_at: bool


@dataclass(frozen=True)
class Examination:
    """What `examine` found.

    Attributes
    ----------
    path, format, size_bytes : the file (or folder); "OME-BigTIFF", "OME-Zarr 0.5", "JPEG", ...
    dtype, channels : "uint8" or "uint16"; 1 gray, 3 RGB.
    levels : level 0 (full resolution) first.
    spacing_um : pixel size of level 0 by the metadata; None if they give none.
    spacing_from : "OME", "OME-Zarr", "resolution tags" (which many programs fill in at random, so
        that no reader relies on them) or "".
    pixels_square : False if the metadata give two sizes that differ by more than 1 %.
    background : "bright" or "dark", by the coarsest level: what stands out from the frame around
        it is darker or brighter. "" where nothing stands out, or where there is only one level.
    needs_copy : why windows of it cannot be read in place, so that the pyramids stage has to make a
        copy ("" if they can); `levels` of sections.tsv is "no" then, else "yes".
    """

    path: Path
    format: str
    size_bytes: int
    dtype: str
    channels: int
    levels: tuple[ExaminedLevel, ...]
    spacing_um: float | None
    spacing_from: str
    pixels_square: bool
    background: str
    needs_copy: str

    def has_level(self, spacing_um: float, full_spacing_um: float) -> bool:
        """Whether there is a level of this pixel size, if level 0 has `full_spacing_um`."""
        return any(
            abs(level.factor * full_spacing_um / spacing_um - 1) <= 1e-3 for level in self.levels
        )


def examine(path: Path) -> Examination:
    """Look at an image file without decoding more than a window of each level.

    Each window is compared with the same part of the next level, so that a level of zeros, of
    another image or out of place is found.

    Raises
    ------
    InputError
        If the file is missing, truncated, of another kind, not gray or RGB of 8 or 16 bits; if a
        codec or tile cannot be decoded, a level is missing, out of order or shows something else.
    """
    with open_store(path) as store:
        factors = level_factors(store)
        absent = store.check_complete()
        pyramid = Pyramid(store, 1.0)
        step = max(1, len(absent) // _ABSENT_LOOKED_AT)
        for level, box in absent[::step]:
            pyramid.confirm_empty(level, box)
        overview = _overview(store, pyramid)
        looked_at = _look(store, pyramid, overview)
        spacing_um, source = _spacing(store)
        sizes = list(store.spacing_um.values())
        return Examination(
            path=path,
            format=store.format,
            size_bytes=_size_bytes(path),
            dtype=str(store.dtype),
            channels=store.channels,
            levels=tuple(
                ExaminedLevel(
                    level.height, level.width, factor,
                    None if spacing_um is None else spacing_um * factor,
                    level.segment, level.codec, looked,
                )
                for level, factor, looked in zip(store.levels, factors, looked_at, strict=True)
            ),
            spacing_um=spacing_um,
            spacing_from=source,
            pixels_square=len(sizes) < 2 or abs(sizes[0] / sizes[1] - 1) <= 0.01,
            background="" if overview is None else _background(overview),
            needs_copy=_needs_copy(store, factors),
        )  # fmt: skip


def _spacing(store: Store) -> tuple[float | None, str]:
    found = store.spacing_um.get("X", store.spacing_um.get("Y"))
    if found is not None:
        if not 0 < found < math.inf:
            raise InputError(
                f"{store.path}: its metadata give a pixel size of {found} um; correct or remove it"
            )
        return found, "OME-Zarr" if store.format.startswith("OME-Zarr") else "OME"
    if "TIFF" in store.format and store.levels[0].spacing_um is not None:
        return store.levels[0].spacing_um, "resolution tags"
    return None, ""


def _size_bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


def _needs_copy(store: Store, factors: list[float]) -> str:
    if store.format in ("PNG", "JPEG"):
        return f"a {store.format} has no levels and no tiles"
    pixels = [level.height * level.width for level in store.levels]
    for number, level in enumerate(store.levels):
        rows, columns = level.segment
        if pixels[number] > _TILED_ABOVE_PX and columns == level.width and rows != level.height:
            return f"level {number} has strips, not tiles"
        if pixels[number] > _TILED_ABOVE_PX and rows * columns > _TILED_ABOVE_PX:
            return f"level {number} is a single strip"
    if pixels[-1] > MOST_PIXELS // 4:
        last = store.levels[-1]
        return f"its coarsest level still has {last.width} x {last.height} px"
    for number, (fine, coarse) in enumerate(pairwise(factors)):
        if coarse / fine > 8.5 and pixels[number] > MOST_PIXELS // 4:
            return f"level {number + 1} is {coarse / fine:.3g} times coarser than level {number}"
    return ""


def _overview(store: Store, pyramid: Pyramid) -> NDArray[Any] | None:
    """The coarsest of several levels, unless it is large."""
    last = store.levels[-1]
    small = last.height * last.width <= _OVERVIEW_PX and math.prod(last.segment) <= _SEGMENT_PX
    if len(store.levels) == 1 or not small:
        return None
    return pyramid.read_level(len(store.levels) - 1)


def _background(overview: NDArray[Any]) -> str:
    width = max(1, min(overview.shape) // 100)
    sides = overview[:width], overview[-width:], overview[:, :width], overview[:, -width:]
    slide = float(np.median(np.concatenate([side.ravel() for side in sides])))
    low, high = np.percentile(overview, [0.5, 99.5])
    # a lamp that is uneven, and noise, are less than a twentieth of the light apart
    least = max(0.1 * (high - low), 0.05 * high)
    darker = np.count_nonzero(overview < slide - least)
    brighter = np.count_nonzero(overview > slide + least)
    if max(darker, brighter) < 0.002 * overview.size:
        return ""
    return "dark" if brighter > darker else "bright"


def _look(store: Store, pyramid: Pyramid, overview: NDArray[Any] | None) -> list[bool]:
    """Decode a window of each level where there is most to see, and compare neighbours."""
    readable = [math.prod(level.segment) <= _SEGMENT_PX for level in store.levels]
    if len(store.levels) == 1:
        if readable[0] and store.format not in ("PNG", "JPEG"):
            _look_at_one(pyramid)
            return [True]
        return [False]
    where = (0.5, 0.5) if overview is None else _busiest(overview)
    for number in range(len(store.levels) - 1):
        if readable[number] and readable[number + 1]:
            _compare(pyramid, number, where)
    return readable


def _look_at_one(pyramid: Pyramid) -> None:
    """Windows of a file of one level; there is nothing to compare them with but themselves."""
    level = pyramid.levels[0]
    height, width = min(_LOOK_PX, level.height), min(_LOOK_PX, level.width)
    found = [
        pyramid.read_window(
            0,
            int(down * (level.height - height)),
            int(along * (level.width - width)),
            height,
            width,
        )
        for down, along in ((0.5, 0.5), (0.25, 0.25), (0.75, 0.75), (0.25, 0.75), (0.75, 0.25))
    ]
    if not any(window.any() for window in found):
        raise InputError(
            f"{pyramid.path}: five windows decoded hold nothing but 0: a copy or conversion that "
            f"failed{COPY_AGAIN}"
        )


def _busiest(image: NDArray[Any]) -> tuple[float, float]:
    """Middle of the part of an image that varies most, as fractions of its height and width."""
    size = [max(1, length // 8) for length in image.shape]
    best, where = -1.0, (0.5, 0.5)
    for row in range(0, image.shape[0] - size[0] + 1, size[0]):
        for column in range(0, image.shape[1] - size[1] + 1, size[1]):
            spread = float(image[row : row + size[0], column : column + size[1]].std())
            if spread > best:
                middle = (row + size[0] / 2, column + size[1] / 2)
                best = spread
                where = (middle[0] / image.shape[0], middle[1] / image.shape[1])
    return where


def _compare(pyramid: Pyramid, number: int, where: tuple[float, float]) -> None:
    """Raise InputError unless a level and the next coarser one show the same around `where`."""
    fine, coarse = pyramid.levels[number : number + 2]
    factor = coarse.spacing_um / fine.spacing_um
    # fewer pixels of the coarse level if it is much coarser: the fine window is what costs
    edge = max(_CELLS, min(_LOOK_PX, int(1024 / factor)))
    rows = _span(where[0], edge, coarse.height, fine.height, factor)
    columns = _span(where[1], edge, coarse.width, fine.width, factor)
    shown = [
        pyramid.read_window(number + 1, rows.at, columns.at, rows.size, columns.size),
        pyramid.read_window(number, rows.fine_at, columns.fine_at, rows.fine, columns.fine),
    ]
    below, above = (_cells(window) for window in shown)
    differ = np.abs(below - above).mean()
    one, other = below.std(), above.std()
    # a blank part differs by its noise; elsewhere interpolation and codecs change little of a mean
    alike = differ < 0.01 * max(below.max(), above.max(), 100) or (
        min(one, other) > 0
        and differ < max(one, other)
        and np.corrcoef(below.ravel(), above.ravel())[0, 1] > 0.8
    )
    if not alike:
        raise InputError(
            f"{pyramid.path}: level {number} shows something else than level {number + 1} around "
            f"row {rows.fine_at + rows.fine // 2}, column {columns.fine_at + columns.fine // 2} "
            f"(gray values {above.mean():.0f} and {below.mean():.0f} on average){COPY_AGAIN}"
        )


@dataclass(frozen=True)
class _Span:
    at: int
    size: int
    fine_at: int
    fine: int


def _span(middle: float, edge: int, coarse: int, fine: int, factor: float) -> _Span:
    """A stretch of a coarse axis, and the same one of the fine axis."""
    size = min(edge, coarse)
    at = min(max(int(middle * coarse) - size // 2, 0), coarse - size)
    start, end = round(at * factor), min(round((at + size) * factor), fine)
    return _Span(at, size, start, max(end - start, 1))


def _cells(window: NDArray[Any]) -> NDArray[np.float64]:
    """Means of parts of a window, `_CELLS` along each axis as far as it has pixels."""
    means = window.astype(np.float64)
    for axis in (0, 1):
        count = min(_CELLS, means.shape[axis])
        edges = np.linspace(0, means.shape[axis], count + 1).astype(int)
        sums = np.add.reduceat(means, edges[:-1], axis=axis)
        shape = [1, 1]
        shape[axis] = -1
        means = sums / np.diff(edges).reshape(shape)
    return means
