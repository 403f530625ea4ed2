"""Tiled pyramids of scans that cannot be read in place.

These are files of slide scanners, scans without levels or in strips, PNG and JPEG files, and scans
with a dark background.
CytoNet (section 3.2) reads scans at 64 um and patches at 2 um, which needs both levels and tiles.
Scans are copied band by band. Only those that cannot be decoded in parts (PNG, JPEG, a TIFF with a
single compressed strip) are read into memory as a whole.
"""

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytopipe import provenance
from cytopipe.files import InputError, Output
from cytopipe.formats.downsampling import ReadWindow
from cytopipe.formats.images import invert, open_pyramid
from cytopipe.formats.images.pyramid import Pyramid, open_reader
from cytopipe.formats.pyramid_writer import checksum, write_pyramid_by_windows
from cytopipe.logs import info
from cytopipe.study.config import Pyramids
from cytopipe.study.sections import Section

VERSION = 3

# a bound of memory for a band of whole rows of tiles of both the scan and the copy
_BAND_BYTES = 2**28


@provenance.recorded
def run(*, section: Section, image: Path, pyramid: Output, params: Pyramids) -> None:
    """Write the pyramid of one scan and read it back.

    Parameters
    ----------
    image : the scan, in any format of docs/images.md, at `section.spacing_um`.
    pyramid : written: gray, always with a bright background.

    Raises
    ------
    InputError
        If the scan cannot be read, is not a gray or RGB image, states another pixel size than the
        section, or has parts that are too large to decode.
    RuntimeError
        If the pyramid does not read back as written.
    """
    with open_reader(image, section.background == "dark") as reader:
        description = reader.description
        description.check_spacing(section.spacing_um)
        description.check_segments()
        scan = Pyramid(reader, section.spacing_um)
        shape = scan.levels[0].height, scan.levels[0].width
        size = f"{shape[0]} rows, {shape[1]} columns"
        info(f"section {section.section}: {size}, {description.format}")
        segment_rows, is_dark = description.levels[0].segment[0], section.background == "dark"
        checksums = write_pyramid_by_windows(
            read_by_bands(scan, segment_rows, params.tile, is_dark),
            shape,
            pyramid,
            section.spacing_um,
            params.coarsest_um,
            params.tile,
            scan.dtype,
            params.exact_um,
        )
    try:
        verify(pyramid, section.spacing_um, checksums, params.tile)
    except (RuntimeError, InputError):
        pyramid.unlink()
        raise


def read_by_bands(scan: Pyramid, segment_rows: int, tile: int, dark: bool) -> ReadWindow:
    """Read windows of the full resolution from a band, which is kept until another one is needed.

    A band consists of whole rows of the scan's tiles or strips, of height `segment_rows`, so each
    of them is decoded once. Where that would exceed the bound of memory, those that two bands share
    are decoded twice. A `dark` scan is inverted.
    """
    full = scan.levels[0]
    band_rows = math.lcm(tile, segment_rows)
    if band_rows * full.width * np.dtype(scan.dtype).itemsize > _BAND_BYTES:
        band_rows = tile * math.ceil(segment_rows / tile)
    bands: dict[int, NDArray[Any]] = {}  # only the current band, by its first row

    def read_window(row: int, column: int, rows: int, columns: int) -> NDArray[Any]:
        start = row // band_rows * band_rows
        if start not in bands:
            bands.clear()
            band = scan.read_window(0, start, 0, min(band_rows, full.height - start), full.width)
            bands[start] = invert(band) if dark else band
        return bands[start][row - start : row - start + rows, column : column + columns]

    return read_window


def verify(pyramid: Path, spacing_um: float, checksums: list[int], tile: int) -> None:
    """Raise RuntimeError if a tile of a level does not read back as written.

    Some readers and writers lack a codec and produce zeros without an error.
    """
    with open_pyramid(pyramid, spacing_um) as written:
        if len(written.levels) != len(checksums):
            raise RuntimeError(f"{pyramid}: {len(written.levels)} of {len(checksums)} levels")
        for number, (level, expected) in enumerate(zip(written.levels, checksums, strict=True)):
            read_window = partial(written.read_window, number)
            if checksum(read_window, (level.height, level.width), tile) != expected:
                raise RuntimeError(f"{pyramid}: level {number} does not read back as written")
