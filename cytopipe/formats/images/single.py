"""PNG and JPEG: one image without levels, which by its nature is decoded whole."""

import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from cytopipe.files import InputError
from cytopipe.formats.images.store import COPY_AGAIN, Box, StoredLevel, damage_named

PNG_SUFFIXES, JPEG_SUFFIXES = (".png",), (".jpg", ".jpeg")
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_CONVERT = "convert it to 8 or 16 bit gray or RGB"


class SingleStore:
    """A PNG or JPEG (a `Store`): only its header is read until pixels are asked for.

    Raises
    ------
    InputError
        If the file is neither, is truncated, or is not gray or RGB of 8 or 16 bits.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.format = "PNG" if path.suffix.lower() in PNG_SUFFIXES else "JPEG"
        with damage_named(f"{path}: not a readable {self.format}", COPY_AGAIN):
            header = _png_header if self.format == "PNG" else _jpeg_header
            height, width, bits, self.channels = header(path)
            if 0 in (height, width):
                raise ValueError("no pixels")
        if bits > 16 or self.channels not in (1, 3):
            raise InputError(f"{path}: has {self.channels} channels of {bits} bits; {_CONVERT}")
        self.dtype = np.dtype(np.uint16 if bits > 8 else np.uint8)
        self.white_is_zero = False
        self.spacing_um: dict[str, float] = {}
        self.levels = [StoredLevel(height, width, (height, width), self.format.lower(), None)]
        self._image: NDArray[Any] | None = None

    def close(self) -> None:
        """Forget the image."""
        self._image = None

    def check_complete(self) -> list[tuple[int, Box]]:
        """Nothing: a file without its end was refused."""
        return []

    def read(self, level: int, box: Box) -> tuple[NDArray[Any], list[Box]]:
        """Pixels of a box as stored; the first call decodes the whole image."""
        if self._image is None:
            decode = imagecodecs.png_decode if self.format == "PNG" else imagecodecs.jpeg_decode
            with damage_named(f"{self.path}: not readable", COPY_AGAIN):
                image = np.asarray(decode(self.path.read_bytes()))
                if image.ndim == 3:  # alpha is dropped
                    image = image[..., :3] if self.channels == 3 else image[..., 0]
                whole = (self.levels[0].height, self.levels[0].width)
                if image.shape[:2] != whole or image.dtype != self.dtype:
                    raise ValueError(f"decodes to {image.shape} {image.dtype}, not to {whole}")
            self._image = image
        rows = slice(box.row, box.row + box.height)
        return self._image[rows, box.column : box.column + box.width], []


def _png_header(path: Path) -> tuple[int, int, int, int]:
    """Rows, columns, bits of a value once decoded, channels without alpha."""
    with open(path, "rb") as file:
        start = file.read(26)
        if not start.startswith(_PNG):
            raise ValueError("does not start as a PNG")
        file.seek(-12, 2)
        if file.read()[4:8] != b"IEND":
            raise ValueError("is truncated")
    width, height, bits, kind = struct.unpack(">IIBB", start[16:26])
    # color types: 0 gray, 2 RGB, 3 palette (of RGB), 4 gray and alpha, 6 RGB and alpha
    return height, width, max(8, bits), {0: 1, 2: 3, 3: 3, 4: 1, 6: 3}[kind]


def _jpeg_header(path: Path) -> tuple[int, int, int, int]:
    """Rows, columns, bits, channels: of the start-of-frame marker."""
    with open(path, "rb") as file:
        if file.read(3) != _JPEG:
            raise ValueError("does not start as a JPEG")
        file.seek(-2, 2)
        file.seek(-min(file.tell() + 2, 4096), 2)
        # libjpeg makes up what is missing
        if b"\xff\xd9" not in file.read():
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
