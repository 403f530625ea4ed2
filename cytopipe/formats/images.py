"""Section images: pyramidal, tiled OME-TIFF, read by level, by spacing or by window.

All reading decodes through tifffile and imagecodecs, which raise on a broken tile; libraries
that return zeros for a codec they lack are not used.
"""

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from cytopipe.files import InputError, require, whole

# OME-XML writers use both characters of the micro sign
_UNIT_UM = {"µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6}
_SHEET = "config/sections.tsv"

# (row, column, rows, columns) to these pixels of an image
Window = Callable[[int, int, int, int], NDArray[np.uint8]]


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
        try:
            return np.asarray(self._series.levels[level].asarray())
        except Exception as error:  # any codec's own error type: named and passed on
            raise InputError(f"{self.path}: level {level} is not readable ({error})") from error

    def read_at(self, spacing_um: float) -> NDArray[Any]:
        """The whole image at exactly `spacing_um`, by area averaging from the next finer level.

        The pixel grid is that of `geometry.pixels_to_section(..., spacing_um, full_spacing_um)`;
        a last row or column that is less than half covered is left out.
        """
        import cv2  # not on a GPU node, where only windows are read

        level = self.level_for(spacing_um)
        image = self.read_level(level)
        factor = spacing_um / self.levels[level].spacing_um
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
        handle.seek(page.dataoffsets[index])
        try:
            tile, _, _ = page.decode(handle.read(count), index, jpegtables=page.jpegtables)
        except Exception as error:  # any codec's own error type: named and passed on
            raise InputError(f"{self.path}: tile {index} is not readable ({error})") from error
        return np.asarray(tile).reshape(tile.shape[-3], tile.shape[-2])


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
    try:
        tif = tifffile.TiffFile(path)
    except Exception as error:  # a cut-off file raises many types
        raise InputError(f"{path}: not a readable TIFF ({error}); scan or copy it again") from error
    with tif:
        _check_pixels(path, tif)
        _check_spacing(path, tif, spacing_um)
        yield Pyramid(path, tif, spacing_um)


def _check_pixels(path: Path, tif: tifffile.TiffFile) -> None:
    try:
        series = tif.series[0]
        shape, dtype = series.shape, series.dtype
    except Exception as error:  # of a damaged directory, tifffile raises many types
        raise InputError(f"{path}: holds no image ({error}); scan or copy it again") from error
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
    try:
        image = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]
        pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
        sizes = {
            axis: float(pixels[f"PhysicalSize{axis}"])
            * _UNIT_UM[pixels.get(f"PhysicalSize{axis}Unit", "µm")]
            for axis in "XY"
            if f"PhysicalSize{axis}" in pixels
            and pixels.get(f"PhysicalSize{axis}Unit", "µm") in _UNIT_UM
        }
    except Exception as error:  # XML, keys, numbers: whatever is wrong with it
        raise InputError(f"{path}: its OME metadata are damaged ({error})") from error
    return sizes


def write_pyramid(
    image: NDArray[Any], path: Path, spacing_um: float, coarsest_um: float, tile: int = 512
) -> None:
    """Write a gray image as tiled, deflate-compressed OME-TIFF with halved levels.

    Parameters
    ----------
    image : (rows, columns) uint8 or uint16.
    spacing_um : pixel size of `image`.
    coarsest_um : levels are halved as long as their pixels are no larger than this.
    tile : edge of a tile in pixels, a multiple of 16.
    """
    levels = [image]
    while spacing_um * 2 ** len(levels) <= coarsest_um * 1.001:
        levels.append(halve(levels[-1]))
    with whole(path) as beside, tifffile.TiffWriter(beside, bigtiff=True, ome=True) as tif:
        for number, level in enumerate(levels):
            tif.write(level, **_level_options(number, len(levels), spacing_um, tile))


