"""An open section image, always gray: read by level, by pixel size or by window."""

import math
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytopipe.files import InputError, require, rerun_of
from cytopipe.formats.images.czi import CZI_SUFFIX, CziReader
from cytopipe.formats.images.description import SHEET
from cytopipe.formats.images.gray import gray_range, invert, luma, shrunk, to_8_bit
from cytopipe.formats.images.ome_zarr import OmeZarrReader
from cytopipe.formats.images.png_jpeg import JPEG_SUFFIXES, PNG_SUFFIXES, PngJpegReader
from cytopipe.formats.images.reader import COPY_AGAIN, ImageReader, Region, input_error_on_damage
from cytopipe.formats.images.tiff import TiffReader
from cytopipe.formats.images.whole_slide import (
    WHOLE_SLIDE_SUFFIXES,
    WholeSlideReader,
    is_of_scanner,
)

READERS: dict[tuple[str, ...], Callable[[Path, bool], ImageReader]] = {
    (".tif", ".tiff", ".btf", ".tf8"): TiffReader,
    (".zarr",): OmeZarrReader,
    PNG_SUFFIXES + JPEG_SUFFIXES: PngJpegReader,
    WHOLE_SLIDE_SUFFIXES: WholeSlideReader,
    (CZI_SUFFIX,): CziReader,
}
# `read_at` decodes no level with more pixels: that of a scan without levels may have 12 GB
MOST_PIXELS = 2**28
# the range of gray values is measured in this many windows of this edge along each axis
_WINDOWS, _WINDOW_PX = 12, 256


@dataclass(frozen=True)
class Level:
    """One resolution of a pyramid: pixel size in um, rows and columns."""

    spacing_um: float
    height: int
    width: int


