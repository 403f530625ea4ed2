"""What every reader of an image format offers, and how damaged files are reported."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from cytopipe.files import InputError
from cytopipe.formats.images.description import ImageDescription

COPY_AGAIN = "; scan or copy it again"
_Slices = tuple[slice, slice]


@dataclass(frozen=True)
class Region:
    """Part of a level: first row and column, rows and columns."""

    row: int
    column: int
    height: int
    width: int

    def overlap(self, other: "Region") -> tuple[_Slices, _Slices]:
        """Slices that cut the common part out of an array of this region and out of the other's."""
        top, left = max(self.row, other.row), max(self.column, other.column)
        bottom = min(self.row + self.height, other.row + other.height)
        right = min(self.column + self.width, other.column + other.width)
        mine, theirs = (
            (slice(top - it.row, bottom - it.row), slice(left - it.column, right - it.column))
            for it in (self, other)
        )
        return mine, theirs


class ImageReader(Protocol):
    """An open image file."""

    description: ImageDescription

    def read(self, level: int, region: Region) -> tuple[NDArray[Any], list[Region]]:
        """Pixels of a region as stored, and which segments in it are missing from the file.

        The pixels are (rows, columns) or (rows, columns, 3). Where a segment is missing they have
        a value that the reader chooses.
        """
        ...

    def missing_segments(self) -> list[tuple[int, Region]]:
        """Level and region of every segment that the file leaves out.

        Raises
        ------
        InputError
            If the file is truncated.
        """
        ...

    def close(self) -> None:
        """Close the file."""
        ...


@contextmanager
def input_error_on_damage(message: str, remedy: str = "") -> Iterator[None]:
    """Raise InputError for whatever a codec raises on a damaged or missing file.

    Errors that say nothing about the file pass through: too little memory, a failing file system.
    """
    try:
        yield
    except (MemoryError, InputError):
        raise
    except Exception as error:  # every codec has its own type of error
        # a damaged offset makes the read invalid; libraries raise OSError without a number
        about_the_file = (None, errno.ENOENT, errno.EINVAL)
        if isinstance(error, OSError) and error.errno not in about_the_file:
            raise
        raise InputError(f"{message} ({error}){remedy}") from error
