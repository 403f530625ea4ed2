"""The pages of a TIFF: where their tiles and strips lie, and what kind of values they hold."""

import logging
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from cytopipe.files import InputError
from cytopipe.formats.images.description import CONVERT, SHEET
from cytopipe.formats.images.reader import COPY_AGAIN, Region, require_upright
from cytopipe.formats.units import LENGTH_UM

# tifffile tells on the terminal what it passes over; what matters is checked here
logging.getLogger("tifffile").addHandler(logging.NullHandler())

JPEG = (6, 7, 33007, 34892)
# codecs that keep the samples of YCbCr: none, LZW, deflate, packbits, LZMA, zstd
_VERBATIM = (1, 5, 8, 32946, 32773, 34925, 50000)
_GRAY, _COLOR = ("minisblack", "miniswhite"), ("rgb", "ycbcr")


def open_tiff(path: Path) -> tifffile.TiffFile:
    """Open a TIFF of which the list of pages ends, and no page has lost a tag.

    In a damaged file the list may lead back to an earlier page, which tifffile follows for ever. It
    leaves out tags whose values lie behind the end of the file, such as the pixel size.

    Raises
    ------
    ValueError
        If the list leads back or out of the file, or a tag does.
    """
    tif = tifffile.TiffFile(path)
    try:
        file, form = tif.filehandle, tif.tiff
        place, places = tif.pages.first.offset, set()
        while place:
            if place in places or place >= file.size:
                raise ValueError("its list of pages leads back, or out of the file")
            places.add(place)
            file.seek(place)
            [count] = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
            if count * form.tagsize > file.size:
                raise ValueError("a page lists more tags than the file can hold")
            tags = file.read(count * form.tagsize)
            [place] = struct.unpack(form.offsetformat, file.read(form.offsetsize))
            if any(
                _end_of(tags[start : start + form.tagsize], form) > file.size
                for start in range(0, len(tags), form.tagsize)
            ):
                raise ValueError("is truncated: a tag lies behind its end")
    except BaseException:
        tif.close()
        raise
    return tif


def _end_of(tag: bytes, form: Any) -> int:
    """Where the values of a tag end in the file; 0 if they are in the tag itself."""
    _, kind = struct.unpack(form.tagformat1, tag[:4])
    count, value = struct.unpack(form.tagformat2, tag[4:])
    size: int = count * struct.calcsize(tifffile.TIFF.DATA_FORMATS.get(kind, ""))
    inside = size <= form.tagoffsetthreshold
    return 0 if inside else struct.unpack(form.offsetformat, value)[0] + size


def name_of(value: Any) -> str:
    """Name of a codec or kind of color; tifffile leaves a number that it does not know."""
    return str(getattr(value, "name", value)).lower()


def page_of(level: Any) -> Any:
    """The page of a level; in series of several pages the keyframe only holds the layout."""
    page = level.pages[0]
    return page if isinstance(page, tifffile.TiffPage) else page.aspage()


def planes_of(page: Any) -> int:
    """Segments that hold parts of one pixel: one per color (planar configuration 2), or one."""
    return page.samplesperpixel if page.planarconfig == 2 else 1


def has_plain_rows(page: Any) -> bool:
    """Whether a row can be read without decoding the rest of its strip."""
    return bool(
        not page.is_tiled and page.compression == 1 and page.predictor == 1
        and page.fillorder == 1 and planes_of(page) == 1
        and page.bitspersample in (8, 16)
        and not (name_of(page.photometric) == "ycbcr" and page.is_subsampled)
    )  # fmt: skip


def segment_size(page: Any) -> tuple[int, int]:
    """Rows and columns of a tile or strip."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(page.rowsperstrip, page.imagelength), page.imagewidth


def grid_of(page: Any) -> tuple[int, int]:
    """Number of tiles or strips of one plane, down and across."""
    rows, columns = segment_size(page)
    return -(-page.imagelength // rows), -(-page.imagewidth // columns)


def region_of(page: Any, index: int) -> Region:
    """Where a tile or strip lies, cut off at the edge of the image."""
    rows, columns = segment_size(page)
    down, across = grid_of(page)
    row, column = index % (down * across) // across * rows, index % across * columns
    return Region(
        row, column, min(rows, page.imagelength - row), min(columns, page.imagewidth - column)
    )


def segments_in(page: Any, region: Region) -> Iterator[int]:
    """Index of every tile or strip of the first plane that a region touches."""
    rows, columns = segment_size(page)
    across = grid_of(page)[1]
    for down in range(region.row // rows, -(-(region.row + region.height) // rows)):
        for along in range(region.column // columns, -(-(region.column + region.width) // columns)):
            yield down * across + along


def resolution_um(page: Any) -> float | None:
    """Pixel size along X by the resolution tags; None if they state none that makes sense."""
    unit = {2: "inch", 3: "cm"}.get(page.resolutionunit)
    # a ratio of two integers; some programs write a floating-point number
    value = np.atleast_1d(page.tags.valueof("XResolution", 0)).astype(np.float64)
    with np.errstate(all="ignore"):
        pixels = float(value[0] / value[1] if len(value) == 2 else value[0])
    if unit is None or len(value) > 2 or not 0 < pixels < math.inf:
        return None
    return LENGTH_UM[unit] / pixels


def colors_of(page: Any) -> int:
    """3 if the page decodes to red, green and blue; 1 if it holds gray values or the Y of YCbCr."""
    name = name_of(page.photometric)
    return 3 if name == "rgb" or (name == "ycbcr" and page.compression in JPEG) else 1


def check_pages(path: Path, series: Any, pages: list[Any]) -> None:
    """Raise InputError unless the levels of an image are upright, gray or RGB, of 8 or 16 bits."""
    first = pages[0]
    shape, name = series.shape, name_of(first.photometric)
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
        sizes = (page.imagelength, page.imagewidth, *segment_size(page))
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
    name, codec = name_of(page.photometric), name_of(page.compression)
    if codec == "aperio_jp2000_ycbc":
        raise InputError(f"{path}: holds YCbCr in JPEG 2000; {CONVERT}")
    if name != "ycbcr" or page.compression in JPEG:
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
