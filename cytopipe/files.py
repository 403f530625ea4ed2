"""Atomic writing: a file is complete or absent."""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

# name of an unfinished file or folder: the process that writes it, and the final name
_UNFINISHED = re.compile(r"\.(\d+)-.+")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# numpy's message when a disk is full
_SHORT = re.compile(r"\d+ requested and \d+ written")


# marks a path that a stage writes; every other path in a signature is an input
WRITTEN = "written"
Output = Annotated[Path, WRITTEN]


class InputError(ValueError):
    """An error that a person can correct; the message names the file, the value and the remedy."""


def rerun_of(path: Path) -> str:
    """How a damaged result is made again, by its place under results/; "" for another file."""
    folders = path.parts[:-1]
    if "results" not in folders[:-1]:
        return ""
    stage = folders[folders.index("results") + 1]
    return f"delete it and run snakemake again: the stage {stage} writes it"


@contextmanager
def reading(path: Path, kind: str, remedy: str = "save or copy it again") -> Iterator[None]:
    """Turn whatever a library raises about a damaged file into an InputError with the remedy.

    Parameters
    ----------
    kind : what the file should be, for the message: "NIfTI file".
    remedy : for a file of a person; results have that of `rerun_of`.
    """
    try:
        yield
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path}: too large for the memory; use a larger machine") from error
    except Exception as error:  # each library has its own error types
        lines = str(error).strip().splitlines() or [type(error).__name__]
        remedy = rerun_of(path) or remedy
        raise InputError(f"{path}: not a readable {kind} ({lines[-1]}); {remedy}") from error


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block succeeds.

    The temporary name contains all suffixes of `path` (writers choose a format by suffix) and the
    process id, so that two processes never write the same file. `sweep` removes those of killed
    processes.

    Raises
    ------
    FileNotFoundError
        If the block did not write the file.
    InputError
        If the folder cannot be written or the disk is full.
    """
    _writable(path.parent)
    beside = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        with full_disk_named(path):
            yield beside
            with open(beside, "rb+") as written:
                os.fsync(written.fileno())
            os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, replace: bool) -> Iterator[Path]:
    """Yield a new folder beside `path`; rename it to `path` when the block succeeds.

    Parameters
    ----------
    replace : delete an earlier folder `path` at the end. Otherwise `path` must be new or empty.

    Raises
    ------
    InputError
        If `path` must not be replaced, if the folder cannot be written, or if the disk is full.
    """
    if not replace and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path}: already exists and is not empty; remove it or choose another")
    _writable(path.parent)
    beside = path.with_name(f".{os.getpid()}-{path.name}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        with full_disk_named(path):
            yield beside
        if replace and path.exists():
            shutil.rmtree(path)
        os.replace(beside, path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def full_disk_named(path: Path) -> Iterator[None]:
    """Turn the errors of a full disk into an InputError that names `path`."""
    try:
        yield
    except Exception as error:
        # some libraries only pass on the message of the system
        full = [os.strerror(number) for number in _NO_ROOM if os.strerror(number) in str(error)]
        full += _SHORT.findall(str(error))
        if full:
            raise InputError(
                f"{path}: could not be written ({full[0]}); make room on that disk (or raise the "
                "quota) and start again: finished results are not lost"
            ) from error
        raise


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """Yield a new folder inside `folder` and remove it after the block."""
    _writable(folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{os.getpid()}-") as inside:
        yield Path(inside)


def reserve(path: Path) -> None:
    """Allocate the blocks of a file before it is written through a memory map.

    Otherwise a full disk would kill the process (SIGBUS) without a message.

    Raises
    ------
    OSError
        If the disk is full.
    """
    with path.open("rb+") as file:
        if size_bytes := os.fstat(file.fileno()).st_size:
            os.posix_fallocate(file.fileno(), 0, size_bytes)


def sweep(folder: Path) -> list[Path]:
    """Delete unfinished files of killed processes under `folder`; return their paths.

    To be called when no stage is running, such as at the start of a run that holds the study's
    lock. Files of processes that are alive on this host are kept.
    """
    swept = []
    for place, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            unfinished = _UNFINISHED.fullmatch(name)
            if unfinished and not _is_alive(int(unfinished[1])):
                path = Path(place, name)
                if name in folders:
                    folders.remove(name)
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
                swept.append(path)
    return sorted(swept)


def shipped(name: str) -> Path:
    """Where a file or folder lies that a study needs from the repository, such as `Snakefile`.

    A clone has them beside the package. An installed wheel has them inside it, in the folder
    `shipped`, where setup.py puts them.
    """
    package = Path(__file__).parent
    inside = package / "shipped"
    return (inside if inside.is_dir() else package.parent) / name


def require(path: Path, remedy: str) -> Path:
    """Return `path`, or raise an InputError with the remedy if it does not exist."""
    if not path.exists():
        raise InputError(f"{path}: not found; {remedy}")
    return path


def _writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, "read-only, or owned by someone else")
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise InputError(
            f"{folder}: cannot be written ({error.strerror}); allow writing there and start again: "
            "finished results are not lost"
        ) from error


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it belongs to another user
        return True
    return True
