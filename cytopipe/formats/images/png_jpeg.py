"""PNG and JPEG: one image without levels, which can only be decoded as a whole."""

import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytopipe.files import InputError
from cytopipe.formats.images.description import CONVERT, ImageDescription, LevelDescription
from cytopipe.formats.images.gray import on_white
from cytopipe.formats.images.reader import (
    COPY_AGAIN,
    Region,
    input_error_on_damage,
    refuse_overstated,
    require_upright,
)

PNG_SUFFIXES, JPEG_SUFFIXES = (".png",), (".jpg", ".jpeg")
_PNG_SAMPLES = (1, 0, 3, 1, 2, 0, 4)  # per pixel, by the kind of color in its header
# in the compressed data of a JPEG: the next marker that does not belong to them
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
# how a JPEG frame may begin: baseline, extended or progressive, its length, 8 bits
_HUFFMAN_FRAME = re.compile(rb"[\xc0-\xc2]..\x08", re.DOTALL)
# markers that may come before: tables, comments, data of programs
_BEFORE_FRAME = (0x01, 0xC4, 0xCC, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE)
_EXTRA_BYTES = re.compile(r"([0-9]+) extraneous bytes")
# writers may pad to a multiple of 8 bytes; after a wrong bit, more are left over. Chosen
_MOST_PADDING = 8


class PngJpegReader:
    """An open PNG or JPEG (an `ImageReader`). No pixels are decoded until they are needed.

    Parameters
    ----------
    dark : an empty slide is black, not white.

    Raises
    ------
    InputError
        If the file is neither, is truncated, is to be turned before it is shown, or is not gray or
        RGB of 8 or 16 bits.
    """

    def __init__(self, path: Path, dark: bool = False) -> None:
        self._dark = dark
        name = "PNG" if _is_png(path) else "JPEG"
        with input_error_on_damage(f"{path}: not a readable {name}", COPY_AGAIN):
            header = read_header(path)
        require_upright(path, header.orientation)
        if header.channels not in (1, 3):
            raise InputError(
                f"{path}: has {header.channels} channels of {header.bits} bits; {CONVERT}"
            )
        refuse_overstated(path, header.decoded_bytes, path.stat().st_size)
        height, width = header.height, header.width
        self.description = ImageDescription(
            path=path,
            format=name,
            dtype=np.dtype(np.uint16 if header.bits > 8 else np.uint8),
            channels=header.channels,
            white_is_zero=False,
            levels=(LevelDescription(height, width, (height, width), name.lower(), None),),
            axis_spacing_um={},
            left_out=0,
        )
        self._image: NDArray[Any] | None = None

    def close(self) -> None:
        """Forget the image."""
        self._image = None

    def missing_segments(self, most: int) -> list[tuple[int, Region]]:
        """None: a truncated file was refused when it was opened."""
        return []

    def is_empty(self) -> bool:
        """Never: a truncated file was refused when it was opened."""
        return False

    def read(self, level: int, region: Region) -> tuple[NDArray[Any], list[Region]]:
        """Pixels of a region as stored, on white; the first call decodes the whole image."""
        if self._image is None:
            self._image = self._decode()
        rows = slice(region.row, region.row + region.height)
        return self._image[rows, region.column : region.column + region.width], []

    def _decode(self) -> NDArray[Any]:
        import imagecodecs  # here: training reads TIFF pyramids, some of them without it

        about, level = self.description, self.description.levels[0]
        decode = imagecodecs.png_decode if about.format == "PNG" else imagecodecs.jpeg_decode
        with input_error_on_damage(f"{about.path}: not readable", COPY_AGAIN):
            content = about.path.read_bytes()
            if about.format == "JPEG":
                check_jpeg(content)
            image = np.asarray(decode(content))
            if image.ndim == 3:
                image = on_white(image, about.channels, white=0 if self._dark else None)
                image = image if about.channels == 3 else image[..., 0]
            expected = level.shape if about.channels == 1 else (*level.shape, 3)
            if image.shape != expected or image.dtype != about.dtype:
                raise ValueError(
                    f"decodes to {image.shape} {image.dtype}, its header says {expected} "
                    f"{about.dtype}"
                )
        return image


