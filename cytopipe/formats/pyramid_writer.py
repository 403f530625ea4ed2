"""Write pyramids: tiled, deflate-compressed OME-TIFF, each level made from the one before it."""

import math
import zlib
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import DTypeLike, NDArray

from cytopipe import provenance
from cytopipe.files import atomic_write, scratch
from cytopipe.formats.downsampling import Downsampler, ReadWindow


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

    def read_window(row: int, column: int, rows: int, columns: int) -> NDArray[Any]:
        return image[row : row + rows, column : column + columns]

    write_pyramid_by_windows(
        read_window, image.shape[:2], path, spacing_um, coarsest_um, tile, image.dtype
    )


def write_pyramid_by_windows(
    read_window: ReadWindow,
    shape: tuple[int, int],
    path: Path,
    spacing_um: float,
    coarsest_um: float,
    tile: int = 512,
    dtype: DTypeLike = np.uint8,
    exact_um: float | None = None,
) -> list[int]:
    """Write a pyramid of an image that is larger than memory.

    A band of one tile's height is held at a time; the next level grows in a temporary file.

    Parameters
    ----------
    read_window : called with (row, column, rows, columns), returns these pixels of level 0. Windows
        are one tile high and up to eight tiles wide, row by row.
    shape : rows and columns of level 0.
    exact_um : from level 1 on, pixel sizes are this one, halved or doubled (see `level_spacings`).

    Returns
    -------
    A checksum of the pixels of each level: what `checksum` returns for a reader of the file.
    """
    spacings_um = level_spacings(spacing_um, coarsest_um, exact_um)
    checksums: list[int] = []
    with (
        scratch(path.parent) as folder,
        atomic_write(path) as beside,
        tifffile.TiffWriter(beside, bigtiff=True, ome=True) as tif,
    ):
        for number in range(len(spacings_um)):
            coarser: Downsampler | None = None
            if number + 1 < len(spacings_um):
                factor = spacings_um[number + 1] / spacings_um[number]
                coarser = Downsampler(folder / f"{number + 1}", shape, factor, dtype)
            # a scan that cannot be read ends the loop: the file of the next level is closed, too
            with nullcontext() if coarser is None else closing(coarser):
                tif.write(
                    _tiles(read_window, shape, tile, coarser, checksums),
                    shape=shape,
                    dtype=dtype,
                    **_level_options(
                        number, len(spacings_um), spacings_um[number], spacing_um, tile
                    ),
                )
            if coarser is not None:
                read_window, shape = coarser.read_window, coarser.shape
    return checksums


def level_spacings(spacing_um: float, coarsest_um: float, exact_um: float | None) -> list[float]:
    """Pixel size of each level, none above `coarsest_um`: each is twice the one before it.

    `exact_um` is the pixel size at which patches are read. If halving alone would miss it, the step
    from level 0 to level 1 is a different one: 0.46 um is followed by 1, 2, 4 um. This step is at
    least 1.5 if that still reaches `exact_um`. A scan coarser than `exact_um` is only halved.
    """
    spacings = [spacing_um]
    if exact_um is not None and spacing_um < exact_um:
        steps = math.log2(exact_um / spacing_um)
        if abs(2 ** (steps - round(steps)) - 1) > 1e-3:
            spacings.append(exact_um / 2 ** max(math.floor(steps - math.log2(1.5)), 0))
    while spacings[-1] * 2 <= coarsest_um * 1.001:
        spacings.append(spacings[-1] * 2)
    return spacings


def windows_of(shape: tuple[int, int], tile: int) -> Iterator[tuple[int, int, int, int]]:
    """Row, column, rows and columns of parts of a level: one tile high, up to eight wide."""
    width = 8 * tile
    for row in range(0, shape[0], tile):
        for column in range(0, shape[1], width):
            yield row, column, min(tile, shape[0] - row), min(width, shape[1] - column)


def checksum(read_window: ReadWindow, shape: tuple[int, int], tile: int) -> int:
    """CRC-32 of a level's pixels, read window by window in the order of `windows_of`."""
    crc = 0
    for window in windows_of(shape, tile):
        crc = zlib.crc32(np.ascontiguousarray(read_window(*window)).data, crc)
    return crc


def _tiles(
    read_window: ReadWindow,
    shape: tuple[int, int],
    tile: int,
    coarser: Downsampler | None,
    checksums: list[int],
) -> Iterator[NDArray[Any]]:
    """A level's tiles, row by row, filled up with 0 at the right and lower edge.

    On their way the pixels are added to `coarser` and to a new checksum at the end of `checksums`.
    """
    checksums.append(0)
    for window in windows_of(shape, tile):
        pixels = np.ascontiguousarray(read_window(*window))
        checksums[-1] = zlib.crc32(pixels.data, checksums[-1])
        if coarser is not None:
            coarser.add(pixels)
        for column in range(0, pixels.shape[1], tile):
            part = pixels[:, column : column + tile]
            yield np.pad(part, ((0, tile - part.shape[0]), (0, tile - part.shape[1])))


def _level_options(
    number: int, levels: int, spacing_um: float, full_spacing_um: float, tile: int
) -> dict[str, Any]:
    pixels_per_cm = 1e4 / spacing_um
    return {
        "tile": (tile, tile),
        "compression": "zlib",
        "photometric": "minisblack",
        "resolutionunit": "CENTIMETER",
        "resolution": (pixels_per_cm, pixels_per_cm),
        "subifds": levels - 1 if number == 0 else None,
        "subfiletype": 1 if number else 0,
        "metadata": _ome_metadata(full_spacing_um) if number == 0 else None,
        "software": provenance.line() if number == 0 else "",
    }


def _ome_metadata(spacing_um: float) -> dict[str, Any]:
    return {
        "axes": "YX",
        "PhysicalSizeX": spacing_um,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": spacing_um,
        "PhysicalSizeYUnit": "µm",
        # a fixed identity: the same image gives the same bytes
        "UUID": "urn:uuid:00000000-0000-0000-0000-000000000000",
    }
