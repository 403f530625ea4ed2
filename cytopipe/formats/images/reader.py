"""What every reader of an image format offers, and how damaged files are reported."""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from cytopipe.files import InputError
from cytopipe.formats.images.description import ImageDescription

COPY_AGAIN = "; scan or copy it again"
# A damaged offset makes a read invalid, and libraries raise OSError without a number. The others
# are a person's to correct.
_ABOUT_THE_FILE = (
    None, errno.ENOENT, errno.EINVAL, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR,
    errno.ELOOP, errno.ENAMETOOLONG,
)  # fmt: skip
# deflate ends at 1032 (zlib's documentation); progressive JPEG with colors halved both ways, one
# bit for each block of 64 pixels, at 1024
_MOST_COMPRESSION = 1032
# of the pixels of the largest image; a level stored as an image of its own has at most a quarter
_ALSO_A_SCAN = 0.5
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

    def missing_segments(self, most: int) -> list[tuple[int, Region]]:
        """Level and region of segments that the file leaves out, up to `most` in each level.

        If there are more, they are spread evenly over the level.

        Raises
        ------
        InputError
            If the file is truncated.
        """
        ...

    def is_empty(self) -> bool:
        """Whether the file leaves out all segments of all levels."""
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
        if isinstance(error, OSError) and error.errno not in _ABOUT_THE_FILE:
            raise
        reason = str(error) or type(error).__name__
        raise InputError(f"{message} ({reason:.300}){remedy}") from error


def refuse_overstated(
    path: Path, decoded_bytes: int, stored_bytes: int, compression: int = _MOST_COMPRESSION
) -> None:
    """Raise InputError if the stored bytes cannot decode to as many as the header declares.

    It is called before memory is allocated for them.

    Parameters
    ----------
    compression : bytes that a codec decodes from one byte at most; by default deflate and JPEG.
    """
    if decoded_bytes > compression * stored_bytes:
        raise InputError(
            f"{path}: its header announces {decoded_bytes / 1e6:.0f} MB of pixels, which "
            f"{stored_bytes} bytes cannot hold{COPY_AGAIN}"
        )


def require_upright(path: Path, orientation: object) -> None:
    """Raise InputError unless the pixels are stored as they are to be shown.

    Parameters
    ----------
    orientation : of the tag in TIFF or EXIF; 1 is upright, and by 0 cameras say that they do not
        know.
    """
    if orientation not in (0, 1):
        raise InputError(
            f"{path}: its Orientation tag ({orientation}) asks to turn or mirror it, which some "
            "programs do and others do not; turn the pixels themselves and set the tag to 1"
        )


def choose_scan(path: Path, pixel_counts: Sequence[int]) -> int:
    """The number of the largest image of a file; labels and overviews of the slide are smaller.

    Raises
    ------
    InputError
        If a second one is nearly as large.
    """
    largest, *others = sorted(range(len(pixel_counts)), key=lambda n: -pixel_counts[n])
    if others and pixel_counts[others[0]] > _ALSO_A_SCAN * pixel_counts[largest]:
        raise InputError(
            f"{path}: holds {len(pixel_counts)} images, of which numbers {largest} and {others[0]} "
            f"have {pixel_counts[largest]} and {pixel_counts[others[0]]} pixels, so either may be "
            "the scan; write the scan to a file of its own"
        )
    return largest


def spread(indices: NDArray[Any], most: int) -> NDArray[Any]:
    """At most about `most` of the rows of an array, in even steps."""
    return indices[:: max(1, len(indices) // most)]
