"""PNG and JPEG: one image without levels, which can only be decoded as a whole."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytopipe.files import InputError
from cytopipe.formats.images.description import CONVERT, ImageDescription, LevelDescription
from cytopipe.formats.images.reader import COPY_AGAIN, Region, input_error_on_damage

PNG_SUFFIXES, JPEG_SUFFIXES = (".png",), (".jpg", ".jpeg")


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
            height, width, bits, channels = _header(path, name)
            _check_end(path, name)
        if channels not in (1, 3):
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
        import imagecodecs  # here: training reads TIFF pyramids, some of them without it

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


def _header(path: Path, name: str) -> tuple[int, int, int, int]:
    """Rows, columns, bits per value once decoded, and channels without alpha."""
    # only where there are such images: a GPU node may lack Pillow
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile

    # not Image.open, which refuses scans of more than 179 million pixels
    with PngImageFile(path) if name == "PNG" else JpegImageFile(path) as image:
        if name == "JPEG":
            return image.height, image.width, image.bits, image.layers
        stored = image.tile[0].args  # such as "L", "LA;16B", "P;4", "RGB"
        bits, channels = 16 if "16" in stored else 8, 1 if stored[0] in "1IL" else 3
        return image.height, image.width, bits, channels


def _check_end(path: Path, name: str) -> None:
    """Raise ValueError if the file is truncated: libjpeg would make up what is missing."""
    with open(path, "rb") as file:
        file.seek(-min(path.stat().st_size, 4096), 2)
        end = file.read()
    if not (end[-8:-4] == b"IEND" if name == "PNG" else b"\xff\xd9" in end):
        raise ValueError("is truncated")
