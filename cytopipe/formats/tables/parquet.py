"""How a table is declared, read and written: the class of a row says all about the columns."""

import hashlib
import mmap
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cytopipe import provenance
from cytopipe.files import InputError, atomic_write, reading, require
from cytopipe.numerics.geometry import ImageRight

_DTYPES: dict[Any, str] = {
    str: "str",
    ImageRight: "str",
    int: "int64",
    float: "float64",
    bool: "bool",
}
# the key, in the file's own metadata, of the SHA-256 of the file with zeros in place of the digest.
# Parquet's checksums of pages cover neither the footer nor the headers of pages
_SEAL = b"cytopipe_sha256"
_UNSEALED = b"0" * 64
# between key and digest, in the encoding of the footer (Thrift): the field's type and its length
_GAP = 2
# the provenance in a damaged file, which cannot be parsed
_COMMAND = re.compile(rb'"command":"([a-z-]+)"')


class Row:
    """A row of a table; its subclasses are frozen dataclasses that declare the columns.

    Each field is one column, in the order in which it is written. Its annotation is
    `Annotated[type, meaning]`, or `Annotated[type, unit, meaning]` where the column has a unit.
    """

    __slots__ = ()


RowType = TypeVar("RowType", bound=Row)


@dataclass(frozen=True)
class Column:
    """One column: its pandas dtype, unit ("" for none) and meaning."""

    name: str
    dtype: str
    unit: str
    meaning: str


def columns(kind: type[Row]) -> tuple[Column, ...]:
    """The columns of a table, in the order in which they are written."""
    declared = []
    for field in fields(kind):  # type: ignore[arg-type]
        *unit, meaning = field.type.__metadata__  # type: ignore[union-attr]
        dtype = _DTYPES[field.type.__origin__]  # type: ignore[union-attr]
        declared.append(Column(field.name, dtype, "".join(unit), meaning))
    return tuple(declared)


def title(kind: type[Row]) -> str:
    """What the rows are, in words: "layer patch" for `LayerPatchRow`."""
    return " ".join(re.findall("[A-Z][a-z]+", kind.__name__)[:-1]).lower()


def names(kind: type[Row]) -> list[str]:
    """The names of a table's columns, in order."""
    return [column.name for column in columns(kind)]


def conform(kind: type[Row], frame: pd.DataFrame) -> pd.DataFrame:
    """Return `frame` with exactly the table's columns, order and dtypes.

    Raises
    ------
    ValueError
        If a column is missing, unknown, or holds a value its dtype cannot.
    """
    missing = [name for name in names(kind) if name not in frame]
    unknown = [name for name in frame if name not in names(kind)]
    if missing or unknown:
        raise ValueError(f"{title(kind)} table: missing columns {missing}, unknown {unknown}")
    return frame[names(kind)].astype({c.name: c.dtype for c in columns(kind)})


def frame_of(kind: type[RowType], rows: Sequence[RowType]) -> pd.DataFrame:
    """Rows as a DataFrame."""
    values = {name: [getattr(row, name) for row in rows] for name in names(kind)}
    return conform(kind, pd.DataFrame(values))


def rows_of(kind: type[RowType], frame: pd.DataFrame) -> list[RowType]:
    """The rows of a DataFrame of this table, with Python's own types."""
    values = (frame[name].tolist() for name in names(kind))
    return [kind(*row) for row in zip(*values, strict=True)]


def write(kind: type[Row], frame: pd.DataFrame, path: Path) -> None:
    """Write a DataFrame as a parquet file of this table, whole or not at all."""
    arrow = pa.Table.from_pandas(conform(kind, frame), preserve_index=False)
    metadata = {**arrow.schema.metadata, **provenance.entry(), _SEAL: _UNSEALED}
    arrow = arrow.replace_schema_metadata(metadata)
    with atomic_write(path) as beside:
        pq.write_table(arrow, beside, write_page_checksum=True)
        with beside.open("rb+") as file, mmap.mmap(file.fileno(), 0) as content:
            start, digest = _seal(content)
            content[start : start + len(digest)] = digest


def write_rows(kind: type[RowType], rows: Sequence[RowType], path: Path) -> None:
    """Write rows as a parquet file of this table, whole or not at all."""
    write(kind, frame_of(kind, rows), path)


def read(kind: type[Row], path: Path) -> pd.DataFrame:
    """Read a parquet file of this table as a DataFrame; for tables of many rows.

    Raises
    ------
    InputError
        If the file is missing, not parquet, not this table, or has changed since it was written.
    """
    require(path, "run the stage that writes it")
    with reading(path, f"{title(kind)} table", "delete it and rerun"):
        check_unchanged(path)
        # without threads: where memory is short, Arrow waits for ever for one that did not start
        file = pq.ParquetFile(path, page_checksum_verification=True)
        return conform(kind, file.read(use_threads=False).to_pandas(use_threads=False))


def read_rows(kind: type[RowType], path: Path) -> list[RowType]:
    """Read a parquet file of this table as rows; for tables of one row per section, pair or brain.

    Raises
    ------
    InputError
        If the file is missing, not parquet, or not this table.
    """
    return rows_of(kind, read(kind, path))


def _seal(content: mmap.mmap) -> tuple[int, bytes]:
    """Where a file has its digest, and the digest that it should have; (0, b"") if it has none."""
    key = content.rfind(_SEAL)
    if key < 0:
        return 0, b""
    start = key + len(_SEAL) + _GAP
    with memoryview(content) as view:
        digest = hashlib.sha256(view[:start])
        digest.update(_UNSEALED)
        digest.update(view[start + len(_UNSEALED) :])
    return start, digest.hexdigest().encode()


def check_unchanged(path: Path) -> bool:
    """Compare a file with the digest that it contains; False if another program wrote it without.

    Raises
    ------
    InputError
        If the file has changed since it was written.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start, digest = _seal(content)
        if content[start : start + len(digest)] != digest:
            command = _COMMAND.search(content)
            rule = command[1].decode().replace("-", "_") if command else ""
            remedy = (
                f"start snakemake: its rule {rule} writes it again" if rule else "write it again"
            )
            raise InputError(f"{path}: has changed since it was written; delete it and {remedy}")
    return bool(digest)
