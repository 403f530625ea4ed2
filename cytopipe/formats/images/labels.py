"""Label images: pages of a TIFF."""

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from cytopipe import provenance
from cytopipe.files import require, whole
from cytopipe.formats.images.store import damage_named


def write_labels(pages: list[NDArray[np.uint8]], path: Path) -> None:
    """Write label images, a page each, of any sizes; an unusable section is a 1 x 1 page of 0."""
    with whole(path) as beside, tifffile.TiffWriter(beside, bigtiff=True) as tif:
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
    with damage_named(
        f"{path}: page {page} is not readable", "; delete it and rerun the segmentation"
    ):
        return np.asarray(tifffile.imread(path, key=page), np.uint8)
