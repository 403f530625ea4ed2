"""The digest of each output of a job, kept beside it, to notice later damage in any format.

Those of `B01.npy` are in `.digests/B01.npy.sha256`, in the form of the program sha256sum. An output
that is a folder has one line for each of its files.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from cytopipe.files import atomic_write

_FOLDER = ".digests"
# describe a Zarr; its other files are chunks, which may be many and large
ZARR = (".zattrs", ".zgroup", ".zarray", ".zmetadata", "zarr.json")


def of_file(path: Path) -> str:
    """SHA-256 of a file, which is read in pieces."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def of_listing(folder: Path) -> str:
    """SHA-256 of the names and sizes of all files in a folder, and of what Zarr's metadata say."""
    digest = hashlib.sha256()
    for place, folders, names in os.walk(folder):
        folders.sort()
        # without others that begin with a dot, such as .DS_Store
        listed = sorted(name for name in names if name[0] != "." or name in ZARR)
        sizes = [f"{name}\0{Path(place, name).stat().st_size}" for name in listed]
        digest.update("\0".join([os.path.relpath(place, folder), *sizes, ""]).encode())
        for name in filter(listed.__contains__, ZARR):
            digest.update(Path(place, name).read_bytes())
    return digest.hexdigest()


def write(outputs: Iterable[Path]) -> None:
    """Keep the digests of the outputs of a job that succeeded; it may have written only some."""
    for output in filter(Path.exists, outputs):
        lines = [
            f"{of_file(path)}  ../{path.relative_to(output.parent)}" for path in _files(output)
        ]
        with atomic_write(_kept(output)) as beside:
            beside.write_text("".join(f"{line}\n" for line in lines))


def read(output: Path) -> dict[Path, str]:
    """The digests of the files of an output when its job ended; {} if it has none."""
    kept = _kept(output)
    lines = kept.read_text().splitlines() if kept.exists() else []
    return {output.parent / line[len("../") + 66 :]: line[:64] for line in lines}


def differs(path: Path) -> str:
    """The message about a file of an output that has another digest than when its job ended."""
    return (
        f"{path}: differs from what its job wrote; delete it and start snakemake again. If the "
        f"change was intended, delete {_kept(path)} instead; corrections belong in manual/"
    )


def outputs_under(folder: Path) -> Iterator[Path]:
    """The outputs in a folder and below it whose digests are kept, existing or not."""
    for kept in sorted(folder.rglob(f"{_FOLDER}/*.sha256")):
        yield kept.parents[1] / kept.name.removesuffix(".sha256")


def _kept(output: Path) -> Path:
    return output.parent / _FOLDER / f"{output.name}.sha256"


def _files(output: Path) -> list[Path]:
    if output.is_file():
        return [output]
    return sorted(path for path in output.rglob("*") if path.is_file() and path.name[0] != ".")
