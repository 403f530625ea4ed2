"""Tables hold exactly the columns that they declare."""

from pathlib import Path

import pandas as pd
import pytest

from cytopipe.files import InputError
from cytopipe.formats import tables

TABLES = [table for table in vars(tables).values() if isinstance(table, tables.Table)]
TRUTH_ROW = {"metric": "dice", "brain": "B01", "value": 0.9, "unit": "", "goal": "", "met": ""}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_table_is_written_and_read_empty(table: tables.Table, tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    tables.write(table, table.empty(), path)
    found = tables.read(table, path)
    assert list(found) == table.names
    assert len(set(table.names)) == len(table.names)
    assert [str(kind) for kind in found.dtypes] == [column.dtype for column in table.columns]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_unit_in_the_name_is_the_unit_of_the_column(table: tables.Table) -> None:
    endings = {"_um": "um", "_mm": "mm", "_mm2": "mm2", "_mm3": "mm3", "_rad": "rad", "_deg": "deg"}
    for column in table.columns:
        assert column.meaning
        for ending, unit in endings.items():
            if column.name.endswith(ending) and not column.name.endswith(f"per{ending}"):
                assert column.unit == unit, column.name


def test_a_column_too_many_or_too_few_is_refused() -> None:
    frame = pd.DataFrame([TRUTH_ROW])
    with pytest.raises(ValueError, match=r"missing columns \['met'\], unknown \[\]"):
        tables.TRUTH.conform(frame.drop(columns="met"))
    with pytest.raises(ValueError, match=r"unknown \['more'\]"):
        tables.TRUTH.conform(frame.assign(more=1))


def test_order_and_dtype_are_the_tables(tmp_path: Path) -> None:
    frame = pd.DataFrame([TRUTH_ROW])[["met", *tables.TRUTH.names[:-1]]].assign(value=1)
    tables.write(tables.TRUTH, frame, tmp_path / "a.parquet")
    found = tables.read(tables.TRUTH, tmp_path / "a.parquet")
    assert list(found) == tables.TRUTH.names
    assert found["value"].dtype == "float64"


def test_equal_tables_have_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        tables.write(tables.TRUTH, pd.DataFrame([TRUTH_ROW]), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_another_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.parquet: not found; run the stage"):
        tables.read(tables.TRUTH, tmp_path / "absent.parquet")
    (tmp_path / "text.parquet").write_text("no parquet")
    with pytest.raises(InputError, match=r"text\.parquet: not a truth table"):
        tables.read(tables.TRUTH, tmp_path / "text.parquet")
    tables.write(tables.TRUTH, tables.TRUTH.empty(), tmp_path / "truth.parquet")
    with pytest.raises(InputError, match=r"truth\.parquet: not a scores table .*'run'"):
        tables.read(tables.SCORES, tmp_path / "truth.parquet")
