"""TIFF, BigTIFF and OME-TIFF: tifffile reads the metadata, and tiles and strips one by one.

tifffile and imagecodecs raise an error on a broken tile; libraries that return zeros for a codec
that they lack are not used.
"""

import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
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
from cytopipe.formats.images.png_jpeg import check_jpeg
from cytopipe.formats.images.reader import (
    COPY_AGAIN,
    Region,
    choose_scan,
    input_error_on_damage,
    spread,
)
from cytopipe.formats.images.tiff_pages import (
    JPEG,
    check_pages,
    colors_of,
    grid_of,
    has_plain_rows,
    name_of,
    open_tiff,
    page_of,
    planes_of,
    region_of,
    resolution_um,
    segment_size,
    segments_in,
)


class TiffReader:
    """An open TIFF (an `ImageReader`).

    Parameters
    ----------
    dark : an empty slide is black, not white.

    Raises
    ------
    InputError
        If the file is not a TIFF, or contains anything but an upright gray or RGB image of 8 or 16
        bits.
    """

    def __init__(self, path: Path, dark: bool = False) -> None:
        self._path, self._dark = path, dark
        self._whole: set[tuple[int, int]] = set()  # tiles and strips of JPEG, once they are checked
        self.unpacks_jpeg = True
        with input_error_on_damage(f"{path}: not a readable TIFF", COPY_AGAIN):
            self._tif = open_tiff(path)
        try:
            with input_error_on_damage(f"{path}: contains no image", COPY_AGAIN):
                series = self._tif.series[0]
                self._pages = [page_of(level) for level in series.levels]
            if any(page.parent is not self._tif for page in self._pages):
                other = self._pages[0].parent.filename
                raise InputError(f"{path}: its pixels are in {other}; name that file in {SHEET}")
            check_pages(path, series, self._pages)
            with input_error_on_damage(f"{path}: has damaged sizes", COPY_AGAIN):
                pages = [it.keyframe for it in self._tif.series]
                counts = [page.imagelength * page.imagewidth for page in pages]
            if largest := choose_scan(path, counts):
                raise InputError(
                    f"{path}: its first image, {pages[0].shape}, is smaller than image {largest}, "
                    f"{pages[largest].shape}; write the scan alone, or first"
                )
            self.description = self._describe(left_out=len(pages) - 1)
        except BaseException:
            self._tif.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._tif.close()

    def _describe(self, left_out: int) -> ImageDescription:
        first = self._pages[0]
        name = "BigTIFF" if self._tif.is_bigtiff else "TIFF"
        return ImageDescription(
            path=self._path,
            format=f"OME-{name}" if self._tif.is_ome else name,
            dtype=first.dtype,
            channels=colors_of(first),
            white_is_zero=name_of(first.photometric) == "miniswhite",
            levels=tuple(
                LevelDescription(
                    height=page.imagelength,
                    width=page.imagewidth,
                    segment=(1, page.imagewidth) if has_plain_rows(page) else segment_size(page),
                    codec="none" if page.compression == 1 else name_of(page.compression),
                    spacing_um=resolution_um(page),
                    fill=int(page.nodata),
                )
                for page in self._pages
            ),
            axis_spacing_um=self._ome_spacing_um(),
            left_out=left_out,
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
            expected = math.prod(grid_of(page)) * planes_of(page)
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
            missing += [(number, region_of(page, index)) for index in absent.tolist()]
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
        for index in segments_in(page, region):
            place = region_of(page, index)
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
        if name_of(page.photometric) == "ycbcr" and colors == 1:
            return segment[..., :1]  # Y is the luma of `gray.luma`
        if segment.shape[-1] > colors and page.extrasamples[:1] not in ((1,), (2,)):
            if (segment[..., colors] != np.iinfo(segment.dtype).max).any():
                raise InputError(
                    f"{self._path}: has a further channel, and does not say whether it is "
                    f"transparency; {CONVERT} without it"
                )
            return segment[..., :colors]
        white = 0 if self.description.white_is_zero != self._dark else None
        return on_white(segment, colors, page.extrasamples[:1] == (1,), white)

    def _rows(self, page: Any, level: int, index: int, rows: slice) -> NDArray[Any] | None:
        """Rows of a tile or strip with all samples; None if the file leaves it out."""
        plane = math.prod(grid_of(page))
        samples = [
            self._decoded(page, level, index + number * plane, rows)
            for number in range(planes_of(page))
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
            f"{self._path}: {kind} {index} of level {level} is not readable", COPY_AGAIN
        ):
            if has_plain_rows(page):
                return self._plain_rows(page, index, rows)
            data = self._bytes(page.dataoffsets[index], size)
            if page.compression in JPEG and (level, index) not in self._whole:
                if self.unpacks_jpeg:
                    check_jpeg(data, page.jpegtables or b"")
                elif b"\xff\xd9" not in data[-64:]:
                    raise ValueError("its JPEG data do not end")
                self._whole.add((level, index))
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
