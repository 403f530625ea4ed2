"""Section images: pyramidal, tiled OME-TIFF, read by level, by spacing or by window.

All reading decodes through tifffile and imagecodecs, which raise on a broken tile; libraries
that return zeros for a codec they lack are not used.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from cytopipe.files import InputError, require, whole


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
        full = self._series.levels[0].shape
        self.levels = [
            Level(full_spacing_um * full[0] / level.shape[0], level.shape[0], level.shape[1])
            for level in self._series.levels
        ]
        # halving rounds odd sizes; the true factor of a level is the power of two nearest to it
        self.levels = [
            Level(
                full_spacing_um * _nearest_factor(lv.spacing_um / full_spacing_um),
                lv.height,
                lv.width,
            )
            for lv in self.levels
        ]

    @property
    def full_spacing_um(self) -> float:
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

        The pixel grid is that of `geometry.pixels_to_section(..., spacing_um, full_spacing_um)`.
        """
        import cv2  # not on a GPU node, where only windows are read

        level = self.level_for(spacing_um)
        image = self.read_level(level)
        factor = spacing_um / self.levels[level].spacing_um
        if abs(factor - 1) < 1e-3:
            return image
        size = (max(1, round(image.shape[1] / factor)), max(1, round(image.shape[0] / factor)))
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))

    def read_window(
        self, level: int, row: int, column: int, height: int, width: int
    ) -> NDArray[Any]:
        """A window of a level that lies inside it; only the tiles it touches are decoded."""
        return self._read_tiles(level, row, column, height, width)

    def _read_tiles(
        self, level: int, row: int, column: int, height: int, width: int
    ) -> NDArray[Any]:
        page = self._series.levels[level].keyframe
        lv = self.levels[level]
        if row < 0 or column < 0 or row + height > lv.height or column + width > lv.width:
            raise ValueError(
                f"{self.path}: window {row, column, height, width} leaves level {level}"
            )
        if not page.is_tiled:
            return self.read_level(level)[row : row + height, column : column + width]
        tile_h, tile_w = page.tilelength, page.tilewidth
        across = -(-page.imagewidth // tile_w)
        window = np.zeros((height, width), page.dtype)
        handle = page.parent.filehandle
        for tile_row in range(row // tile_h, (row + height - 1) // tile_h + 1):
            for tile_column in range(column // tile_w, (column + width - 1) // tile_w + 1):
                index = tile_row * across + tile_column
                handle.seek(page.dataoffsets[index])
                data = handle.read(page.databytecounts[index])
                try:
                    tile, _, _ = page.decode(data, index)
                except Exception as error:  # any codec's own error type: named and passed on
                    raise InputError(
                        f"{self.path}: tile {index} of level {level} is not readable ({error})"
                    ) from error
                if tile is None:
                    continue
                tile = tile.reshape(tile.shape[-3], tile.shape[-2])
                top, left = tile_row * tile_h, tile_column * tile_w
                r0, r1 = max(row, top), min(row + height, top + tile.shape[0])
                c0, c1 = max(column, left), min(column + width, left + tile.shape[1])
                window[r0 - row : r1 - row, c0 - column : c1 - column] = tile[
                    r0 - top : r1 - top, c0 - left : c1 - left
                ]
        return window


def _nearest_factor(ratio: float) -> float:
    return float(2 ** round(np.log2(ratio)))


@contextmanager
def open_pyramid(path: Path, spacing_um: float) -> Iterator[Pyramid]:
    """Open a section image.

    Parameters
    ----------
    spacing_um : pixel size of level 0 as sections.tsv gives it.

    Raises
    ------
    InputError
        If the file is missing, no TIFF, not two-dimensional gray, or its metadata give another
        spacing than `spacing_um`.
    """
    require(path, "correct `image` in config/sections.tsv")
    try:
        tif = tifffile.TiffFile(path)
    except (tifffile.TiffFileError, OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable TIFF ({error}); scan or copy it again") from error
    with tif:
        if not tif.series or len(tif.series[0].shape) != 2:
            shape = tif.series[0].shape if tif.series else ()
            raise InputError(f"{path}: shape {shape} is not a gray image; convert it to gray")
        found = _metadata_spacing_um(tif)
        if found is not None and abs(found / spacing_um - 1) > 0.01:
            raise InputError(
                f"{path}: its metadata say {found:g} um a pixel, the sheet says {spacing_um:g}; "
                "correct spacing_um in config/sections.tsv"
            )
        yield Pyramid(path, tif, spacing_um)


def _metadata_spacing_um(tif: tifffile.TiffFile) -> float | None:
    """PhysicalSizeX of the OME-XML in um, or None if there is none."""
    if not tif.is_ome or tif.ome_metadata is None:
        return None
    pixels = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]
    pixels = (pixels[0] if isinstance(pixels, list) else pixels)["Pixels"]
    size = pixels.get("PhysicalSizeX")
    unit = {"µm": 1.0, "mm": 1e3, "nm": 1e-3}.get(pixels.get("PhysicalSizeXUnit", "µm"))
    return float(size) * unit if size is not None and unit is not None else None


def write_pyramid(
    image: NDArray[Any], path: Path, spacing_um: float, coarsest_um: float, tile: int = 512
) -> None:
    """Write a gray image as tiled, deflate-compressed OME-TIFF with halved levels.

    Parameters
    ----------
    image : (rows, columns) uint8 or uint16.
    spacing_um : pixel size of `image`.
    coarsest_um : levels are halved until one reaches this pixel size.
    """
    levels = [image]
    while spacing_um * 2 ** len(levels) <= coarsest_um * 1.001:
        levels.append(halve(levels[-1]))
    options: dict[str, Any] = {
        "tile": (tile, tile),
        "compression": "zlib",
        "photometric": "minisblack",
        "resolutionunit": "CENTIMETER",
    }
    with whole(path) as beside, tifffile.TiffWriter(beside, bigtiff=True, ome=True) as tif:
        for number, level in enumerate(levels):
            per_cm = 1e4 / (spacing_um * 2**number)
            tif.write(
                level,
                subifds=len(levels) - 1 if number == 0 else None,
                subfiletype=1 if number else 0,
                resolution=(per_cm, per_cm),
                metadata={
                    "axes": "YX",
                    "PhysicalSizeX": spacing_um,
                    "PhysicalSizeXUnit": "µm",
                    "PhysicalSizeY": spacing_um,
                    "PhysicalSizeYUnit": "µm",
                    # a fixed identity: the same image gives the same bytes
                    "UUID": "urn:uuid:00000000-0000-0000-0000-000000000000",
                }
                if number == 0
                else None,
                **options,
            )


def halve(image: NDArray[Any]) -> NDArray[Any]:
    """Average 2 x 2 pixels; an odd last row or column is averaged with itself."""
    padded = np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2)
    return np.asarray(np.round(blocks.mean(axis=(1, 3))).astype(image.dtype))


def write_labels(pages: list[NDArray[np.uint8]], path: Path) -> None:
    """Write label images, a page each, of any sizes; an unusable section is a 1 x 1 page of 0."""
    with whole(path) as beside, tifffile.TiffWriter(beside, bigtiff=True) as tif:
        for page in pages:
            tif.write(page, compression="zlib", photometric="minisblack", metadata=None)


def read_labels(path: Path, page: int) -> NDArray[np.uint8]:
    """Read one page of a label file."""
    require(path, "run the segmentation")
    return np.asarray(tifffile.imread(path, key=page), np.uint8)
