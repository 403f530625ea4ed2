"""A tiled pyramid of a scan that has no levels: a plain TIFF, a PNG, a JPEG (CytoNet section 3.2
reads scans at 64 um, patches at 2 um: both need levels and tiles).

The scan is held in memory, with half as much again for its levels.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from cytopipe import provenance
from cytopipe.files import InputError, require
from cytopipe.formats.images import halve, open_pyramid, write_pyramid
from cytopipe.formats.sections import Section
from cytopipe.logs import say

VERSION = 1

# luma of ITU-R recommendation BT.601, in thousandths
_LUMA = (299, 587, 114)
_REMEDY = "convert it to an 8 or 16 bit gray or RGB image"


@dataclass(frozen=True)
class Params:
    """Values of the pyramids; meaning, unit and source stand in config/config.yaml."""

    coarsest_um: float
    tile: int


@provenance.writes("pyramid")
def run(*, section: Section, image: Path, pyramid: Path, params: Params) -> None:
    """Write the pyramid of one scan, and read it back.

    Parameters
    ----------
    image : the scan: TIFF, PNG or JPEG, gray or RGB, 8 or 16 bits, at `section.spacing_um`.
    pyramid : written.

    Raises
    ------
    InputError
        If the scan cannot be read or is no such image.
    RuntimeError
        If what was written reads back as something else.
    """
    gray = to_gray(read_scan(image), image)
    say(f"section {section.section}: {gray.shape[0]} rows, {gray.shape[1]} columns")
    write_pyramid(gray, pyramid, section.spacing_um, params.coarsest_um, params.tile)
    try:
        verify(gray, pyramid, section.spacing_um)
    except (RuntimeError, InputError):
        pyramid.unlink()
        raise


def read_scan(path: Path) -> NDArray[Any]:
    """The full-resolution image of a TIFF, PNG or JPEG, as it is stored.

    Raises
    ------
    InputError
        If the file is missing, damaged, or of another kind.
    """
    require(path, "correct `image` in config/sections.tsv")
    readers = {
        ".tif": tifffile.imread,
        ".tiff": tifffile.imread,
        ".png": _decoded(imagecodecs.png_decode),
        ".jpg": _decoded(imagecodecs.jpeg_decode),
        ".jpeg": _decoded(imagecodecs.jpeg_decode),
    }
    if path.suffix.lower() not in readers:
        raise InputError(
            f"{path}: {path.suffix or 'no suffix'} is no known kind of image; convert it to one of "
            + ", ".join(readers)
        )
    try:
        return np.asarray(readers[path.suffix.lower()](path))
    except Exception as error:  # any codec's own error type: named and passed on
        raise InputError(f"{path}: not readable ({error}); scan or copy it again") from error


def _decoded(decode: Any) -> Any:
    def read(path: Path) -> NDArray[Any]:
        return np.asarray(decode(path.read_bytes()))

    return read


def to_gray(image: NDArray[Any], path: Path) -> NDArray[Any]:
    """Gray values of a scan.

    Color becomes luma after ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B of the stored (gamma
    encoded) values, rounded; an alpha channel is dropped.

    Parameters
    ----------
    image : (rows, columns) or (rows, columns, 1 to 4 channels), uint8 or uint16.
    path : where it comes from, for the message.
    """
    if image.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{path}: its values are {image.dtype}; {_REMEDY}")
    if image.ndim == 3 and image.shape[2] in (1, 2):
        image = image[..., 0]
    if image.size == 0 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4))):
        raise InputError(f"{path}: its shape is {image.shape}; {_REMEDY}")
    if image.ndim == 2:
        return np.ascontiguousarray(image)
    gray = np.empty(image.shape[:2], image.dtype)
    for row in range(len(gray)):
        # a row at a time: the whole as 32 bits would take four bytes a pixel of a scan
        red, green, blue = (image[row, :, i].astype(np.uint32) * _LUMA[i] for i in range(3))
        gray[row] = (red + green + blue + 500) // 1000
    return gray


def verify(gray: NDArray[Any], pyramid: Path, spacing_um: float) -> None:
    """Read every level back and compare it with what it was made from.

    Some readers and writers lack a codec and give zeros without an error.

    Raises
    ------
    RuntimeError
        If a level differs.
    """
    expected = gray
    with open_pyramid(pyramid, spacing_um) as written:
        for number in range(len(written.levels)):
            if number:
                expected = halve(expected)
            if not np.array_equal(written.read_level(number), expected):
                raise RuntimeError(f"{pyramid}: level {number} does not read back as written")