class Pyramid:
    """An open image; use `open_pyramid`.

    Colors become luma, gray values that run from white to black are inverted, 16 bits stay
    (`to_8_bit` scales them): docs/images.md.

    Attributes
    ----------
    path : the file.
    levels : level 0 (full resolution) first.
    dtype : uint8 or uint16.
    """

    def __init__(self, reader: ImageReader, full_spacing_um: float) -> None:
        self._reader, self._description = reader, reader.description
        self.path, self.dtype = self._description.path, self._description.dtype
        self.levels = [
            Level(full_spacing_um * factor, stored.height, stored.width)
            for factor, stored in zip(
                self._description.factors, self._description.levels, strict=True
            )
        ]

    @property
    def full_spacing_um(self) -> float:
        """Pixel size of level 0 in um."""
        return self.levels[0].spacing_um

    @cached_property
    def gray_range(self) -> tuple[float, float]:
        """The gray values that `to_8_bit` maps to 0 and 255, the same for all levels and windows.

        They are measured in windows spread over the finest level (see the function `gray_range`):
        coarser levels average the cells away, and the darkest ones would be cut off. For 8 bits
        they are 0 and 255.
        """
        if self.dtype == np.uint8:
            return 0.0, 255.0
        height, width = self.levels[0].height, self.levels[0].width
        windows = [
            self.read_window(0, row, column, min(_WINDOW_PX, height), min(_WINDOW_PX, width))
            for row in _window_starts(height)
            for column in _window_starts(width)
        ]
        return gray_range(np.concatenate([window.ravel() for window in windows]))

    def to_8_bit(self, image: NDArray[Any]) -> NDArray[np.uint8]:
        """Pixels of this image in 8 bits, scaled by its `gray_range`; 8-bit pixels are kept."""
        return to_8_bit(image, *self.gray_range)

    def level_for(self, spacing_um: float) -> int:
        """The coarsest level that is at least as fine as `spacing_um`.

        Raises
        ------
        InputError
            If even level 0 is coarser.
        """
        fine = [i for i, level in enumerate(self.levels) if level.spacing_um <= spacing_um * 1.001]
        if not fine:
            raise InputError(
                f"{self.path}: its finest level has {self.full_spacing_um:g} um, "
                f"{spacing_um:g} um is needed; choose a coarser spacing in the config"
            )
        return max(fine, key=lambda i: self.levels[i].spacing_um)

    def check_jpeg_lightly(self) -> None:
        """From now on, demand only that the JPEG data of a TIFF's tiles end.

        Otherwise they are unpacked once more, to see whether data are missing, which takes nearly
        as long as decoding them. Those who read windows of most tiles cannot wait for it.
        """
        if isinstance(self._reader, TiffReader):
            self._reader.unpacks_jpeg = False

    def read_level(self, level: int) -> NDArray[Any]:
        """One whole level, (rows, columns)."""
        return self.read_window(level, 0, 0, self.levels[level].height, self.levels[level].width)

    def read_at(self, spacing_um: float) -> NDArray[Any]:
        """The whole image at exactly `spacing_um`, by area averaging from the next finer level.

        The pixel grid is that of `geometry.pixels_to_section(..., spacing_um, full_spacing_um)`. A
        last row or column of which less than half is covered is left out.

        Raises
        ------
        InputError
            If no level of the image is as fine, or only one that is too large to decode at once.
        """
        number = self.level_for(spacing_um)
        level = self.levels[number]
        factor = spacing_um / level.spacing_um
        if level.height * level.width > MOST_PIXELS:
            raise InputError(
                f"{self.path}: {spacing_um:g} um is needed, the nearest finer level has "
                f"{level.spacing_um:g} um and {level.width} x {level.height} px, too many to "
                f"decode at once; set levels to no in {SHEET}, and the workflow makes a copy that "
                "has them"
            )
        image = self.read_level(number)
        if abs(factor - 1) * max(image.shape) < 0.5:
            return image
        if min(image.shape) < factor:
            raise InputError(
                f"{self.path}: is smaller than one pixel of {spacing_um:g} um; scan it again"
            )
        return shrunk(image, factor)

    def read_window(
        self, level: int, row: int, column: int, height: int, width: int
    ) -> NDArray[Any]:
        """A window that lies inside a level; only the tiles that it touches are decoded.

        Raises
        ------
        ValueError
            If the window leaves the level.
        InputError
            If a tile cannot be decoded, or is missing and no other level says that it is empty.
        """
        full = self.levels[level]
        if row < 0 or column < 0 or row + height > full.height or column + width > full.width:
            raise ValueError(
                f"{self.path}: window {row, column, height, width} leaves level {level}"
            )
        if self._description.channels == 1:
            return self._read_gray(level, Region(row, column, height, width))
        # colors take three times the memory: read one row of tiles at a time
        window = np.empty((height, width), self.dtype)
        step = max(self._description.levels[level].segment[0], 256)
        start = row
        while start < row + height:
            end = min((start // step + 1) * step, row + height)
            band = Region(start, column, end - start, width)
            window[start - row : end - row] = self._read_gray(level, band)
            start = end
        return window

    def _read_gray(self, level: int, region: Region) -> NDArray[Any]:
        pixels, missing = self._read(level, region)
        for segment in missing:
            self.confirm_empty(level, segment)
        gray = luma(pixels) if pixels.ndim == 3 else pixels
        return invert(gray) if self._description.white_is_zero else gray

    def _read(self, level: int, region: Region) -> tuple[NDArray[Any], list[Region]]:
        with input_error_on_damage(f"{self.path}: level {level} is not readable", COPY_AGAIN):
            return self._reader.read(level, region)

    def confirm_empty(self, level: int, missing: Region) -> None:
        """Raise InputError unless a missing segment may have been left out on purpose.

        Writers leave out segments that have the fill value alone; a copy that was cut short lacks
        segments just the same. Another level tells: it must show the fill value there. If all of
        them lack that part, only white speaks for a purpose: an empty slide is white, and 0 is what
        files have that state no fill value.
        """
        full, fill = self.levels[level], self._description.levels[level].fill
        message = (
            f"{self.path}: level {level} lacks the {missing.height} x {missing.width} px at row "
            f"{missing.row}, column {missing.column}"
        )
        coarser = range(level + 1, len(self.levels))
        for number in [*coarser, *range(max(level - 1, 0), level)]:
            other = self.levels[number]
            factor = other.spacing_um / full.spacing_um
            top, bottom = _covered(missing.row, missing.height, factor, other.height)
            left, right = _covered(missing.column, missing.width, factor, other.width)
            region = Region(top, left, bottom - top, right - left)
            pixels, also_missing = self._read(number, region)
            present = np.ones(pixels.shape[:2], bool)
            for segment in also_missing:
                present[region.overlap(segment)[0]] = False
            # compression and interpolation blur: most pixels must have the value
            empty = np.abs(pixels[present].astype(int) - fill) <= np.iinfo(self.dtype).max / 64
            if empty.size and empty.mean() < 0.9:
                raise InputError(f"{message}, where level {number} shows something{COPY_AGAIN}")
            if present.all():
                return
        if self._reader.is_empty():
            raise InputError(
                f"{self.path}: holds none of the tiles or chunks that its metadata name{COPY_AGAIN}"
            )
        if fill != np.iinfo(self.dtype).max:
            raise InputError(
                f"{message}, and no other level tells whether they are empty{COPY_AGAIN}, or write "
                "it with a coarser level, or with its empty parts"
            )


def _covered(start: int, size: int, factor: float, limit: int) -> tuple[int, int]:
    """First and last + 1 pixel of another level inside a stretch of this one; at least one."""
    first = min(math.ceil(start / factor), limit - 1)
    return first, min(max(math.floor((start + size) / factor), first + 1), limit)


def _window_starts(size: int) -> list[int]:
    """Where windows along an axis start, in even steps from one end to the other."""
    room = max(0, size - _WINDOW_PX)
    return sorted({round(room * step / (_WINDOWS - 1)) for step in range(_WINDOWS)})


@contextmanager
def open_reader(path: Path, dark: bool = False) -> Iterator[ImageReader]:
    """Open an image file in the format that its name tells, and the content of a TIFF.

    Parameters
    ----------
    dark : the background is dark: what a file leaves out or makes transparent is black, not white.

    Raises
    ------
    InputError
        If the file is missing, in an unknown format, damaged, or not one gray or RGB image.
    """
    require(path, f"correct `image` in {SHEET}")
    name = path.name.lower()
    reader_type = next((it for suffixes, it in READERS.items() if name.endswith(suffixes)), None)
    if reader_type is None:
        raise InputError(
            f"{path}: {path.suffix or 'a name without a suffix'} is not a known image format; "
            f"convert it to one of {', '.join(suffix for it in READERS for suffix in it)}"
        )
    if reader_type is not OmeZarrReader and not path.is_file():
        raise InputError(f"{path}: is not a file; correct `image` in {SHEET}")
    try:
        with input_error_on_damage(f"{path}: its metadata are damaged", COPY_AGAIN):
            if reader_type is TiffReader and is_of_scanner(path):
                reader_type = WholeSlideReader
            reader = reader_type(path, dark)
        with closing(reader):
            yield reader
    except InputError as error:
        if COPY_AGAIN in str(error) and (remedy := rerun_of(path)):
            raise InputError(str(error).replace(COPY_AGAIN, f"; {remedy}")) from error
        raise


@contextmanager
def open_pyramid(path: Path, spacing_um: float) -> Iterator[Pyramid]:
    """Open a section image.

    Parameters
    ----------
    spacing_um : pixel size of level 0 according to sections.tsv.

    Raises
    ------
    InputError
        If the file is missing, damaged, or not gray or RGB of 8 or 16 bits, or if its pixel size is
        not positive, not square, or stated differently in its metadata, or if its parts are too
        large to decode.
    """
    if not 0 < spacing_um < math.inf:
        raise InputError(
            f"{path}: spacing_um is {spacing_um}; give a positive number of um in {SHEET}"
        )
    with open_reader(path) as reader:
        reader.description.check_spacing(spacing_um)
        reader.description.check_segments()
        yield Pyramid(reader, spacing_um)
