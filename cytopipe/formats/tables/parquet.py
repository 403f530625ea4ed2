"""How a table is declared, read and written: the class of a row says all about the columns."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cytopipe import provenance
from cytopipe.files import InputError, atomic_write, require
from cytopipe.numerics.geometry import ImageRight

_DTYPES: dict[Any, str] = {
    str: "str",
    ImageRight: "str",
    int: "int64",
    float: "float64",
    bool: "bool",
}


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
    arrow = arrow.replace_schema_metadata({**arrow.schema.metadata, **provenance.entry()})
    with atomic_write(path) as beside:
        pq.write_table(arrow, beside)


def write_rows(kind: type[RowType], rows: Sequence[RowType], path: Path) -> None:
    """Write rows as a parquet file of this table, whole or not at all."""
    write(kind, frame_of(kind, rows), path)


def read(kind: type[Row], path: Path) -> pd.DataFrame:
    """Read a parquet file of this table as a DataFrame; for tables of many rows.

    Raises
    ------
    InputError
        If the file is missing, not parquet, or not this table.
    """
    require(path, "run the stage that writes it")
    try:
        # without threads: where memory is short, Arrow waits for ever for one that did not start
        arrow = pq.ParquetFile(path).read(use_threads=False)
        return conform(kind, arrow.to_pandas(use_threads=False))
    except (ValueError, OSError) as error:
        raise InputError(
            f"{path}: not a {title(kind)} table ({error}); delete it and rerun"
        ) from error


def read_rows(kind: type[RowType], path: Path) -> list[RowType]:
    """Read a parquet file of this table as rows; for tables of one row per section, pair or brain.

    Raises
    ------
    InputError
        If the file is missing, not parquet, or not this table.
    """
    return rows_of(kind, read(kind, path))
