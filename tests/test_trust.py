"""The table of trust: its rows, its verdicts, its page, and a part of it measured anew."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import table_rows
from trust import __main__ as trust
from trust import alarms, page, panel, verdicts
from trust.disturbances import DISTURBANCES, KINDS
from trust.page import Line

from cytopipe.coordinates.checks import DICE
from cytopipe.coordinates.orientation import MIRRORED, TURNED
from cytopipe.formats import tables
from cytopipe.formats.tables.brain_rows import FAILED, OK
from cytopipe.numerics.geometry import Rigid
from cytopipe.segmentation.section import REMARKS
from cytopipe.study import config as study_config

ROOT = Path(__file__).parents[1]
LINE = Line("ink", "demo", 1, ["worst gray Dice 0.95"], [], [], verdicts.RIGHT, "abc", 1.0)
# one row for each way in which segmentation failed silently, and one for the alignment; together
# with their anatomy they take two minutes on an idle core
MEASURED = (
    "nothing",
    "faint-white",
    "padding",
    "frame",
    "touching-frame",
    "blank-16",
    "no-texture",
)


def test_every_row_is_a_phantom_that_can_be_made(tmp_path: Path) -> None:
    names = [row.name for row in DISTURBANCES]
    assert len(set(names)) == len(names)
    assert {row.kind for row in DISTURBANCES} == set(KINDS)
    phantom = trust.brains()["demo"]
    assert len(DISTURBANCES) * len(trust.SEEDS) * len(trust.brains()) >= 60
    studies = panel.panels(tmp_path, "demo", phantom, 1, DISTURBANCES)
    assert len({study.folder for study in studies}) == len(studies)
    for study in studies:
        for row in study.disturbances:
            assert study.params(row).seed == 1
            # what is disturbed differs from the undisturbed phantom of its kind
            plain = study.params(replace(row, phantom={}))
            same = study.params(row) == plain
            assert same == (not row.phantom) or row.kind == "folds", row.name


def test_the_section_that_is_off_does_not_move_the_others() -> None:
    rng = np.random.default_rng(1)
    turn = Rigid(0.3, 2000.0, -500.0, "stack", "true stack")
    points = {}
    for number in range(8):
        own = rng.uniform(0, 80_000, (200, 2))
        points[number] = (own, turn(own) + rng.normal(0, 100, 2))
    for number in (2, 5, 6):
        own, true = points[number]
        points[number] = (own + [9000.0, 0.0], true)
    errors = verdicts._errors_mm(points, list(points))
    assert {n for n, mm in errors.items() if mm > 3} == {2, 5, 6}
    assert errors[2] == pytest.approx(9, abs=0.3)
    # a lone certain section agrees with itself, but not with the others
    assert verdicts._errors_mm(points, [2])[2] == pytest.approx(9, abs=0.3)
    assert verdicts._errors_mm(points, [3])[3] < 0.3


def test_a_verdict_is_as_bad_as_the_worst_result() -> None:
    result = verdicts.Outcome()
    assert result.verdict == verdicts.RIGHT
    result.said.append("section 3: blank")
    assert result.verdict == verdicts.SAID
    result.silent.append("section 4: gray Dice 0.1")
    assert result.verdict == verdicts.SILENT
    result.is_crash = True
    assert result.verdict == verdicts.CRASH


def test_an_alarm_counts_only_for_the_result_of_which_it_speaks() -> None:
    assert set(alarms.REMARKS) == set(REMARKS)
    truth = np.repeat(np.array([[0, 1, 2, 0]], np.uint8), 10, axis=1)
    row = table_rows.row(tables.SegmentationRow, remarks="cut off; ink")
    # half of the white matter is called gray, and a little of the gray matter is lost
    mistaken = truth.copy()
    mistaken[0, 20:25] = 1
    mistaken[0, 10] = 0
    for value in (1, 2):
        fault = alarms.main_fault(mistaken, truth, value)
        assert fault == alarms.MATTER
        assert not alarms.remarks_on(row, fault)
        assert alarms.remarks_on(replace(row, remarks="white unknown"), fault) == ["white unknown"]
    # the white matter is taken for ink
    assert alarms.main_fault(np.where(truth == 2, 0, truth), truth, 2) == alarms.LOST
    assert alarms.remarks_on(row, alarms.LOST) == ["ink"]
    assert alarms.main_fault(np.ones_like(truth), truth, 1) == alarms.ADDED
    result = verdicts.Outcome()
    result.judge("white Dice 0.1", ["white unknown"])
    assert result.verdict == verdicts.SAID
    result.judge("white Dice 0.2", [])
    assert result.verdict == verdicts.SILENT


def test_a_failed_check_speaks_of_coordinates_or_of_sides(tmp_path: Path) -> None:
    def checks(*failed: str) -> None:
        rows = [
            table_rows.row(tables.CheckRow, check=name, status=FAILED if name in failed else OK)
            for name in (DICE, MIRRORED, TURNED, "on its own side of the midline", "there and back")
        ]
        tables.write_rows(
            tables.CheckRow, rows, tmp_path / "results" / "coordinates" / "B01" / "checks.parquet"
        )

    surfaces = [
        table_rows.row(tables.SurfaceRow, hemisphere=side, status=status)
        for side, status in (("L", "ok"), ("R", "doubtful: lost cortex"))
    ]
    path = tmp_path / "results" / "midsurface" / "B01" / "surfaces.parquet"
    tables.write_rows(tables.SurfaceRow, surfaces[:1], path)
    for failed, of_coordinates, of_sides in (
        ((), 0, 0),
        (("on its own side of the midline",), 0, 1),
        (("there and back",), 1, 0),
        ((MIRRORED,), 0, 1),
        ((TURNED,), 1, 1),
        ((DICE, "there and back"), 2, 1),
    ):
        checks(*failed)
        assert len(alarms.about_coordinates(tmp_path, "B01")) == of_coordinates
        assert len(alarms.about_sides(tmp_path, "B01")) == of_sides
    tables.write_rows(tables.SurfaceRow, surfaces, path)
    assert alarms.about_surfaces(tmp_path, "B01", "L") == []
    assert alarms.about_surfaces(tmp_path, "B01") == ["surface R: doubtful: lost cortex"]


def test_every_case_that_once_failed_silently_is_a_row() -> None:
    """The table at the top of the issue that asked for this page."""
    rows = {row.name: row for row in DISTURBANCES}
    assert rows["folds-1mm"].config["reconstruction"]["voxel_mm"] == 1.0
    assert rows["folds-05mm"].config["reconstruction"]["voxel_mm"] == 0.5
    assert rows["faint-white"].phantom["staining"]["white_contrast"] == 0.26
    for name in ("no-texture", "brain-no-texture", "symmetric"):
        assert rows[name].phantom["texture_length_mm"] < 0.1
    assert rows["symmetric"].phantom["geometry"]["symmetric"]
    assert len(rows["fragments"].phantom["handling"]["gaps"]) > 1
    assert rows["one-hemisphere"].phantom["geometry"]["hemispheres"] == "L"
    assert rows["missing-lobe"].phantom["geometry"]["missing_block"]
    assert rows["gap-6"].phantom["handling"]["gaps"] == [6]
    assert rows["blank-16"].phantom["blank"] and rows["blank-16"].phantom["slide"]["bits"] == 16
    assert rows["frame"].phantom["slide"]["frame_mm"] > 0
    assert rows["padding"].phantom["slide"]["padding_mm"] > 0
    assert rows["touching"].phantom["slide"]["touching"] == 1.0
    assert rows["upside-down"].phantom["handling"]["turned_deg"] == 180.0
    assert rows["backwards"].phantom["handling"]["backwards"]
    assert rows["excluded-end"].phantom["handling"]["excluded"] == 10


def test_a_limit_is_three_times_what_the_goal_allows() -> None:
    goals = study_config.read(study_config.DEFAULTS)["report"]["goals"]
    assert verdicts.limit("dice_gray") == pytest.approx(3 * (1 - goals["dice_gray"]))
    assert verdicts.limit("surface_mm", "95") == pytest.approx(3 * goals["surface_95_mm"])


def test_the_page_lists_every_row_and_keeps_what_a_person_wrote(tmp_path: Path) -> None:
    path = tmp_path / "trust.md"
    wrong = replace(LINE, seed=2, silent=["section 1: lost 0.5"], verdict=verdicts.SILENT)
    page.write([LINE, wrong], path, 60)
    path.write_text(path.read_text() + "\nInk: a darker limit did not help.\n")
    page.write([LINE, wrong], path, 60)
    text = path.read_text()
    assert text.count("a darker limit did not help") == 1
    assert text.count("| 8 pen marks per section | demo |") == 2
    assert "**silently wrong** |" in text
    assert "2 of 60 rows were run" in text
    assert "2 rows: 1 right, 1 silently wrong" in page.summary([LINE, wrong])
    assert page.verdicts_on(path)[("8 pen marks per section", "demo", "2")] == verdicts.SILENT


@pytest.mark.slow
def test_no_row_is_worse_than_the_page_says(tmp_path: Path) -> None:
    """Rows that docs/trust.md lists as silently wrong may stay so; none may become so."""
    recorded = page.verdicts_on(ROOT / "docs" / "trust.md")
    for study in panel.panels(
        tmp_path,
        "demo",
        trust.brains()["demo"],
        1,
        [row for row in DISTURBANCES if row.name in MEASURED],
    ):
        for line in trust.run(study, "demo", tmp_path, cores=2):
            text = next(row.text for row in DISTURBANCES if row.name == line.disturbance)
            if recorded.get((text, "demo", "1")) in (verdicts.RIGHT, verdicts.SAID):
                assert line.verdict in (verdicts.RIGHT, verdicts.SAID), line
            if line.disturbance == "nothing":
                assert line.verdict == verdicts.RIGHT