@dataclass(frozen=True)
class Header:
    """What a PNG or JPEG says about itself."""

    height: int
    width: int
    depth: int  # bits per value as stored
    bits: int  # and once decoded
    channels: int  # without alpha
    orientation: int  # as in EXIF
    decoded_bytes: int


def read_header(path: Path) -> Header:
    """What a file says about itself, PNG or JPEG by its name; no pixels are decoded.

    Raises
    ------
    ValueError
        If the file is truncated: libjpeg would make up what is missing.
    """
    # only where there are such images: a GPU node may lack Pillow
    from PIL import ExifTags, Image
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile

    # not Image.open, which refuses scans of more than 179 million pixels
    with (
        PngImageFile(path) if _is_png(path) else JpegImageFile(path) as image,
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        if isinstance(image, JpegImageFile):
            _check_jpeg_ends(content)
            depth = bits = image.bits
            channels, stored_bits = image.layers, image.layers * image.bits
        else:
            depth, kind = content[24:26]  # of the chunk IHDR, which Pillow has found in order
            bits, channels = 16 if depth == 16 else 8, 3 if kind & 2 else 1
            stored_bits = depth * _PNG_SAMPLES[kind]
            if exif := _png_exif(content):
                image.info["exif"] = b"Exif\0\0" + exif
        # not image.getexif(), which decodes a PNG to look for a chunk behind its pixels
        orientation = int(Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1))
        height, width = image.height, image.width
    return Header(
        height, width, depth, bits, channels, orientation, height * width * stored_bits // 8
    )


def _is_png(path: Path) -> bool:
    return path.suffix.lower() in PNG_SUFFIXES


def _png_exif(content: mmap.mmap) -> bytes:
    """The EXIF data of a PNG, b"" if it has none; ValueError if the end of the image is missing."""
    place, exif = 8, b""
    while place + 12 <= len(content):
        size, name = int.from_bytes(content[place : place + 4]), content[place + 4 : place + 8]
        if name == b"eXIf":
            exif = content[place + 8 : place + 8 + size]
        if name == b"IEND":
            return exif
        place += 12 + size
    raise ValueError("is truncated")


def check_jpeg(content: bytes, tables: bytes = b"") -> None:
    """Raise ValueError if data are missing or cannot be decoded, for which libjpeg makes up pixels.

    A JPEG has no checksum: a wrong bit that leads to other pixels alone is not noticed.

    Parameters
    ----------
    tables : of a TIFF, which all its tiles share; a JPEG without an image.
    """
    import simplejpeg  # here: training reads TIFF pyramids, some of them without it

    place = next((place for kind, place in _jpeg_markers(content) if kind not in _BEFORE_FRAME), 0)
    if not _HUFFMAN_FRAME.match(content, place - 1):
        return  # rare kinds, for some of which simplejpeg crashes
    try:
        # an eighth of the size: everything is unpacked, but little is computed
        simplejpeg.decode_jpeg(
            content[:2] + tables[2:-2] + content[2:], "GRAY",
            min_height=1, min_width=1, min_factor=1, strict=True,
        )  # fmt: skip
    except ValueError as error:
        extra = _EXTRA_BYTES.search(str(error))
        is_damage = "remature end" in str(error) or "Corrupt" in str(error)
        if is_damage and (extra is None or int(extra[1]) > _MOST_PADDING):
            raise


def _jpeg_markers(content: bytes | mmap.mmap) -> Iterator[tuple[int, int]]:
    """Kind of each marker, and the place behind it; the data of an image are passed over."""
    place = 2
    while marker := _JPEG_MARKER.search(content, place):
        kind, place = marker[0][1], marker.end()
        yield kind, place
        if kind not in (0x01, 0xD9):  # all others state their length
            place += int.from_bytes(content[place : place + 2])


def _check_jpeg_ends(content: mmap.mmap) -> None:
    """Raise ValueError if the end of the image is missing; cameras write more behind it."""
    if not any(kind == 0xD9 for kind, _ in _jpeg_markers(content)):
        raise ValueError("is truncated")
