"""Whether the files that a job reads change while it runs.

Identity, size and time are compared. For a folder, such as an OME-Zarr, these are the times of its
folders and of its metadata: a chunk that is overwritten in place is not noticed.
"""

import csv
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from cytopipe import digests
from cytopipe.files import InputError, reading

# columns of tables of patches that name files
_COLUMNS = ("image", "mask", "cells")

State = tuple[Any, ...] | None


def read_by(values: Iterable[Any]) -> Iterator[Path]:
    """The files among the arguments of a stage, and those that its rows and tables name."""
    for value in values:
        if isinstance(value, Path):
            yield value
            yield from _named_in(value)
        elif isinstance(value, Mapping):
            yield from read_by(value.values())
        elif isinstance(value, Sequence) and not isinstance(value, str):
            yield from read_by(value)
        elif is_dataclass(value) and isinstance(image := getattr(value, "image", None), str):
            yield from [Path(image)] * bool(image)


def state(path: Path) -> State:
    """What changes with a file or folder; None if it does not exist."""
    try:
        status = path.stat()
        if not path.is_dir():
            return status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns
        times = []
        for place, _, names in os.walk(path):
            seen = [Path(place), *(Path(place, name) for name in names if name in digests.ZARR)]
            times += [(str(each), each.stat().st_mtime_ns) for each in seen]
        return len(times), tuple(sorted(times)), 0, 0
    except OSError:
        return None


def has_changed(before: State, after: State) -> bool:
    """Whether a file is another one, or has another content.

    A number that identifies a file is new after it was replaced, and so is the time of its last
    change of any kind. Either alone says nothing: some network file systems give new numbers to
    files that nobody touched, and a new hard link to a file changes this time.
    """
    if before is None or after is None:
        return before != after
    return before[:2] != after[:2] or (before[2] != after[2] and before[3] != after[3])


def _named_in(table: Path) -> Iterator[Path]:
    """The images, masks and cells that a table lists; nothing if it cannot be read."""
    try:
        with reading(table, "table"):
            cells = _cells(table)
    except InputError:  # the stage reports what is wrong with it
        return
    yield from map(Path, filter(None, cells))


def _cells(table: Path) -> list[Any]:
    if table.suffix == ".parquet":
        import pyarrow.parquet as pq

        names = [name for name in pq.read_schema(table).names if name in _COLUMNS]
        columns = pq.ParquetFile(table).read(names).columns if names else []
        return [cell for column in columns for cell in column.unique().to_pylist()]
    if table.suffix == ".tsv":
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        return [table.parent / row[name] for row in rows for name in _COLUMNS if row.get(name)]
    return []
