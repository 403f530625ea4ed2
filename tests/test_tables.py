"""Tables hold exactly the columns that they declare."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from table_rows import row

from cytopipe import provenance
from cytopipe.files import InputError, Output
from cytopipe.formats import tables
from cytopipe.formats.tables import (
    CheckRow,
    PairRow,
    Row,
    ScoreRow,
    StackRow,
    TruthRow,
    rigid_columns,
)
from cytopipe.numerics.geometry import Rigid

KINDS = [kind for name, kind in vars(tables).items() if name.endswith("Row") and kind is not Row]
# what the files of existing studies hold: a table's columns in order, text where no dtype is given
SCHEMAS = {
    name: [column.partition(":")[::2] for column in columns]
    for name, *columns in map(
        str.split, (Path(__file__).parent / "table_schemas.txt").read_text().splitlines()
    )
}
TRUTH_ROW = TruthRow("dice", "B01", 0.9, unit="", goal="", met="")


@pytest.mark.parametrize("kind", KINDS, ids=tables.title)
def test_the_schema_is_that_of_existing_studies(kind: type[Row], tmp_path: Path) -> None:
    tables.write_rows(kind, [row(kind)], tmp_path / "table.parquet")
    types = {"large_string": "", "double": "float64", "int64": "int64", "bool": "bool"}
    schema = pq.read_schema(tmp_path / "table.parquet")
    assert SCHEMAS[kind.__name__] == [(field.name, types[str(field.type)]) for field in schema]


@pytest.mark.parametrize("kind", KINDS, ids=tables.title)
def test_rows_come_back_as_they_were_written(kind: type[Row], tmp_path: Path) -> None:
    tables.write_rows(kind, [], tmp_path / "table.parquet")
    assert tables.read_rows(kind, tmp_path / "table.parquet") == []
    tables.write_rows(kind, [row(kind)] * 2, tmp_path / "table.parquet")
    assert tables.read_rows(kind, tmp_path / "table.parquet") == [row(kind)] * 2


@pytest.mark.parametrize("kind", KINDS, ids=tables.title)
def test_a_unit_in_the_name_is_the_unit_of_the_column(kind: type[Row]) -> None:
    endings = {"_um": "um", "_mm": "mm", "_mm2": "mm2", "_mm3": "mm3", "_rad": "rad", "_deg": "deg"}
    for column in tables.columns(kind):
        assert column.meaning
        for ending, unit in endings.items():
            if column.name.endswith(ending) and not column.name.endswith(f"per{ending}"):
                assert column.unit == unit, column.name


def test_a_section_is_placed_where_it_has_a_transform(tmp_path: Path) -> None:
    rigid = Rigid(0.3, 10.0, -20.0, "unmirrored", "stack")
    placed = row(StackRow, mirrored=True, width_um=500.0, **rigid_columns(rigid), status="ok")
    unplaced = replace(placed, **rigid_columns(None))
    tables.write_rows(StackRow, [placed, unplaced], tmp_path / "stack.parquet")
    placed, unplaced = tables.read_rows(StackRow, tmp_path / "stack.parquet")
    assert placed.is_placed and not placed.is_uncertain
    assert placed.placement is not None
    assert (placed.placement.mirrored, placed.placement.width_um) == (True, 500.0)
    assert placed.placement.rigid == rigid
    assert not unplaced.is_placed and unplaced.placement is None
    assert replace(placed, status="uncertain").is_uncertain
    assert not replace(unplaced, status="blank").is_uncertain


def test_a_pair_has_the_inliers_of_the_hand_that_was_chosen() -> None:
    pair = row(PairRow, inliers_plain=3, inliers_mirrored=40, mirrored=True)
    assert (pair.inliers, pair.inliers_other) == (40, 3)
    assert replace(pair, mirrored=False).inliers == 3
    assert replace(pair, **rigid_columns(None)).rigid is None


def test_a_check_that_measured_nothing_has_not_failed() -> None:
    assert row(CheckRow, status="failed").has_failed
    assert not row(CheckRow, status="").has_failed


def test_a_column_too_many_or_too_few_is_refused() -> None:
    frame = tables.frame_of(TruthRow, [TRUTH_ROW])
    with pytest.raises(ValueError, match=r"missing columns \['met'\], unknown \[\]"):
        tables.conform(TruthRow, frame.drop(columns="met"))
    with pytest.raises(ValueError, match=r"unknown \['more'\]"):
        tables.conform(TruthRow, frame.assign(more=1))


def test_order_and_dtype_are_the_tables(tmp_path: Path) -> None:
    frame = tables.frame_of(TruthRow, [TRUTH_ROW]).assign(value=1)
    frame = frame[["met", *tables.names(TruthRow)[:-1]]]
    tables.write(TruthRow, frame, tmp_path / "a.parquet")
    found = tables.read(TruthRow, tmp_path / "a.parquet")
    assert list(found) == tables.names(TruthRow)
    assert found["value"].dtype == "float64"


def test_equal_tables_have_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        tables.write_rows(TruthRow, [TRUTH_ROW], tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_flipped_bit_anywhere_is_reported_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "truth.parquet"
    rows = [replace(TRUTH_ROW, value=0.1 * number, brain=f"B{number}") for number in range(40)]
    tables.write_rows(TruthRow, rows, path)
    content = path.read_bytes()
    reported = 0
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            assert tables.read_rows(TruthRow, path) == rows, place
        except InputError as error:
            assert "truth.parquet" in str(error) and "delete it and" in str(error)
            reported += 1
    # what is read is a flip in the name under which the digest is kept
    assert reported >= len(content) - len("cytopipe_sha256")


def test_checksums_are_those_of_parquet_and_the_digest_covers_the_footer(tmp_path: Path) -> None:
    """Other programs verify the pages, too; a table that another program wrote is read."""
    path = tmp_path / "truth.parquet"
    tables.write_rows(TruthRow, [TRUTH_ROW], path)
    content = path.read_bytes()
    digest = pq.read_metadata(path).metadata[b"cytopipe_sha256"]
    assert digest.decode() == hashlib.sha256(content.replace(digest, b"0" * 64)).hexdigest()
    path.write_bytes(content.replace(b"dice", b"dixe", 1))
    with pytest.raises(OSError, match="CRC checksum"):
        pq.ParquetFile(path, page_checksum_verification=True).read()
    foreign = tmp_path / "foreign.parquet"
    tables.frame_of(TruthRow, [TRUTH_ROW]).to_parquet(foreign)
    assert tables.read_rows(TruthRow, foreign) == [TRUTH_ROW]


def test_damage_names_the_rule_that_writes_the_table(tmp_path: Path) -> None:
    def run_pairs(*, made: Output) -> None:
        tables.write_rows(TruthRow, [TRUTH_ROW], made)

    run_pairs.__module__ = "cytopipe.alignment"
    path = tmp_path / "pairs.parquet"
    provenance.recorded(run_pairs)(made=path)
    path.write_bytes(path.read_bytes().replace(b"dice", b"dixe", 1))
    with pytest.raises(InputError, match="delete it and start snakemake: its rule alignment_pairs"):
        tables.read(TruthRow, path)


def test_another_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.parquet: not found; run the stage"):
        tables.read(TruthRow, tmp_path / "absent.parquet")
    (tmp_path / "text.parquet").write_text("no parquet")
    with pytest.raises(InputError, match=r"text\.parquet: not a readable truth table"):
        tables.read(TruthRow, tmp_path / "text.parquet")
    tables.write_rows(TruthRow, [], tmp_path / "truth.parquet")
    with pytest.raises(InputError, match=r"truth\.parquet: not a readable score table .*'run'"):
        tables.read(ScoreRow, tmp_path / "truth.parquet")
