"""Section images: pyramidal, tiled OME-TIFF, read by level, by spacing or by window.

All reading decodes through tifffile and imagecodecs, which raise on a broken tile; libraries
that return zeros for a codec they lack are not used.
"""

import errno
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from cytopipe.files import InputError, require, whole
from cytopipe.formats.pyramid_writer import halve, write_pyramid, write_pyramid_by_windows

__all__ = [
    "Level",
    "Pyramid",
    "gray_range",
    "halve",
    "open_pyramid",
    "read_labels",
    "to_8_bit",
    "write_labels",
    "write_pyramid",
    "write_pyramid_by_windows",
]

# OME-XML writers use both characters of the micro sign
_UNIT_UM = {"µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6}
_SHEET = "config/sections.tsv"
_COPY = "; scan or copy it again"
# `read_at` decodes no level of more pixels: that of a scan without levels may have 12 GB
_MOST_PIXELS = 2**28
# the gray values of a scan are judged by so many windows of this edge along each axis
_WINDOWS, _WINDOW = 12, 256


@dataclass(frozen=True)
class Level:
    """One resolution of a pyramid: pixel size in um, rows and columns."""

    spacing_um: float
    height: int
    width: int


class Pyramid:
    """An open pyramidal TIFF; use `open_pyramid`.

    Attributes
    ----------
    path : the file.
    levels : level 0 (full resolution) first.
    """

    def __init__(self, path: Path, tif: tifffile.TiffFile, full_spacing_um: float) -> None:
        self.path = path
        self._series = tif.series[0]
        shapes = [level.shape for level in self._series.levels]
        self.levels = [
            Level(full_spacing_um * _factor(path, shapes[0], shape), *shape) for shape in shapes
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
        if self._series.dtype == np.uint8:
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
        with _damage_named(f"{self.path}: level {level} is not readable"):
            return np.asarray(self._series.levels[level].asarray())

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
        if lv.height * lv.width > _MOST_PIXELS:
            raise InputError(
                f"{self.path}: {spacing_um:g} um is needed, the nearest finer level has "
                f"{lv.spacing_um:g} um and {lv.width} x {lv.height} px, too many to decode at "
                f"once; add coarser levels, or name it .tif instead of .ome.tif in {_SHEET}, and "
                "the workflow makes them"
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
            If a tile cannot be decoded.
        """
        lv = self.levels[level]
        if row < 0 or column < 0 or row + height > lv.height or column + width > lv.width:
            raise ValueError(
                f"{self.path}: window {row, column, height, width} leaves level {level}"
            )
        page = self._series.levels[level].keyframe
        if not page.is_tiled:
            # strips span the whole width: a window would decode most of them anyway
            return self.read_level(level)[row : row + height, column : column + width]
        across = -(-page.imagewidth // page.tilewidth)
        window = np.full((height, width), page.nodata, page.dtype)
        for tile_row in range(row // page.tilelength, -(-(row + height) // page.tilelength)):
            top = tile_row * page.tilelength
            for tile_column in range(
                column // page.tilewidth, -(-(column + width) // page.tilewidth)
            ):
                left = tile_column * page.tilewidth
                tile = self._tile(page, tile_row * across + tile_column)
                if tile is None:
                    continue
                r0, r1 = max(row, top), min(row + height, top + tile.shape[0])
                c0, c1 = max(column, left), min(column + width, left + tile.shape[1])
                window[r0 - row : r1 - row, c0 - column : c1 - column] = tile[
                    r0 - top : r1 - top, c0 - left : c1 - left
                ]
        return window

    def _tile(self, page: Any, index: int) -> NDArray[Any] | None:
        """One decoded tile, cropped to the image; None where a sparse file holds none."""
        count = page.databytecounts[index]
        if count == 0:
            return None
        handle = page.parent.filehandle
        with _damage_named(f"{self.path}: tile {index} is not readable"):
            handle.seek(page.dataoffsets[index])
            tile, _, _ = page.decode(handle.read(count), index, jpegtables=page.jpegtables)
        return np.asarray(tile).reshape(tile.shape[-3], tile.shape[-2])


def _spread(size: int) -> list[int]:
    """Where some windows along an axis start: even steps, from one end to the other."""
    room = max(0, size - _WINDOW)
    return sorted({round(room * step / (_WINDOWS - 1)) for step in range(_WINDOWS)})


def gray_range(image: NDArray[Any]) -> tuple[float, float]:
    """The 0.5 and 99.5 percentiles of an image: a hot pixel or a scratch does not move them."""
    low, high = np.percentile(image, [0.5, 99.5])
    return float(low), float(high)


def to_8_bit(image: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Gray values in 8 bits, `low` to `high` stretched to 0 to 255 and cut off beyond.

    8-bit images stay as they are: stains that differ between sections must look so.

    Parameters
    ----------
    image : uint8 or uint16; scanners use 10 to 16 of the latter's bits.
    """
    if image.dtype == np.uint8:
        return image
    # a table of all values: floating point would take eight bytes a pixel
    table = (np.arange(2**16) - low) * (255 / max(high - low, 1.0))
    return np.clip(np.rint(table), 0, 255).astype(np.uint8)[image]


@contextmanager
def _damage_named(what: str, remedy: str = "") -> Iterator[None]:
    """InputError of whatever a damaged or missing file makes tifffile and the codecs raise.

    What says nothing about the file passes: too little memory, a file system that fails.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # any codec's own error type: named and passed on
        # a damaged offset makes the read invalid; libraries raise OSError without a number
        of_file = (None, errno.ENOENT, errno.EINVAL)
        if isinstance(error, OSError) and error.errno not in of_file:
            raise
        raise InputError(f"{what} ({error}){remedy}") from error


def _factor(path: Path, full: tuple[int, ...], shape: tuple[int, ...]) -> float:
    """How many pixels of the full image one pixel of a level is wide.

    Halving rounds odd sizes up or down, once a level: a power of two that explains both sizes so
    is the factor; anything else is taken from the longer side.
    """
    ratio = max(full) / max(shape)
    power = 2 ** round(math.log2(ratio))
    if all(
        -(-length // power) - 1 <= size <= -(-length // power)
        for length, size in zip(full, shape, strict=True)
    ):
        return float(power)
    # each side may be off by the rounding of its size
    if any(abs(length / ratio - size) > 1 for length, size in zip(full, shape, strict=True)):
        raise InputError(
            f"{path}: a level of {shape} pixels is no smaller copy of {full}; make it again"
        )
    return ratio


@contextmanager
def open_pyramid(path: Path, spacing_um: float) -> Iterator[Pyramid]:
    """Open a section image.

    Parameters
    ----------
    spacing_um : pixel size of level 0 as sections.tsv gives it.

    Raises
    ------
    InputError
        If the file is missing, no TIFF, not two-dimensional gray of 8 or 16 bits, or if its pixel
        size is no positive number, not square, or another one in its metadata than `spacing_um`.
    """
    require(path, f"correct `image` in {_SHEET}")
    if not 0 < spacing_um < math.inf:
        raise InputError(
            f"{path}: spacing_um is {spacing_um}; give a positive number of um in {_SHEET}"
        )
    with _damage_named(f"{path}: not a readable TIFF", _COPY):
        tif = tifffile.TiffFile(path)
    with tif:
        _check_pixels(path, tif)
        _check_spacing(path, tif, spacing_um)
        yield Pyramid(path, tif, spacing_um)


def _check_pixels(path: Path, tif: tifffile.TiffFile) -> None:
    with _damage_named(f"{path}: holds no image", _COPY):
        series = tif.series[0]
        shape, dtype = series.shape, series.dtype
    if len(shape) != 2 or 0 in shape:
        raise InputError(
            f"{path}: shape {shape} is not a gray image; name it .tif instead of .ome.tif in "
            f"{_SHEET}, and the workflow converts it"
        )
    if dtype not in (np.uint8, np.uint16):
        raise InputError(f"{path}: gray values are {dtype}; convert it to 8 or 16 bits")


def _check_spacing(path: Path, tif: tifffile.TiffFile, spacing_um: float) -> None:
    for axis, found in _metadata_spacing_um(path, tif).items():
        if not 0 < found < math.inf:
            raise InputError(
                f"{path}: its metadata give a PhysicalSize{axis} of {found} um; "
                "correct or remove it in the file"
            )
        if abs(found / spacing_um - 1) > 0.01:
            raise InputError(
                f"{path}: its metadata say {found:g} um a pixel along {axis}, the sheet says "
                f"{spacing_um:g}; correct spacing_um in {_SHEET} (pixels must be square)"
            )


def _metadata_spacing_um(path: Path, tif: tifffile.TiffFile) -> dict[str, float]:
    """PhysicalSizeX and Y of the OME-XML in um, as far as it gives them in a unit of length."""
    if not tif.is_ome or tif.ome_metadata is None:
        return {}
    with _damage_named(f"{path}: its OME metadata are damaged"):
        image = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]
        pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
        sizes = {
            axis: float(pixels[f"PhysicalSize{axis}"])
            * _UNIT_UM[pixels.get(f"PhysicalSize{axis}Unit", "µm")]
            for axis in "XY"
            if f"PhysicalSize{axis}" in pixels
            and pixels.get(f"PhysicalSize{axis}Unit", "µm") in _UNIT_UM
        }
    return sizes


def write_labels(pages: list[NDArray[np.uint8]], path: Path) -> None:
    """Write label images, a page each, of any sizes; an unusable section is a 1 x 1 page of 0."""
    with whole(path) as beside, tifffile.TiffWriter(beside, bigtiff=True) as tif:
        for page in pages:
            tif.write(page, compression="zlib", photometric="minisblack", metadata=None)


def read_labels(path: Path, page: int) -> NDArray[np.uint8]:
    """Read one page of a label file.

    Raises
    ------
    InputError
        If the file is missing, damaged, or has no such page.
    """
    require(path, "run the segmentation")
    with _damage_named(
        f"{path}: page {page} is not readable", "; delete it and rerun the segmentation"
    ):
        return np.asarray(tifffile.imread(path, key=page), np.uint8)
