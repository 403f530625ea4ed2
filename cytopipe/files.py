"""Whole or absent: every artifact is written beside its final name and renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class InputError(ValueError):
    """Something a person can correct; the message names the file, the value and the remedy."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block succeeds.

    The temporary name keeps all suffixes of `path` (writers choose a format by suffix) and the
    process id, so that two processes never write into one another's file.

    Raises
    ------
    FileNotFoundError
        If the block did not write the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        yield beside
        with open(beside, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def require(path: Path, remedy: str) -> Path:
    """Return `path`, or raise InputError with what to do if it is not there."""
    if not path.exists():
        raise InputError(f"{path}: not found; {remedy}")
    return path
