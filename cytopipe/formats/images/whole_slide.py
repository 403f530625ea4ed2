"""Files of slide scanners, read by OpenSlide; the pyramids stage converts them.

A TIFF that a scanner wrote is read here whatever its suffix: Trestle and Ventana let tiles overlap,
and others state the pixel size in texts of their own. All other TIFFs are read by `TiffReader`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from cytopipe.files import InputError
from cytopipe.formats.images.description import ImageDescription, LevelDescription
from cytopipe.formats.images.gray import on_white
from cytopipe.formats.images.reader import (
    COPY_AGAIN,
    Region,
    input_error_on_damage,
    refuse_overstated,
    require_upright,
)
from cytopipe.formats.images.tiff_pages import open_tiff

WHOLE_SLIDE_SUFFIXES = (".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide")
# the start of `Software` in TIFFs by Trestle (OpenSlide's page on the format)
_TRESTLE = "MedScan"
# of decoded tiles: scanners with cameras let them overlap, so that several regions need one
_CACHE_BYTES = 2**28
_GENERIC, _HAMAMATSU = "generic-tiff", "hamamatsu"
# formats that are a full grid of tiles, so that transparency means a tile without data
_FULL_GRID = (_GENERIC, "aperio")


class WholeSlideReader:
    """An open file of a slide scanner (an `ImageReader`).

    What the scanner left out is shown as an empty slide. If the file states where the scanned part
    lies on the slide (`openslide.bounds-x` and others), only this part is read.

    Parameters
    ----------
    dark : an empty slide is black, not white.

    Raises
    ------
    InputError
        If OpenSlide cannot read the file, if it holds several scanned regions, or is to be turned
        before it is shown.
    """

    def __init__(self, path: Path, dark: bool = False) -> None:
        import openslide  # here: few studies have such files

        self._path, self._dark = path, dark
        with input_error_on_damage(f"{path}: OpenSlide cannot read it", _remedy(path)):
            try:
                self._slide = openslide.OpenSlide(path)
            except openslide.OpenSlideUnsupportedFormatError as error:
                raise InputError(
                    f"{path}: is in no format that OpenSlide reads{_remedy(path)}, or convert it "
                    "to a tiled OME-TIFF"
                ) from error
            self._slide.set_cache(openslide.OpenSlideCache(_CACHE_BYTES))
        try:
            with input_error_on_damage(f"{path}: its metadata are damaged", COPY_AGAIN):
                self.description = self._describe(self._slide.properties)
        except BaseException:
            self._slide.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._slide.close()

    def _describe(self, properties: Any) -> ImageDescription:
        path, slide = self._path, self._slide
        vendor = properties["openslide.vendor"]
        if "openslide.region[1].x" in properties:
            count = sum(name.endswith("].width") and ".region[" in name for name in properties)
            raise InputError(
                f"{path}: holds {count} scanned regions; export the one with the section as a file "
                "of its own"
            )
        if _first_page(path) is not None:
            _check_tiff(path, strips_of_jpeg=vendor == _HAMAMATSU)
        left, top, width, height = (
            int(properties.get(f"openslide.bounds-{name}", default))
            for name, default in zip(
                ("x", "y", "width", "height"), (0, 0, *slide.dimensions), strict=True
            )
        )
        self._corner = left, top
        self._is_full_grid = vendor in _FULL_GRID
        full = (width, height) == slide.dimensions
        spacing_um = {
            axis: float(properties[name])
            for axis in "XY"
            if (name := f"openslide.mpp-{axis.lower()}") in properties
        }
        levels = []
        for number, (size, factor) in enumerate(
            zip(slide.level_dimensions, slide.level_downsamples, strict=True)
        ):
            columns, rows = size if full else (int(width / factor), int(height / factor))
            if rows and columns:
                tile = [
                    int(properties.get(f"openslide.level[{number}].tile-{side}", 512))
                    for side in ("height", "width")
                ]
                levels.append(
                    LevelDescription(
                        rows,
                        columns,
                        segment=(tile[0], tile[1]),
                        codec="OpenSlide",
                        spacing_um=spacing_um["X"] * factor if "X" in spacing_um else None,
                        fill=0 if self._dark else 255,
                    )
                )
        stored_bytes = sum(file.stat().st_size for file in [path, *companions(path)])
        refuse_overstated(path, 3 * width * height, stored_bytes)
        return ImageDescription(
            path=path,
            format=f"OpenSlide {'generic TIFF' if vendor == _GENERIC else vendor}",
            dtype=np.dtype(np.uint8),
            channels=3,
            white_is_zero=False,
            levels=tuple(levels),
            # that of a generic TIFF is from resolution tags, which are not relied on
            axis_spacing_um={} if vendor == _GENERIC else spacing_um,
            left_out=0,
        )

    def missing_segments(self, most: int) -> list[tuple[int, Region]]:
        """None: OpenSlide does not list tiles; those without data show when they are read."""
        return []

    def is_empty(self) -> bool:
        """Never known: see `missing_segments`."""
        return False

    def read(self, level: int, region: Region) -> tuple[NDArray[Any], list[Region]]:
        """Pixels of a region, on an empty slide, and tiles in it that have no data."""
        pixels = np.empty((region.height, region.width, 3), np.uint8)
        missing = []
        for tile in _tiles_in(region, self.description.levels[level].segment):
            image = self._read_tile(level, tile)
            pixels[region.overlap(tile)[0]] = on_white(image, 3, white=0 if self._dark else None)
            if self._is_full_grid and not image[..., 3].any():
                missing.append(tile)
        return pixels, missing

    def _read_tile(self, level: int, tile: Region) -> NDArray[np.uint8]:
        """Red, green, blue and alpha; OpenSlide counts in pixels of level 0 of the whole slide."""
        factor = self._slide.level_downsamples[level]
        left, top = self._corner
        corner = left + round(tile.column * factor), top + round(tile.row * factor)
        return np.asarray(self._slide.read_region(corner, level, (tile.width, tile.height)))


def is_of_scanner(path: Path) -> bool:
    """Whether a TIFF is a scanner's own format, by its first page."""
    with input_error_on_damage(f"{path}: not a readable TIFF", COPY_AGAIN):
        page = _first_page(path)
    return page is not None and bool(
        page.is_svs or page.is_ndpi or page.is_scn or page.is_philips or page.is_bif
        or page.software.startswith(_TRESTLE)
    )  # fmt: skip