def write_pyramid_by_windows(
    window: Window,
    shape: tuple[int, int],
    path: Path,
    spacing_um: float,
    coarsest_um: float,
    tile: int = 512,
) -> None:
    """As `write_pyramid`, for uint8 images larger than memory; the file is the same.

    Parameters
    ----------
    window : called with (row, column, rows, columns), returns these pixels of level 0. Windows are
        a tile high and up to eight tiles wide.
    shape : rows and columns of level 0.
    """
    count = 1
    while spacing_um * 2**count <= coarsest_um * 1.001:
        count += 1
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=path.parent, prefix=".pyramid-") as folder,
        whole(path) as beside,
        tifffile.TiffWriter(beside, bigtiff=True, ome=True) as tif,
    ):
        for number in range(count):
            halved: NDArray[np.uint8] | None = None
            if number + 1 < count:
                size = ((shape[0] + 1) // 2, (shape[1] + 1) // 2)
                halved = np.memmap(Path(folder) / f"{number + 1}", np.uint8, "w+", shape=size)
            tif.write(
                _tiles(window, shape, tile, halved),
                shape=shape,
                dtype=np.uint8,
                **_level_options(number, count, spacing_um, tile),
            )
            if halved is not None:
                window, shape = _window_of(halved), (halved.shape[0], halved.shape[1])


def _tiles(
    window: Window, shape: tuple[int, int], tile: int, halved: NDArray[np.uint8] | None
) -> Iterator[NDArray[np.uint8]]:
    """A level's tiles, row by row, filled up with 0; half their size goes to `halved`."""
    wide = 8 * tile
    for row in range(0, shape[0], tile):
        for start in range(0, shape[1], wide):
            rows, columns = min(tile, shape[0] - row), min(wide, shape[1] - start)
            pixels = window(row, start, rows, columns)
            if halved is not None:
                half = halve(pixels)
                top, left = row // 2, start // 2
                halved[top : top + half.shape[0], left : left + half.shape[1]] = half
            for column in range(0, columns, tile):
                part = pixels[:, column : column + tile]
                yield np.pad(part, ((0, tile - part.shape[0]), (0, tile - part.shape[1])))


def _window_of(image: NDArray[np.uint8]) -> Window:
    def window(row: int, column: int, rows: int, columns: int) -> NDArray[np.uint8]:
        return image[row : row + rows, column : column + columns]

    return window


def _level_options(number: int, levels: int, spacing_um: float, tile: int) -> dict[str, Any]:
    pixels_per_cm = 1e4 / (spacing_um * 2**number)
    return {
        "tile": (tile, tile),
        "compression": "zlib",
        "photometric": "minisblack",
        "resolutionunit": "CENTIMETER",
        "resolution": (pixels_per_cm, pixels_per_cm),
        "subifds": levels - 1 if number == 0 else None,
        "subfiletype": 1 if number else 0,
        "metadata": _ome(spacing_um) if number == 0 else None,
    }


def _ome(spacing_um: float) -> dict[str, Any]:
    return {
        "axes": "YX",
        "PhysicalSizeX": spacing_um,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": spacing_um,
        "PhysicalSizeYUnit": "µm",
        # a fixed identity: the same image gives the same bytes
        "UUID": "urn:uuid:00000000-0000-0000-0000-000000000000",
    }


def halve(image: NDArray[Any]) -> NDArray[Any]:
    """Average 2 x 2 pixels; an odd last row or column is averaged with itself.

    Whole numbers are rounded, halves up.
    """
    padded = np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2)), mode="edge")
    # integers: a mean in floating point would take eight bytes a pixel of a scan
    total = padded[::2, ::2].astype(np.uint32)
    for row, column in ((0, 1), (1, 0), (1, 1)):
        total += padded[row::2, column::2]
    return ((total + 2) >> 2).astype(image.dtype)


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
    try:
        return np.asarray(tifffile.imread(path, key=page), np.uint8)
    except Exception as error:  # any codec's own error type: named and passed on
        raise InputError(
            f"{path}: page {page} is not readable ({error}); delete it and rerun the segmentation"
        ) from error
