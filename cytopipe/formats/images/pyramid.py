"""An open section image, gray whatever the file holds: read by level, by spacing or by window."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytopipe.files import InputError, require
from cytopipe.formats.images.gray import gray_range, inverted, luma, to_8_bit
from cytopipe.formats.images.ome_zarr import ZarrStore
from cytopipe.formats.images.single import JPEG_SUFFIXES, PNG_SUFFIXES, SingleStore
from cytopipe.formats.images.store import COPY_AGAIN, SHEET, Box, Store
from cytopipe.formats.images.tiff import TiffStore

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf8")
ZARR_SUFFIX = ".zarr"
# `read_at` decodes no level of more pixels: that of a scan without levels may have 12 GB
MOST_PIXELS = 2**28
# the gray values of a scan are judged by so many windows of this edge along each axis
_WINDOWS, _WINDOW = 12, 256


@dataclass(frozen=True)
class Level:
    """One resolution of a pyramid: pixel size in um, rows and columns."""

    spacing_um: float
    height: int
    width: int


class Pyramid:
    """An open image; use `open_pyramid`.

    Colors become luma, gray values that run from white to black are turned round, 16 bits stay
    (`to_8_bit` scales them): docs/images.md.

    Attributes
    ----------
    path : the file.
    levels : level 0 (full resolution) first.
    dtype : uint8 or uint16.
    """

    def __init__(self, store: Store, full_spacing_um: float) -> None:
        self.path = store.path
        self._store = store
        self.dtype = store.dtype
        factors = level_factors(store)
        self.levels = [
            Level(full_spacing_um * factor, stored.height, stored.width)
            for factor, stored in zip(factors, store.levels, strict=True)
        ]

    @property
    def full_spacing_um(self) -> float:
        """Pixel size of level 0 in um."""
        return self.levels[0].spacing_um

    @cached_property
    def gray_range(self) -> tuple[float, float]:
        """What `to_8_bit` makes 0 and 255: one range for all levels and windows.

        That of windows spread over the finest level (see the function `gray_range`): coarser
        ones average the cells away, and their darkest would be cut off. 0 and 255 for 8 bits.
        """
        if self.dtype == np.uint8:
            return 0.0, 255.0
        height, width = self.levels[0].height, self.levels[0].width
        rows, columns = (_spread(size) for size in (height, width))
        windows = [
            self.read_window(0, row, column, min(_WINDOW, height), min(_WINDOW, width)).ravel()
            for row in rows
            for column in columns
        ]
        return gray_range(np.concatenate(windows))

    def to_8_bit(self, image: NDArray[Any]) -> NDArray[np.uint8]:
        """Pixels of this image in 8 bits, by its `gray_range`; 8-bit pixels as they are."""
        return to_8_bit(image, *self.gray_range)

    def level_for(self, spacing_um: float) -> int:
        """The coarsest level that is at least as fine as `spacing_um`.

        Raises
        ------
        InputError
            If even level 0 is coarser.
        """
        fine = [i for i, lv in enumerate(self.levels) if lv.spacing_um <= spacing_um * 1.001]
        if not fine:
            raise InputError(
                f"{self.path}: its finest level has {self.full_spacing_um:g} um, "
                f"{spacing_um:g} um is needed; choose a coarser spacing in the config"
            )
        return max(fine, key=lambda i: self.levels[i].spacing_um)

    def read_level(self, level: int) -> NDArray[Any]:
        """One whole level, (rows, columns)."""
        return self.read_window(level, 0, 0, self.levels[level].height, self.levels[level].width)

    def read_at(self, spacing_um: float) -> NDArray[Any]:
        """The whole image at exactly `spacing_um`, by area averaging from the next finer level.

        The pixel grid is that of `geometry.pixels_to_section(..., spacing_um, full_spacing_um)`;
        a last row or column that is less than half covered is left out.

        Raises
        ------
        InputError
            If the image has no level as fine, or only one that is too large to decode at once.
        """
        import cv2  # not on a GPU node, where only windows are read

        level = self.level_for(spacing_um)
        lv = self.levels[level]
        factor = spacing_um / lv.spacing_um
        if lv.height * lv.width > MOST_PIXELS:
            raise InputError(
                f"{self.path}: {spacing_um:g} um is needed, the nearest finer level has "
                f"{lv.spacing_um:g} um and {lv.width} x {lv.height} px, too many to decode at "
                f"once; set levels to no in {SHEET}, and the workflow makes a copy that has them"
            )
        image = self.read_level(level)
        if abs(factor - 1) * max(image.shape) < 0.5:
            return image
        # a scale, not a size: cv2 would stretch the grid to fit a rounded size
        if min(image.shape) < factor:
            raise InputError(f"{self.path}: less than a pixel of {spacing_um:g} um; rescan it")
        scaled = cv2.resize(image, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
        return np.asarray(scaled)

    def read_window(
        self, level: int, row: int, column: int, height: int, width: int
    ) -> NDArray[Any]:
        """A window of a level that lies inside it; only the tiles it touches are decoded.

        Raises
        ------
        ValueError
            If the window leaves the level.
        InputError
            If a tile cannot be decoded, or is not there although a neighbouring level shows
            something in its place.
        """
        lv = self.levels[level]
        if row < 0 or column < 0 or row + height > lv.height or column + width > lv.width:
            raise ValueError(
                f"{self.path}: window {row, column, height, width} leaves level {level}"
            )
        if self._store.channels == 1:
            return self._gray(level, Box(row, column, height, width))
        # colors take three times the memory: a row of tiles at a time
        window = np.empty((height, width), self.dtype)
        step = max(self._store.levels[level].segment[0], 256)
        start = row
        while start < row + height:
            end = min((start // step + 1) * step, row + height)
            window[start - row : end - row] = self._gray(
                level, Box(start, column, end - start, width)
            )
            start = end
        return window

    def _gray(self, level: int, box: Box) -> NDArray[Any]:
        pixels, absent = self._store.read(level, box)
        for segment in absent:
            self.confirm_empty(level, segment)
        gray = luma(pixels) if pixels.ndim == 3 else pixels
        return inverted(gray) if self._store.white_is_zero else gray

    def confirm_empty(self, level: int, absent: Box) -> None:
        """Raise InputError unless a neighbouring level shows nothing where a segment is absent.

        Writers leave out what is black or blank; a copy that was cut short lacks just as much.
        """
        near = level + 1 if level + 1 < len(self.levels) else level - 1
        what = (
            f"{self.path}: level {level} lacks the {absent.height} x {absent.width} px at row "
            f"{absent.row}, column {absent.column}"
        )
        if near < 0:
            raise InputError(f"{what}, and no other level tells whether they are empty{COPY_AGAIN}")
        factor = self.levels[near].spacing_um / self.levels[level].spacing_um
        rows = _inside(absent.row, absent.height, factor, self.levels[near].height)
        columns = _inside(absent.column, absent.width, factor, self.levels[near].width)
        shown, also_absent = self._store.read(
            near, Box(rows[0], columns[0], rows[1] - rows[0], columns[1] - columns[0])
        )
        if also_absent:
            return
        # compression and interpolation blur: most of it must be of one value
        middle = np.median(shown)
        if np.mean(np.abs(shown - middle) <= np.iinfo(self.dtype).max / 64) < 0.9:
            raise InputError(f"{what}, where level {near} shows something{COPY_AGAIN}")


def _inside(start: int, size: int, factor: float, limit: int) -> tuple[int, int]:
    """First and last + 1 pixel of another level that lie in a part of this one; at least one."""
    first = min(math.ceil(start / factor), limit - 1)
    return first, min(max(math.floor((start + size) / factor), first + 1), limit)


def _spread(size: int) -> list[int]:
    """Where some windows along an axis start: even steps, from one end to the other."""
    room = max(0, size - _WINDOW)
    return sorted({round(room * step / (_WINDOWS - 1)) for step in range(_WINDOWS)})


def level_factors(store: Store) -> list[float]:
    """How many pixels of level 0 one pixel of each level is wide.

    Raises
    ------
    InputError
        If levels are not in order, or one is no smaller copy of level 0.
    """
    shapes = [(level.height, level.width) for level in store.levels]
    stated_um = [level.spacing_um for level in store.levels]
    full_um = stated_um[0]
    factors = [
        _factor(store.path, shapes[0], shape, um / full_um if um and full_um else None)
        for shape, um in zip(shapes, stated_um, strict=True)
    ]
    for number in range(1, len(factors)):
        if factors[number] <= factors[number - 1]:
            raise InputError(
                f"{store.path}: level {number} ({shapes[number]} px) is not coarser than level "
                f"{number - 1} ({shapes[number - 1]} px); write the levels from fine to coarse"
            )
    return factors


def _factor(
    path: Path, full: tuple[int, int], shape: tuple[int, int], stated: float | None
) -> float:
    """How many pixels of the full image one pixel of a level is wide.

    Halving rounds odd sizes up or down, once a level: a power of two that explains both sizes so
    is the factor, unless the file states another one that explains them too; else the ratio of
    the longer sides.
    """
    ratio = max(full) / max(shape)
    power = float(2 ** round(math.log2(ratio)))
    halved = all(
        -(-length // power) - 1 <= size <= -(-length // power)
        for length, size in zip(full, shape, strict=True)
    )
    if stated is not None and _explains(stated, full, shape):
        # sizes were divided to state it, or it is the power: no more than rounding
        return power if halved and abs(stated / power - 1) <= 1e-3 else stated
    if halved:
        return power
    # each side may be off by the rounding of its size
    if not _explains(ratio, full, shape):
        raise InputError(
            f"{path}: a level of {shape} pixels is no smaller copy of {full}; make it again"
        )
    return ratio


def _explains(factor: float, full: tuple[int, int], shape: tuple[int, int]) -> bool:
    return all(abs(length / factor - size) <= 1 for length, size in zip(full, shape, strict=True))


@contextmanager
def open_store(path: Path) -> Iterator[Store]:
    """Open an image file by the kind that its name says.

    Raises
    ------
    InputError
        If the file is missing, of another kind, damaged, or not one gray or RGB image.
    """
    require(path, f"correct `image` in {SHEET}")
    name = path.name.lower()
    opener: Callable[[Path], Store]
    if name.endswith(TIFF_SUFFIXES):
        opener = TiffStore
    elif name.endswith(ZARR_SUFFIX):
        opener = ZarrStore
    elif name.endswith(PNG_SUFFIXES + JPEG_SUFFIXES):
        opener = SingleStore
    else:
        raise InputError(
            f"{path}: {path.suffix or 'no suffix'} is no known kind of image; convert it to one of "
            + ", ".join(
                (*TIFF_SUFFIXES, f"{ZARR_SUFFIX} (OME-Zarr)", *PNG_SUFFIXES, *JPEG_SUFFIXES)
            )
        )
    store = opener(path)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def open_pyramid(path: Path, spacing_um: float) -> Iterator[Pyramid]:
    """Open a section image.

    Parameters
    ----------
    spacing_um : pixel size of level 0 as sections.tsv gives it.

    Raises
    ------
    InputError
        If the file is missing, damaged, not gray or RGB of 8 or 16 bits, or if its pixel size is no
        positive number, not square, or another one in its metadata than `spacing_um`.
    """
    if not 0 < spacing_um < math.inf:
        raise InputError(
            f"{path}: spacing_um is {spacing_um}; give a positive number of um in {SHEET}"
        )
    with open_store(path) as store:
        check_spacing(store, spacing_um)
        yield Pyramid(store, spacing_um)


def check_spacing(store: Store, spacing_um: float) -> None:
    """Raise InputError if the metadata give another pixel size than the sheet."""
    for axis, found in store.spacing_um.items():
        if not 0 < found < math.inf:
            raise InputError(
                f"{store.path}: its metadata give a PhysicalSize{axis} of {found} um; "
                "correct or remove it in the file"
            )
        if abs(found / spacing_um - 1) > 0.01:
            raise InputError(
                f"{store.path}: its metadata say {found:g} um a pixel along {axis}, the sheet says "
                f"{spacing_um:g}; correct spacing_um in {SHEET} (pixels must be square)"
            )
