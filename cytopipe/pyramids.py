"""A tiled pyramid of a scan that cannot be read in place: without levels, in strips, a PNG or JPEG,
or of a dark ground (CytoNet section 3.2 reads scans at 64 um, patches at 2 um: both need levels and
tiles).

A scan of any size is copied band by band; only what cannot be decoded in parts (PNG, JPEG, a TIFF
of one compressed strip) is held whole.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytopipe import provenance
from cytopipe.files import InputError, Output
from cytopipe.formats.images import inverted, open_pyramid
from cytopipe.formats.images.pyramid import Pyramid, check_spacing, open_store
from cytopipe.formats.images.store import Store
from cytopipe.formats.pyramid_writer import Window, checksum, write_pyramid_by_windows
from cytopipe.logs import say
from cytopipe.study.config import Pyramids
from cytopipe.study.sections import Section

VERSION = 2

# a strip, tile or chunk that decodes to more than this is refused: it is held three times over
_SEGMENT_BYTES = 5 * 10**8
# bands that end where tiles of the scan and of the copy do are taken up to this size
_BAND_BYTES = 2**28


@provenance.recorded
def run(*, section: Section, image: Path, pyramid: Output, params: Pyramids) -> None:
    """Write the pyramid of one scan, and read it back.

    Parameters
    ----------
    image : the scan, of any format of docs/images.md, at `section.spacing_um`.
    pyramid : written: gray; with a bright ground, whatever the scan's.

    Raises
    ------
    InputError
        If the scan cannot be read, is no such image, has another pixel size in its metadata than
        the section, or has parts too large to be decoded.
    RuntimeError
        If what was written reads back as something else.
    """
    with open_store(image) as store:
        check_spacing(store, section.spacing_um)
        check_segments(store)
        scan = Pyramid(store, section.spacing_um)
        shape = scan.levels[0].height, scan.levels[0].width
        say(f"section {section.section}: {shape[0]} rows, {shape[1]} columns, {store.format}")
        checksums = write_pyramid_by_windows(
            banded(scan, store, params.tile, section.background == "dark"),
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


def banded(scan: Pyramid, store: Store, tile: int, dark: bool) -> Window:
    """Windows of the full resolution, cut from a band that is kept until the next row is asked for.

    A band is one or more whole rows of the scan's tiles or strips, so that each is decoded once; if
    their heights do not go together, those that two bands share are decoded twice.

    Parameters
    ----------
    dark : turn gray values round, so that the ground is bright.
    """
    full, (rows, _) = scan.levels[0], store.levels[0].segment
    high = math.lcm(tile, rows)
    if high * full.width * np.dtype(scan.dtype).itemsize > _BAND_BYTES:
        high = tile * math.ceil(rows / tile)
    held: list[tuple[int, NDArray[Any]]] = []

    def window(row: int, column: int, rows: int, columns: int) -> NDArray[Any]:
        start = row // high * high
        if not held or held[0][0] != start:
            held.clear()
            band = scan.read_window(0, start, 0, min(high, full.height - start), full.width)
            held.append((start, inverted(band) if dark else band))
        at = row - start
        return held[0][1][at : at + rows, column : column + columns]

    return window


def check_segments(store: Store) -> None:
    """Raise InputError if a part that can only be decoded whole would not fit into memory."""
    if store.format in ("PNG", "JPEG"):
        return  # the rule's memory is for the whole image
    level = store.levels[0]
    size = math.prod(level.segment) * store.channels * np.dtype(store.dtype).itemsize
    if size > _SEGMENT_BYTES:
        raise InputError(
            f"{store.path}: {level.segment[0]} x {level.segment[1]} px, {size / 1e9:.1f} GB, are "
            f"compressed ({level.codec}) as one piece; write it with tiles, such as `vips tiffsave "
            f"{store.path.name} tiled.tif --tile --compression deflate --bigtiff`, and name that"
        )


def verify(pyramid: Path, spacing_um: float, checksums: list[int], tile: int) -> None:
    """Read every tile of every level back and compare with what went into it.

    Some readers and writers lack a codec and give zeros without an error.

    Raises
    ------
    RuntimeError
        If a level differs.
    """
    with open_pyramid(pyramid, spacing_um) as written:
        if len(written.levels) != len(checksums):
            raise RuntimeError(f"{pyramid}: {len(written.levels)} of {len(checksums)} levels")
        for number, (level, expected) in enumerate(zip(written.levels, checksums, strict=True)):

            def window(*box: int, number: int = number) -> NDArray[Any]:
                return written.read_window(number, *box)

            if checksum(window, (level.height, level.width), tile) != expected:
                raise RuntimeError(f"{pyramid}: level {number} does not read back as written")
