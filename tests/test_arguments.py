"""Arguments of a stage's `run` from what a rule holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cytopipe import arguments
from cytopipe.files import Output


@dataclass(frozen=True)
class Params:
    spacing_um: float


@dataclass(frozen=True)
class Row:
    section: int


def run(
    *,
    brain: str,
    scans: Sequence[Path],
    mask: Path | None,
    surfaces: dict[str, Path],
    layers: Mapping[str, Sequence[Path]],
    rows: list[Row],
    table: Output,
    maps: dict[str, Output],
    params: Params,
    workers: int = 1,
) -> None: ...


def rule(**changes: Any) -> dict[str, Any]:
    return {
        "scans": ["a.tif", "b.tif"],
        "mask": [],
        "surfaces": ["left.gii", "right.gii"],
        "layers": ["1", "2", "3", "4"],
        "rows": [{"section": 15}],
        "table": "t.parquet",
        "maps": ["l", "r"],
        "params": {"spacing_um": 64},
        "version": 3,
        "keyed_by": ["L", "R"],
        **changes,
    }


JOB = {"brain": "B01", "chunk": "00480", "threads": 2}


def test_values_get_the_types_of_the_signature() -> None:
    assert arguments.of_rule(run, rule(), JOB) == {
        "brain": "B01",
        "scans": [Path("a.tif"), Path("b.tif")],
        "mask": None,
        "surfaces": {"L": Path("left.gii"), "R": Path("right.gii")},
        "layers": {"L": [Path("1"), Path("2")], "R": [Path("3"), Path("4")]},
        "rows": [Row(15)],
        "table": Path("t.parquet"),
        "maps": {"L": Path("l"), "R": Path("r")},
        "params": Params(64),
        "workers": 2,
    }


def test_one_file_may_come_as_a_list_or_alone() -> None:
    """An input function that returns a list of one, and a list of which one file is left."""
    taken = arguments.of_rule(run, rule(mask=["m.nii.gz"], scans="a.tif", surfaces=[]), JOB)
    assert (taken["mask"], taken["scans"], taken["surfaces"]) == (
        *(Path("m.nii.gz"), [Path("a.tif")], {}),
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"scan": "a.tif"}, r"unknown arguments \['scan'\]"), ({"brain": 1}, None)],
)
def test_names_must_agree(changes: dict[str, Any], message: str | None) -> None:
    if message:
        with pytest.raises(TypeError, match=message):
            arguments.of_rule(run, rule(**changes), JOB)
    with pytest.raises(TypeError, match=r"missing \['brain'\]"):
        arguments.of_rule(run, rule(), {"threads": 1})


def test_outputs_are_those_annotated_so() -> None:
    assert arguments.outputs_of(run) == {"table", "maps"}
