"""Rows and tables for tests that need only some of their columns."""

from typing import Any

import pandas as pd

from cytopipe.formats import tables

NOTHING = {"str": "", "int64": 0, "float64": 0.0, "bool": False}


def row(kind: type[tables.RowType], **values: Any) -> tables.RowType:
    """A row whose other columns are 0 or empty."""
    return kind(**(_nothing(kind) | values))


def filled(kind: type[tables.Row], frame: pd.DataFrame) -> pd.DataFrame:
    """A table with the columns of `frame`; the others are 0 or empty."""
    missing = {name: value for name, value in _nothing(kind).items() if name not in frame}
    return tables.conform(kind, frame.assign(**missing))


def _nothing(kind: type[tables.Row]) -> dict[str, Any]:
    return {column.name: NOTHING[column.dtype] for column in tables.columns(kind)}
