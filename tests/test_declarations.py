"""What brains.tsv declares, and gaps in a stack."""

from pathlib import Path

import pytest
from table_rows import row

from cytopipe.files import InputError
from cytopipe.formats.tables import SegmentationRow, StackRow
from cytopipe.reconstruction import refuse_gaps, shapes
from cytopipe.study.declarations import Declarations, read_declarations
from cytopipe.study.sections import read_brains


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(line.replace(" | ", "\t") for line in lines), encoding="utf-8")
    return path


def test_declarations_of_brains(tmp_path: Path) -> None:
    table = write(
        tmp_path / "brains.tsv",
        "brain | role | hemispheres | cuts",
        "B01 | seen | right | 120, 480",
        "B02 | seen",
    )
    assert read_brains(table) == {"B01": "seen", "B02": "seen"}
    assert read_declarations(table) == {
        "B01": Declarations("right", (120, 480)),
        "B02": Declarations(),
    }
    for line, said in (("B01 | seen | R", "use left, right, both"), ("B01 | seen | left | x", "x")):
        wrong = write(table, "brain | role | hemispheres | cuts", line)
        with pytest.raises(InputError, match=f"line 2: .*{said}"):
            read_declarations(wrong)


def test_a_wide_gap_is_an_error_unless_it_is_declared() -> None:
    sections = [
        shapes.PlacedSection(
            read=lambda: None,  # type: ignore[arg-type, return-value]
            row=row(SegmentationRow, brain="B01", section=number),
            place=row(StackRow, section=number, z_um=number * 20.0),
        )
        for number in (50, 100, 150, 450, 500, 900)
    ]
    refuse_gaps(sections[:3], (), max_gap_mm=2.0)
    with pytest.raises(InputError, match=r"B01: .*150 to 450 \(6\.0 mm\), 500 to 900.*cuts"):
        refuse_gaps(sections, (), max_gap_mm=2.0)
    with pytest.raises(InputError, match=r"section from 500 to 900 \(8\.0 mm\), more"):
        refuse_gaps(sections, (150,), max_gap_mm=2.0)
    refuse_gaps(sections, (150, 900), max_gap_mm=2.0)
    refuse_gaps(sections, (), max_gap_mm=8.0)
