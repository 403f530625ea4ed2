"""What a pyramid needs to know of a file, whatever its format; and damage, named."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cytopipe.files import InputError

SHEET = "config/sections.tsv"
COPY_AGAIN = "; scan or copy it again"
# OME-XML writers use both characters of the micro sign; OME-Zarr spells units out
UNIT_UM = {
    "µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "inch": 25400.0,
    "nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "centimeter": 1e4, "meter": 1e6,
}  # fmt: skip


@dataclass(frozen=True)
class Box:
    """Part of a level: first row and column, rows and columns."""

    row: int
    column: int
    height: int
    width: int


@dataclass(frozen=True)
class StoredLevel:
    """A level as its file holds it.

    Attributes
    ----------
    height, width : rows and columns.
    segment : rows and columns that are decoded at once: a tile, a strip, a chunk.
    codec : how they are compressed, for people.
    spacing_um : pixel size that the file states, None where it states none.
    """

    height: int
    width: int
    segment: tuple[int, int]
    codec: str
    spacing_um: float | None


class Store(Protocol):
    """An open file.

    Attributes
    ----------
    format : for people, such as "OME-TIFF".
    levels : level 0 (full resolution) first.
    dtype : uint8 or uint16.
    channels : 1 or 3 (red, green, blue).
    white_is_zero : gray values run from white to black.
    spacing_um : pixel size along X and Y in um, as far as the file's metadata give one in a unit
        of length that is meant to be true.
    """

    path: Path
    format: str
    levels: list[StoredLevel]
    dtype: np.dtype[Any]
    channels: int
    white_is_zero: bool
    spacing_um: dict[str, float]

    def read(self, level: int, box: Box) -> tuple[NDArray[Any], list[Box]]:
        """Pixels of a box as stored, (rows, columns) or (rows, columns, 3).

        Second: the segments in it that the file does not hold, filled with a value of its choice.
        """
        ...

    def check_complete(self) -> list[tuple[int, Box]]:
        """Raise InputError if bytes are missing; segments that the file does not hold, by level."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


@contextmanager
def damage_named(what: str, remedy: str = "") -> Iterator[None]:
    """InputError of whatever a damaged or missing file makes the codecs raise.

    What says nothing about the file passes: too little memory, a file system that fails.
    """
    try:
        yield
    except (MemoryError, InputError):
        raise
    except Exception as error:  # any codec's own error type: named and passed on
        # a damaged offset makes the read invalid; libraries raise OSError without a number
        of_file = (None, errno.ENOENT, errno.EINVAL)
        if isinstance(error, OSError) and error.errno not in of_file:
            raise
        raise InputError(f"{what} ({error}){remedy}") from error
