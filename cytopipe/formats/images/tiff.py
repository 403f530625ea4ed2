"""TIFF, BigTIFF and OME-TIFF: tifffile reads the metadata, and tiles and strips one by one.

tifffile and imagecodecs raise an error on a broken tile; libraries that return zeros for a codec
that they lack are not used.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from cytopipe.files import InputError
from cytopipe.formats.images.description import (
    CONVERT,
    SHEET,
    ImageDescription,
    LevelDescription,
    pixel_size_um,
)
from cytopipe.formats.images.gray import on_white
from cytopipe.formats.images.reader import (
    COPY_AGAIN,
    Region,
    input_error_on_damage,
    require_upright,
    spread,
)
from cytopipe.formats.units import LENGTH_UM

_JPEG = (6, 7, 33007, 34892)
# codecs that keep the samples of YCbCr: none, LZW, deflate, packbits, LZMA, zstd
_VERBATIM = (1, 5, 8, 32946, 32773, 34925, 50000)
_GRAY, _COLOR = ("minisblack", "miniswhite"), ("rgb", "ycbcr")


class TiffReader:
    """An open TIFF (an `ImageReader`).

    Raises
    ------
    InputError
        If the file is not a TIFF, or contains anything but an upright gray or RGB image of 8 or 16
        bits.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with input_error_on_damage(f"{path}: not a readable TIFF", COPY_AGAIN):
            self._tif = open_tiff(path)
        try:
            with input_error_on_damage(f"{path}: contains no image", COPY_AGAIN):
                series = self._tif.series[0]
                self._pages = [_page(level) for level in series.levels]
            if any(page.parent is not self._tif for page in self._pages):
                other = self._pages[0].parent.filename
                raise InputError(f"{path}: its pixels are in {other}; name that file in {SHEET}")
            _check_pixels(path, series, self._pages)
            _check_is_largest(path, self._tif.series)
            self.description = self._describe(series)
        except BaseException:
            self._tif.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._tif.close()

    def _describe(self, series: Any) -> ImageDescription:
        first = self._pages[0]
        name = "BigTIFF" if self._tif.is_bigtiff else "TIFF"
        return ImageDescription(
            path=self._path,
            format=f"OME-{name}" if self._tif.is_ome else name,
            dtype=first.dtype,
            channels=_colors(first),
            white_is_zero=_name(first.photometric) == "miniswhite",
            levels=tuple(
                LevelDescription(
                    height=page.imagelength,
                    width=page.imagewidth,
                    segment=(1, page.imagewidth) if _has_plain_rows(page) else _segment_size(page),
                    codec="none" if page.compression == 1 else _name(page.compression),
                    spacing_um=_resolution_um(page),
                    fill=int(page.nodata),
                )
                for page in self._pages
            ),
            axis_spacing_um=self._ome_spacing_um(),
        )

    def _ome_spacing_um(self) -> dict[str, float]:
        """PhysicalSizeX and Y of the OME-XML; none if it only names a file with the metadata."""
        if not self._tif.is_ome or self._tif.ome_metadata is None:
            return {}
        with input_error_on_damage(f"{self._path}: its OME metadata are damaged"):
            root = ElementTree.fromstring(self._tif.ome_metadata)
            if root.find("{*}BinaryOnly") is not None:
                return {}
            pixels = root.find("{*}Image/{*}Pixels")
            if pixels is None:
                raise ValueError("without Pixels")
            stated = {
                axis: (float(size), pixels.get(f"PhysicalSize{axis}Unit"))
                for axis in "XY"
                if (size := pixels.get(f"PhysicalSize{axis}"))
            }
        return pixel_size_um(self._path, stated, default="µm")

    def missing_segments(self, most: int) -> list[tuple[int, Region]]:
        """Level and region of tiles or strips that the file leaves out, up to `most` in each level.

        Raises
        ------
        InputError
            If a tile or strip lies beyond the end of the file, or is not listed.
        """
        file_size = self._tif.filehandle.size
        missing = []
        for number, page in enumerate(self._pages):
            with input_error_on_damage(
                f"{self._path}: level {number} has a damaged index", COPY_AGAIN
            ):
                offsets = np.array(page.dataoffsets, np.uint64)
                sizes = np.array(page.databytecounts, np.uint64)
                ends = offsets + sizes
            expected = math.prod(_grid(page)) * _planes(page)
            if len(sizes) < expected:
                raise InputError(
                    f"{self._path}: level {number} lists {len(sizes)} of {expected} tiles or "
                    f"strips{COPY_AGAIN}"
                )
            if len(ends) and ends.max() > file_size:
                raise InputError(
                    f"{self._path}: is truncated: it has {file_size} bytes, level {number} ends at "
                    f"{ends.max()}{COPY_AGAIN}"
                )
            absent = spread(np.flatnonzero(sizes == 0), most)
            missing += [(number, _region_of(page, index)) for index in absent.tolist()]
        return missing

    def is_empty(self) -> bool:
        """Whether the file leaves out all tiles and strips."""
        return not any(any(page.databytecounts) for page in self._pages)

    def read(self, level: int, region: Region) -> tuple[NDArray[Any], list[Region]]:
        """Pixels of a region as stored; only the tiles or strips that it touches are decoded."""
        page = self._pages[level]
        colors = self.description.channels
        pixels = np.empty((region.height, region.width, colors), page.dtype)
        missing = []
        for index in _segments_in(page, region):
            place = _region_of(page, index)
            in_region, (rows, columns) = region.overlap(place)
            segment = self._rows(page, level, index, rows)
            if segment is None:
                missing.append(place)
                pixels[in_region] = page.nodata
            else:
                pixels[in_region] = self._without_alpha(page, segment[:, columns])
        return (pixels if colors == 3 else pixels[..., 0]), missing

    def _without_alpha(self, page: Any, segment: NDArray[Any]) -> NDArray[Any]:
        colors = self.description.channels
        if _name(page.photometric) == "ycbcr" and colors == 1:
            return segment[..., :1]  # Y is the luma of `gray.luma`
        if segment.shape[-1] > colors and page.extrasamples[:1] not in ((1,), (2,)):
            if (segment[..., colors] != np.iinfo(segment.dtype).max).any():
                raise InputError(
                    f"{self._path}: has a further channel, and does not say whether it is "
                    f"transparency; {CONVERT} without it"
                )
            return segment[..., :colors]
        white = 0 if self.description.white_is_zero else None
        return on_white(segment, colors, page.extrasamples[:1] == (1,), white)

    def _rows(self, page: Any, level: int, index: int, rows: slice) -> NDArray[Any] | None:
        """Rows of a tile or strip with all samples; None if the file leaves it out."""
        plane = math.prod(_grid(page))
        samples = [
            self._decoded(page, level, index + number * plane, rows)
            for number in range(_planes(page))
        ]
        present = [sample for sample in samples if sample is not None]
        if len(present) < len(samples):
            return None
        return present[0] if len(present) == 1 else np.concatenate(present, axis=-1)

    def _decoded(self, page: Any, level: int, index: int, rows: slice) -> NDArray[Any] | None:
        """Rows of a tile or strip as the file holds it, (rows, columns, samples), or None."""
        size = page.databytecounts[index]
        if size == 0:
            return None
        kind = "tile" if page.is_tiled else "strip"
        with input_error_on_damage(
            f"{self._path}: {kind} {index} of level {level} is not readable"
        ):
            if _has_plain_rows(page):
                return self._plain_rows(page, index, rows)
            data = self._bytes(page.dataoffsets[index], size)
            if page.compression in _JPEG and b"\xff\xd9" not in data[-64:]:
                # libjpeg fills in what is missing, without an error
                raise ValueError("its JPEG data do not end")
            segment, _, _ = page.decode(data, index, jpegtables=page.jpegtables)
        return np.asarray(segment)[0, rows]

    def _plain_rows(self, page: Any, strip: int, rows: slice) -> NDArray[Any]:
        """Rows of an uncompressed strip: a scanner may write a whole image as one strip."""
        dtype = page.dtype.newbyteorder(page.parent.byteorder)
        row_bytes = page.imagewidth * page.samplesperpixel * dtype.itemsize
        if rows.stop * row_bytes > page.databytecounts[strip]:
            raise ValueError(f"has only {page.databytecounts[strip]} bytes")
        start = page.dataoffsets[strip] + rows.start * row_bytes
        data = self._bytes(start, (rows.stop - rows.start) * row_bytes)
        return np.frombuffer(data, dtype).reshape(-1, page.imagewidth, page.samplesperpixel)

    def _bytes(self, start: int, count: int) -> bytes:
        self._tif.filehandle.seek(start)
        data = bytes(self._tif.filehandle.read(count))
        if len(data) < count:
            raise ValueError(f"ends after {len(data)} of {count} bytes")
        return data


