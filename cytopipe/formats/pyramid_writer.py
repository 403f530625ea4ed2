"""Pyramids written: tiled, zlib-compressed OME-TIFF whose levels are halved one after the other."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from cytopipe.files import reserve, scratch, whole

# (row, column, rows, columns) to these pixels of an image
Window = Callable[[int, int, int, int], NDArray[np.uint8]]


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
    with (
        scratch(path.parent) as folder,
        whole(path) as beside,
        tifffile.TiffWriter(beside, bigtiff=True, ome=True) as tif,
    ):
        for number in range(count):
            halved: NDArray[np.uint8] | None = None
            if number + 1 < count:
                size = ((shape[0] + 1) // 2, (shape[1] + 1) // 2)
                halved = np.memmap(folder / f"{number + 1}", np.uint8, "w+", shape=size)
                reserve(folder / f"{number + 1}")
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
