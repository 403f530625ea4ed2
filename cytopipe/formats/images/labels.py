"""Label images: those that the workflow writes, and those that people draw."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from cytopipe import provenance
from cytopipe.files import InputError, atomic_write, require
from cytopipe.formats.images.png_jpeg import JPEG_SUFFIXES, PNG_SUFFIXES, read_header
from cytopipe.formats.images.reader import (
    input_error_on_damage,
    refuse_overstated,
    require_upright,
)
from cytopipe.formats.images.tiff_pages import JPEG, open_tiff

_ZSTD_COMPRESSION = 32768  # 4 bytes for a block of 128 kB of one value


def write_labels(pages: list[NDArray[np.uint8]], path: Path) -> None:
    """Write one label image of any size per page; an unusable section is a 1 x 1 page of 0."""
    with atomic_write(path) as beside, tifffile.TiffWriter(beside, bigtiff=True) as tif:
        for number, page in enumerate(pages):
            tif.write(
                page,
                compression="zlib",
                photometric="minisblack",
                metadata=None,
                software=provenance.line() if number == 0 else "",
            )


def read_labels(path: Path, page: int) -> NDArray[np.uint8]:
    """Read one page of a label file.

    Raises
    ------
    InputError
        If the file is missing, damaged, or has no such page.
    """
    require(path, "run the segmentation")
    with (
        input_error_on_damage(
            f"{path}: page {page} is not readable", "; delete it and rerun the segmentation"
        ),
        open_tiff(path) as tif,
    ):
        return np.asarray(_pixels(path, tif.pages[page]), np.uint8)


def read_drawn(path: Path, is_photograph: bool = False) -> NDArray[Any]:
    """Labels, a mask or a patch that a person saved as TIFF or PNG: the values as stored.

    Parameters
    ----------
    is_photograph : JPEG may have changed the values a little; labels may not be changed.

    Returns
    -------
    (rows, columns) for one channel; palettes give their indices.

    Raises
    ------
    InputError
        If the file is missing, unreadable, of several images, changed by JPEG, to be turned or
        inverted before it is shown, or announces more pixels than it can hold.
    """
    require(path, "correct its path where it is named")
    name = path.name.lower()
    with input_error_on_damage(f"{path}: not a readable image", "; save it again"):
        if name.endswith((".tif", ".tiff")):
            with open_tiff(path) as tif:
                planes = max(len(tif.series), len(tif.series[0]))
                if planes > 1:
                    raise InputError(f"{path}: has {planes} planes; save one")
                page = tif.pages[0]
                if page.compression in JPEG and not is_photograph:
                    raise _changed(path)
                require_upright(path, page.tags.valueof("Orientation", 1))
                if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
                    raise InputError(f"{path}: stores white as 0; save it with black as 0")
                return _pixels(path, page)
        from PIL import Image  # only where there are such images: a GPU node may lack Pillow

        scale = 1
        if name.endswith(PNG_SUFFIXES + JPEG_SUFFIXES):
            header = read_header(path)
            require_upright(path, header.orientation)
            refuse_overstated(path, header.decoded_bytes, path.stat().st_size)
            if name.endswith(JPEG_SUFFIXES) and not is_photograph:
                raise _changed(path)
            # Pillow spreads two or four bits over the range from 0 to 255
            scale = {2: 85, 4: 17}.get(header.depth, 1)
        with Image.open(path) as image:
            values = np.asarray(image)
            if image.mode == "1":
                return values.astype(np.uint8)
            return values // scale if image.mode == "L" else values


def _changed(path: Path) -> InputError:
    return InputError(f"{path}: JPEG has changed its labels; save it as PNG, or without JPEG")


def _pixels(path: Path, page: Any) -> NDArray[Any]:
    """The pixels of a page of a TIFF, unless it announces more than the file can hold."""
    stored_bytes = path.stat().st_size
    refuse_overstated(path, page.nbytes, stored_bytes, _ZSTD_COMPRESSION)
    if max(page.databytecounts, default=0) > stored_bytes:
        raise ValueError("is truncated")
    return np.asarray(page.asarray())
