"""TIFF, BigTIFF and OME-TIFF: tiles and strips, decoded one by one (tifffile, imagecodecs).

Both raise on a broken tile; libraries that return zeros for a codec they lack are not used.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from cytopipe.files import InputError
from cytopipe.formats.images.store import (
    COPY_AGAIN,
    SHEET,
    UNIT_UM,
    Box,
    StoredLevel,
    damage_named,
)

_JPEG = (6, 7, 33007)
_CONVERT = "convert it to 8 or 16 bit gray or RGB"
_GRAY, _COLOR = ("minisblack", "miniswhite"), ("rgb", "ycbcr")


class TiffStore:
    """An open TIFF (a `Store`).

    Raises
    ------
    InputError
        If the file is no TIFF, or holds anything but a gray or RGB image of 8 or 16 bits, upright.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with damage_named(f"{path}: not a readable TIFF", COPY_AGAIN):
            self._tif = tifffile.TiffFile(path)
        try:
            with damage_named(f"{path}: holds no image", COPY_AGAIN):
                series = self._tif.series[0]
                self._pages = [_page(level) for level in series.levels]
            first = self._pages[0]
            _check_pixels(path, series, first)
            _check_is_largest(path, self._tif.series)
            self.dtype = first.dtype
            self.channels = 3 if series.ndim == 3 and first.samplesperpixel >= 3 else 1
            self.white_is_zero = _name(first.photometric) == "miniswhite"
            kind = "BigTIFF" if self._tif.is_bigtiff else "TIFF"
            self.format = f"OME-{kind}" if self._tif.is_ome else kind
            self.levels = [self._level(number, page) for number, page in enumerate(self._pages)]
            self.spacing_um = self._ome_spacing_um()
        except BaseException:
            self._tif.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._tif.close()

    def _level(self, number: int, page: Any) -> StoredLevel:
        if page.dtype != self.dtype or _samples(page) != _samples(self._pages[0]):
            raise InputError(
                f"{self.path}: level {number} has other values than level 0; make it again"
            )
        if page.is_tiled:
            segment = (page.tilelength, page.tilewidth)
        elif _plain(page):
            segment = (1, page.imagewidth)
        else:
            segment = (min(page.rowsperstrip, page.imagelength), page.imagewidth)
        codec = "none" if page.compression == 1 else _name(page.compression)
        return StoredLevel(page.imagelength, page.imagewidth, segment, codec, _resolution_um(page))

    def _ome_spacing_um(self) -> dict[str, float]:
        """PhysicalSizeX and Y of the OME-XML in um, as far as it gives them in a unit of length."""
        if not self._tif.is_ome or self._tif.ome_metadata is None:
            return {}
        with damage_named(f"{self.path}: its OME metadata are damaged"):
            image = tifffile.xml2dict(self._tif.ome_metadata)["OME"]["Image"]
            pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
            return {
                axis: float(pixels[f"PhysicalSize{axis}"])
                * UNIT_UM[pixels.get(f"PhysicalSize{axis}Unit", "µm")]
                for axis in "XY"
                if f"PhysicalSize{axis}" in pixels
                and pixels.get(f"PhysicalSize{axis}Unit", "µm") in UNIT_UM
            }

    def check_complete(self) -> list[tuple[int, Box]]:
        """Raise InputError if a segment lies beyond the end of the file; segments not held."""
        size = self._tif.filehandle.size
        absent = []
        for number, page in enumerate(self._pages):
            with damage_named(f"{self.path}: level {number} has a damaged index", COPY_AGAIN):
                starts = np.array(page.dataoffsets, np.uint64)
                counts = np.array(page.databytecounts, np.uint64)
                ends = starts + counts
            expected = math.prod(_grid(page)) * _planes(page)
            if len(counts) < expected:
                raise InputError(
                    f"{self.path}: level {number} lists {len(counts)} of {expected} tiles or "
                    f"strips{COPY_AGAIN}"
                )
            if len(ends) and ends.max() > size:
                raise InputError(
                    f"{self.path}: is truncated: it has {size} bytes, level {number} ends at "
                    f"{ends.max()}{COPY_AGAIN}"
                )
            absent += [(number, _place(page, i)) for i in np.flatnonzero(counts == 0).tolist()]
        return absent

    def read(self, level: int, box: Box) -> tuple[NDArray[Any], list[Box]]:
        """Pixels of a box as stored; only the tiles or strips that it touches are decoded."""
        page = self._pages[level]
        color = (3,) if self.channels == 3 else ()
        pixels = np.empty((box.height, box.width, *color), page.dtype)
        if _plain(page):
            self._read_rows(page, level, box, pixels)
            return pixels, []
        rows, columns = _segment(page)
        across = _grid(page)[1]
        plane = math.prod(_grid(page))
        absent = []
        for down in range(box.row // rows, -(-(box.row + box.height) // rows)):
            for along in range(box.column // columns, -(-(box.column + box.width) // columns)):
                index = down * across + along
                found = [
                    self._decoded(page, level, index + sample * plane)
                    for sample in range(min(_planes(page), 3))
                ]
                place = _place(page, index)
                held = [segment for segment in found if segment is not None]
                rows_of = slice(max(place.row - box.row, 0), place.row + place.height - box.row)
                columns_of = slice(
                    max(place.column - box.column, 0), place.column + place.width - box.column
                )
                target = pixels[rows_of, columns_of]
                if len(held) < len(found):
                    absent.append(place)
                    target[...] = page.nodata
                    continue
                segment = held[0] if len(held) == 1 else np.concatenate(held, axis=-1)
                segment = segment[..., :3] if color else segment[..., 0]
                r0, c0 = max(box.row - place.row, 0), max(box.column - place.column, 0)
                target[...] = segment[r0 : r0 + target.shape[0], c0 : c0 + target.shape[1]]
        return pixels, absent

    def _decoded(self, page: Any, level: int, index: int) -> NDArray[Any] | None:
        """One tile or strip, (rows, columns, samples); None where a sparse file holds none."""
        count = page.databytecounts[index]
        if count == 0:
            return None
        kind = "tile" if page.is_tiled else "strip"
        with damage_named(f"{self.path}: {kind} {index} of level {level} is not readable"):
            data = self._bytes(page.dataoffsets[index], count)
            if page.compression in _JPEG and b"\xff\xd9" not in data[-64:]:
                # libjpeg makes up what is missing
                raise ValueError("its JPEG data do not end")
            segment, _, _ = page.decode(data, index, jpegtables=page.jpegtables)
        return np.asarray(segment)[0]

    def _bytes(self, start: int, count: int) -> bytes:
        self._tif.filehandle.seek(start)
        data = bytes(self._tif.filehandle.read(count))
        if len(data) < count:
            raise ValueError(f"ends after {len(data)} of {count} bytes")
        return data

    def _read_rows(self, page: Any, level: int, box: Box, pixels: NDArray[Any]) -> None:
        """Rows of an uncompressed strip: a scanner may write the whole image as one."""
        samples = page.samplesperpixel
        stored = page.dtype.newbyteorder(page.parent.byteorder)
        row_bytes = page.imagewidth * samples * stored.itemsize
        at = 0
        while at < box.height:
            strip, first = divmod(box.row + at, page.rowsperstrip)
            rows = min(page.rowsperstrip - first, box.height - at)
            with damage_named(f"{self.path}: strip {strip} of level {level} is not readable"):
                if (first + rows) * row_bytes > page.databytecounts[strip]:
                    raise ValueError(f"holds only {page.databytecounts[strip]} bytes")
                data = self._bytes(page.dataoffsets[strip] + first * row_bytes, rows * row_bytes)
            image = np.frombuffer(data, stored).reshape(rows, page.imagewidth, samples)
            image = image[:, box.column : box.column + box.width]
            pixels[at : at + rows] = image[..., :3] if self.channels == 3 else image[..., 0]
            at += rows


def _name(value: Any) -> str:
    """Of a codec or a kind of color; one that tifffile does not know is a bare number."""
    return str(getattr(value, "name", value)).lower()


def _page(level: Any) -> Any:
    """The page of a level; in series of several pages its keyframe holds the layout only."""
    page = level.pages[0]
    return page if isinstance(page, tifffile.TiffPage) else page.aspage()


def _samples(page: Any) -> tuple[int, int, Any]:
    return page.samplesperpixel, page.planarconfig, page.photometric


def _planes(page: Any) -> int:
    """How many segments a pixel lies in: colors one by one (planar configuration 2) or together."""
    return page.samplesperpixel if page.planarconfig == 2 else 1


def _plain(page: Any) -> bool:
    """Whether a row can be read without the rest of its strip."""
    return bool(
        not page.is_tiled and page.compression == 1 and page.predictor == 1
        and page.fillorder == 1 and _planes(page) == 1
        and page.bitspersample in (8, 16)
        and not (_name(page.photometric) == "ycbcr" and page.is_subsampled)
    )  # fmt: skip


def _segment(page: Any) -> tuple[int, int]:
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(page.rowsperstrip, page.imagelength), page.imagewidth


def _grid(page: Any) -> tuple[int, int]:
    """Tiles or strips of one plane, down and across."""
    rows, columns = _segment(page)
    return -(-page.imagelength // rows), -(-page.imagewidth // columns)


def _place(page: Any, index: int) -> Box:
    """Where a tile or strip lies, cut to the image."""
    (rows, columns), (_, across) = _segment(page), _grid(page)
    down, along = divmod(index % math.prod(_grid(page)), across)
    row, column = down * rows, along * columns
    height, width = page.imagelength - row, page.imagewidth - column
    return Box(row, column, min(rows, height), min(columns, width))


def _resolution_um(page: Any) -> float | None:
    """Pixel size by the resolution tags, along X; None where they state no unit of length."""
    unit = {2: UNIT_UM["inch"], 3: UNIT_UM["cm"]}.get(page.resolutionunit)
    tag = page.tags.get("XResolution")
    if unit is None or tag is None or 0 in tag.value:
        return None
    pixels, units = tag.value
    return float(unit * units / pixels)


def _check_pixels(path: Path, series: Any, page: Any) -> None:
    shape, name = series.shape, _name(page.photometric)
    color = name in _COLOR and len(shape) == 3 and page.samplesperpixel in (3, 4)
    gray = name in _GRAY and len(shape) == 2
    # gray with alpha is (rows, columns, 2)
    gray = gray or (name in _GRAY and page.samplesperpixel == 2 and page.planarconfig == 1)
    if 0 in shape or not (gray or color):
        raise InputError(
            f"{path}: shape {shape}, {name} is not a gray or RGB image; {_CONVERT}, one "
            f"plane and one channel or red, green and blue, and name it in {SHEET}"
        )
    if page.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{path}: gray values are {page.dtype}; {_CONVERT}")
    if page.bitspersample not in (8, 16):
        raise InputError(f"{path}: has {page.bitspersample} bits a value; {_CONVERT}")
    orientation = page.tags.valueof("Orientation", 1)
    if orientation != 1:
        raise InputError(
            f"{path}: its Orientation tag ({orientation}) asks to turn or mirror it, which some "
            "programs do and others not; turn the pixels themselves and set the tag to 1"
        )


def _check_is_largest(path: Path, series: Any) -> None:
    """A label or an overview may follow the scan; one that comes first would be taken for it."""
    sizes = [math.prod(found.shape) for found in series]
    if max(sizes) > sizes[0]:
        raise InputError(
            f"{path}: its first image, {series[0].shape}, is smaller than image "
            f"{sizes.index(max(sizes))}, {series[sizes.index(max(sizes))].shape}; write the scan "
            "alone, or first"
        )