def _check_tiff(path: Path, strips_of_jpeg: bool) -> None:
    """Raise InputError if a TIFF is truncated, or is to be turned before it is shown.

    OpenSlide ends the process if it cannot allocate as many bytes as a damaged index states.

    Parameters
    ----------
    strips_of_jpeg : an image is a JPEG with an index of its own, as Hamamatsu writes it.
    """
    file_size = path.stat().st_size
    with open_tiff(path) as tif:
        require_upright(path, tif.pages.first.tags.valueof("Orientation", 1))
        for number, page in enumerate([] if strips_of_jpeg else tif.pages):
            ends = np.add(page.dataoffsets, page.databytecounts, dtype=np.float64)
            if ends.max(initial=0) > file_size:
                raise InputError(
                    f"{path}: is truncated: it has {file_size} bytes, image {number} ends at "
                    f"{ends.max():.0f}{COPY_AGAIN}"
                )


def companions(path: Path) -> list[Path]:
    """The files that belong to a scan of several files: MIRAX and Hamamatsu's .vms and .vmu."""
    suffix = path.suffix.lower()
    if suffix == ".mrxs":
        return sorted(file for file in path.with_suffix("").glob("*") if file.is_file())
    if suffix in (".vms", ".vmu") and path.is_file():
        # lines of the form `key=name of a file`
        text = path.read_text(encoding="latin-1")
        names = {line.partition("=")[2].strip() for line in text.splitlines()}
        return sorted(file for name in names if name and (file := path.parent / name).is_file())
    return []


def _remedy(path: Path) -> str:
    if path.suffix.lower() in (".mrxs", ".vms", ".vmu"):
        return COPY_AGAIN + ", with all files that belong to it"
    return COPY_AGAIN


def _first_page(path: Path) -> Any | None:
    """The first page of a TIFF; None if the file is none."""
    try:
        with tifffile.TiffFile(path) as tif:
            return tif.pages.first
    except tifffile.TiffFileError:
        return None


def _tiles_in(region: Region, segment: tuple[int, int]) -> Iterator[Region]:
    """The parts of a region that lie in one tile each."""
    rows, columns = segment
    for top in range(region.row // rows * rows, region.row + region.height, rows):
        for left in range(
            region.column // columns * columns, region.column + region.width, columns
        ):
            row, column = max(top, region.row), max(left, region.column)
            yield Region(
                row,
                column,
                min(top + rows, region.row + region.height) - row,
                min(left + columns, region.column + region.width) - column,
            )
