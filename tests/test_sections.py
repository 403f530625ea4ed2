"""The tables that a lab edits are read, or refused with line, value and remedy."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cytopipe.files import InputError
from cytopipe.study.sections import (
    Section,
    chunk_of,
    needs_pyramid,
    read_brains,
    read_sections,
)

HEAD = "brain\tsection\timage\tspacing_um\tthickness_um\tmirrored\texcluded\tnotes\n"


def sections_file(tmp_path: Path, *rows: str, head: str = HEAD) -> Path:
    path = tmp_path / "sections.tsv"
    path.write_text(head + "".join(row + "\n" for row in rows))
    return path


def test_rows_are_sorted_and_empty_cells_decide_nothing(tmp_path: Path) -> None:
    path = sections_file(
        tmp_path,
        "B02\t15\tb.tif\t1\t20\tyes\tno\ta note",
        "B01\t30\ta.tif\t1.0\t20\t\t\t",
        "B01\t15\tc.tif\t1\t20\tno\tyes\t",
    )
    rows = read_sections(path, brains=["B01", "B02"])
    assert [(s.brain, s.section, s.mirrored, s.excluded) for s in rows] == [
        ("B01", 15, False, True),
        ("B01", 30, None, False),  # None: the workflow decides
        ("B02", 15, True, False),
    ]
    assert [Section(**s.row()) for s in rows] == rows


def test_levels_and_background_decide_whether_a_scan_is_copied(tmp_path: Path) -> None:
    path = sections_file(
        tmp_path,
        "B01\t1\ta.ome.tif\t1\t20\t\t",
        "B01\t2\ta.ome.tif\t1\t20\tno\t",
        "B01\t3\ta.tif\t1\t20\tyes\tbright",
        "B01\t4\ta.ome.zarr\t1\t20\t\t",
        "B01\t5\ta.ome.zarr\t1\t20\tyes\tdark",
        head="brain\tsection\timage\tspacing_um\tthickness_um\tlevels\tbackground\n",
    )
    rows = read_sections(path)
    copied = [needs_pyramid(s.image, s.levels, s.background) for s in rows]
    assert copied == [False, True, False, False, True]
    # a rule's params contain the background of a scan, but not its levels
    assert [set(s.row()) - set(rows[0].row()) for s in rows] == [set()] * 4 + [{"background"}]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("B01\tx\ta.tif\t1\t20\t\t\t", r"line 2: section is 'x'; give a whole number"),
        ("B01\t1.5\ta.tif\t1\t20\t\t\t", r"section is '1.5'; give a whole number"),
        ("B01\t-1\ta.tif\t1\t20\t\t\t", r"section is '-1'"),
        ("B01\t1\ta.tif\t0\t20\t\t\t", r"spacing_um is '0'; give a positive number"),
        ("B01\t1\ta.tif\tnan\t20\t\t\t", r"spacing_um is 'nan'"),
        ("B01\t1\ta.tif\t1\t-20\t\t\t", r"thickness_um is '-20'"),
        ("B01\t1\t\t1\t20\t\t\t", r"brain and image must not be empty"),
        ("B09\t1\ta.tif\t1\t20\t\t\t", r"brain 'B09' is not in brains.tsv; add it"),
        ("B01\t1\ta.tif\t1\t20\tmaybe\t\t", r"mirrored is 'maybe'; use yes or no"),
        ("B01\t1\ta.tif\t1\t20\t\t2\t", r"excluded is '2'; use yes or no"),
        ("B01\t12_1\ta.tif\t1\t20\t\t\t", r"section is '12_1'; give a whole number"),
        ("B01\t1\ta.tif\t0_5\t20\t\t\t", r"spacing_um is '0_5'; give a number"),
        ("B01\t1\t{scan}.tif\t1\t20\t\t\t", r"image is '{scan}.tif'; rename the file"),
        ('B01\t1\t"a.tif\t1\t20\tyes\t\t', r"line 2: its cells cannot be told apart"),
    ],
)
def test_a_bad_row_is_refused(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_sections(sections_file(tmp_path, row), brains=["B01"])


def test_an_unknown_background_is_refused(tmp_path: Path) -> None:
    head = "brain\tsection\timage\tspacing_um\tthickness_um\tbackground\n"
    path = sections_file(tmp_path, "B01\t1\ta.tif\t1\t20\tblack", head=head)
    with pytest.raises(InputError, match="background is 'black'; use one of bright, dark"):
        read_sections(path)


def test_a_section_listed_twice_is_refused(tmp_path: Path) -> None:
    row = "B01\t15\ta.tif\t1\t20\t\t\t"
    with pytest.raises(InputError, match="section 15 of brain B01 is listed twice"):
        read_sections(sections_file(tmp_path, row, row))


def test_a_brain_has_one_thickness(tmp_path: Path) -> None:
    rows = ("B01\t1\ta.tif\t1\t20\t\t\t", "B01\t2\tb.tif\t1\t2\t\t\t")
    with pytest.raises(InputError, match="B01 is 20 at section 1 and 2 at section 2"):
        read_sections(sections_file(tmp_path, *rows))


def test_columns_are_checked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="column 'thickness_um' is missing"):
        read_sections(sections_file(tmp_path, head="brain\tsection\timage\tspacing_um\n"))
    with pytest.raises(InputError, match=r"column 'miror' is unknown; allowed: brain, .*mirrored"):
        read_sections(
            sections_file(tmp_path, head="brain\tsection\timage\tspacing_um\tthickness_um\tmiror\n")
        )
    with pytest.raises(InputError, match=r"sections\.tsv: not found; a study needs it"):
        read_sections(tmp_path / "none" / "sections.tsv")


def test_roles(tmp_path: Path) -> None:
    path = tmp_path / "brains.tsv"
    path.write_text("brain\trole\nB01\tseen\nB03\ttransfer\n")
    assert read_brains(path) == {"B01": "seen", "B03": "transfer"}
    path.write_text("brain\trole\nB01\tscene\n")
    with pytest.raises(InputError, match="role 'scene' is unknown; use one of seen, transfer"):
        read_brains(path)
    path.write_text("brain\trole\nB01\tseen\nB01\tseen\n")
    with pytest.raises(InputError, match="'B01' is listed twice"):
        read_brains(path)


@given(st.integers(0, 99_999), st.integers(1, 5000))
def test_a_chunk_is_named_by_the_first_number_of_its_span(section: int, span: int) -> None:
    chunk = chunk_of(section, span)
    assert len(chunk) == 5
    assert int(chunk) <= section < int(chunk) + span
    assert int(chunk) % span == 0