def open_tiff(path: Path) -> tifffile.TiffFile:
    """Open a TIFF of which the list of pages ends.

    In a damaged file it may lead back to an earlier page. tifffile notices that while it counts the
    pages, but not while it reads one after the other.
    """
    tif = tifffile.TiffFile(path)
    try:
        len(tif.pages)
    except BaseException:
        tif.close()
        raise
    return tif


def _name(value: Any) -> str:
    """Name of a codec or kind of color; tifffile leaves a number that it does not know."""
    return str(getattr(value, "name", value)).lower()


def _page(level: Any) -> Any:
    """The page of a level; in series of several pages the keyframe only holds the layout."""
    page = level.pages[0]
    return page if isinstance(page, tifffile.TiffPage) else page.aspage()


def _planes(page: Any) -> int:
    """Segments that hold parts of one pixel: one per color (planar configuration 2), or one."""
    return page.samplesperpixel if page.planarconfig == 2 else 1


def _has_plain_rows(page: Any) -> bool:
    """Whether a row can be read without decoding the rest of its strip."""
    return bool(
        not page.is_tiled and page.compression == 1 and page.predictor == 1
        and page.fillorder == 1 and _planes(page) == 1
        and page.bitspersample in (8, 16)
        and not (_name(page.photometric) == "ycbcr" and page.is_subsampled)
    )  # fmt: skip


