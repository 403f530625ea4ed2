"""PNG and JPEG: one image without levels, which can only be decoded as a whole."""

import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from cytopipe.files import InputError
from cytopipe.formats.images.description import CONVERT, ImageDescription, LevelDescription
from cytopipe.formats.images.reader import COPY_AGAIN, Region, input_error_on_damage

PNG_SUFFIXES, JPEG_SUFFIXES = (".png",), (".jpg", ".jpeg")
_PNG_START, _JPEG_START, _JPEG_END = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\xff\xd9"


class PngJpegReader:
    """An open PNG or JPEG (an `ImageReader`). Only the header is read until pixels are needed.

    Raises
    ------
    InputError
        If the file is neither, is truncated, or is not gray or RGB of 8 or 16 bits.
    """

    def __init__(self, path: Path) -> None:
        name = "PNG" if path.suffix.lower() in PNG_SUFFIXES else "JPEG"
        with input_error_on_damage(f"{path}: not a readable {name}", COPY_AGAIN):
            read_header = _png_header if name == "PNG" else _jpeg_header
            height, width, bits, channels = read_header(path)
            if 0 in (height, width):
                raise ValueError("has no pixels")
        if bits > 16 or channels not in (1, 3):
            raise InputError(f"{path}: has {channels} channels of {bits} bits; {CONVERT}")
        self.description = ImageDescription(
            path=path,
            format=name,
            dtype=np.dtype(np.uint16 if bits > 8 else np.uint8),
            channels=channels,
            white_is_zero=False,
            levels=(LevelDescription(height, width, (height, width), name.lower(), None),),
            axis_spacing_um={},
        )
        self._image: NDArray[Any] | None = None

    def close(self) -> None:
        """Forget the image."""
        self._image = None

    def missing_segments(self) -> list[tuple[int, Region]]:
        """None: a truncated file was refused when it was opened."""
        return []

    def read(self, level: int, region: Region) -> tuple[NDArray[Any], list[Region]]:
        """Pixels of a region as stored; the first call decodes the whole image."""
        if self._image is None:
            self._image = self._decode()
        rows = slice(region.row, region.row + region.height)
        return self._image[rows, region.column : region.column + region.width], []

    def _decode(self) -> NDArray[Any]:
        about, level = self.description, self.description.levels[0]
        decode = imagecodecs.png_decode if about.format == "PNG" else imagecodecs.jpeg_decode
        with input_error_on_damage(f"{about.path}: not readable", COPY_AGAIN):
            image = np.asarray(decode(about.path.read_bytes()))
            if image.ndim == 3:  # alpha is dropped
                image = image[..., :3] if about.channels == 3 else image[..., 0]
            if image.shape[:2] != (level.height, level.width) or image.dtype != about.dtype:
                raise ValueError(
                    f"decodes to {image.shape} {image.dtype}, its header says {level.height} x "
                    f"{level.width} {about.dtype}"
                )
        return image


def _png_header(path: Path) -> tuple[int, int, int, int]:
    """Rows, columns, bits per value once decoded, channels without alpha."""
    with open(path, "rb") as file:
        start = file.read(26)
        if not start.startswith(_PNG_START):
            raise ValueError("does not start as a PNG")
        file.seek(-12, 2)
        if file.read()[4:8] != b"IEND":
            raise ValueError("is truncated")
    width, height, bits, kind = struct.unpack(">IIBB", start[16:26])
    # color types: 0 gray, 2 RGB, 3 palette (of RGB), 4 gray and alpha, 6 RGB and alpha
    return height, width, max(8, bits), {0: 1, 2: 3, 3: 3, 4: 1, 6: 3}[kind]


def _jpeg_header(path: Path) -> tuple[int, int, int, int]:
    """Rows, columns, bits and channels, from the start-of-frame marker."""
    with open(path, "rb") as file:
        if file.read(3) != _JPEG_START:
            raise ValueError("does not start as a JPEG")
        file.seek(-2, 2)
        file.seek(-min(file.tell() + 2, 4096), 2)
        # libjpeg fills in what is missing, without an error
        if _JPEG_END not in file.read():
            raise ValueError("is truncated")
        file.seek(2)
        while True:
            prefix, marker = file.read(2)
            if prefix != 0xFF:
                raise ValueError("has no start of frame")
            if marker == 0xFF:  # padding
                file.seek(-1, 1)
                continue
            size = int.from_bytes(file.read(2), "big")
            # 0xC4, 0xC8 and 0xCC define tables
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
                bits, height, width, channels = struct.unpack(">BHHB", file.read(6))
                return height, width, bits, channels
            file.seek(size - 2, 1)
