"""Label images: the pages of one TIFF."""

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from cytopipe import provenance
from cytopipe.files import atomic_write, require
from cytopipe.formats.images.reader import input_error_on_damage


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
    with input_error_on_damage(
        f"{path}: page {page} is not readable", "; delete it and rerun the segmentation"
    ):
        return np.asarray(tifffile.imread(path, key=page), np.uint8)