def _segment_size(page: Any) -> tuple[int, int]:
    """Rows and columns of a tile or strip."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(page.rowsperstrip, page.imagelength), page.imagewidth


def _grid(page: Any) -> tuple[int, int]:
    """Number of tiles or strips of one plane, down and across."""
    rows, columns = _segment_size(page)
    return -(-page.imagelength // rows), -(-page.imagewidth // columns)


def _region_of(page: Any, index: int) -> Region:
    """Where a tile or strip lies, cut off at the edge of the image."""
    rows, columns = _segment_size(page)
    down, across = _grid(page)
    row, column = index % (down * across) // across * rows, index % across * columns
    return Region(
        row, column, min(rows, page.imagelength - row), min(columns, page.imagewidth - column)
    )


def _segments_in(page: Any, region: Region) -> Iterator[int]:
    """Index of every tile or strip of the first plane that a region touches."""
    rows, columns = _segment_size(page)
    across = _grid(page)[1]
    for down in range(region.row // rows, -(-(region.row + region.height) // rows)):
        for along in range(region.column // columns, -(-(region.column + region.width) // columns)):
            yield down * across + along


def _resolution_um(page: Any) -> float | None:
    """Pixel size along X by the resolution tags; None if they state none that makes sense."""
    unit = {2: "inch", 3: "cm"}.get(page.resolutionunit)
    # a ratio of two integers; some programs write a floating-point number
    value = np.atleast_1d(page.tags.valueof("XResolution", 0)).astype(np.float64)
    with np.errstate(all="ignore"):
        pixels = float(value[0] / value[1] if len(value) == 2 else value[0])
    if unit is None or len(value) > 2 or not 0 < pixels < math.inf:
        return None
    return LENGTH_UM[unit] / pixels


def _colors(page: Any) -> int:
    """3 if the page decodes to red, green and blue; 1 if it holds gray values or the Y of YCbCr."""
    name = _name(page.photometric)
    return 3 if name == "rgb" or (name == "ycbcr" and page.compression in _JPEG) else 1


def _check_pixels(path: Path, series: Any, pages: list[Any]) -> None:
    first = pages[0]
    shape, name = series.shape, _name(first.photometric)
    color = name in _COLOR and len(shape) == 3 and first.samplesperpixel in (3, 4)
    gray = name in _GRAY and len(shape) == 2
    # gray with alpha is (rows, columns, 2)
    gray = gray or (name in _GRAY and first.samplesperpixel == 2 and first.planarconfig == 1)
    if 0 in shape or not (gray or color):
        raise InputError(
            f"{path}: shape {shape}, {name} is not a gray or RGB image; {CONVERT}, with one "
            f"plane and one channel or red, green and blue, and name it in {SHEET}"
        )
    if first.bitspersample not in (8, 16):
        raise InputError(
            f"{path}: gray values are {first.dtype} of {first.bitspersample} bits; {CONVERT}"
        )
    for number, page in enumerate(pages):
        sizes = (page.imagelength, page.imagewidth, *_segment_size(page))
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            raise InputError(f"{path}: level {number} has damaged sizes, {sizes}{COPY_AGAIN}")
        require_upright(path, page.tags.valueof("Orientation", 1))
        _check_luma(path, page)
        if page.dtype != first.dtype or _samples(page) != _samples(first):
            raise InputError(
                f"{path}: level {number} stores another kind of values than level 0; export it "
                "again"
            )


def _check_luma(path: Path, page: Any) -> None:
    """Raise InputError if a page holds YCbCr of which Y is not the luma of `gray.luma`.

    JPEG decoders return red, green and blue. Other codecs return what is stored.
    """
    name, codec = _name(page.photometric), _name(page.compression)
    if codec == "aperio_jp2000_ycbc":
        raise InputError(f"{path}: holds YCbCr in JPEG 2000; {CONVERT}")
    if name != "ycbcr" or page.compression in _JPEG:
        return
    weights = _ratios(page.tags.valueof("YCbCrCoefficients"), (0.299, 0.587, 0.114))
    range_ = _ratios(page.tags.valueof("ReferenceBlackWhite"), (0, 255, 128, 255, 128, 255))
    if (
        page.compression not in _VERBATIM
        or page.is_subsampled
        or page.bitspersample != 8
        or not np.allclose(weights, (0.299, 0.587, 0.114), atol=1e-3)
        or not np.allclose(range_[:2], (0, 255))
    ):
        raise InputError(f"{path}: holds YCbCr of a rare kind, compressed by {codec}; {CONVERT}")


def _ratios(values: Any, default: tuple[float, ...]) -> tuple[float, ...]:
    """Values of a tag of rational numbers, which tifffile returns one after the other."""
    if values is None:
        return default
    return tuple(top / bottom for top, bottom in zip(values[::2], values[1::2], strict=True))


def _samples(page: Any) -> tuple[int, int, Any]:
    return page.samplesperpixel, page.planarconfig, page.photometric


def _check_is_largest(path: Path, all_series: Any) -> None:
    """A label or overview may follow the scan; one that comes first would be taken for it."""
    sizes = [math.prod(series.shape) for series in all_series]
    if max(sizes) > sizes[0]:
        largest = sizes.index(max(sizes))
        raise InputError(
            f"{path}: its first image, {all_series[0].shape}, is smaller than image {largest}, "
            f"{all_series[largest].shape}; write the scan alone, or first"
        )
