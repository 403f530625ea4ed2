"""GPU hours: formulas by hand, speeds from logs, and the table of docs/new-brain.md."""

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml
from small_study import SmallStudy

from cytopipe.commands.check import check_study, networks

ROOT = Path(__file__).parents[1]


@pytest.fixture
def study(tmp_path: Path) -> SmallStudy:
    return SmallStudy(tmp_path / "study")


def texts(study: SmallStudy) -> dict[str, str]:
    """What check says of the networks, by run."""
    found = [f.finding for f in check_study(study.folder) if f.subject == "networks"]
    return dict(text.split(": ", 1) for text in found)


def write_run(study: SmallStudy, run: str, log: str, **record: object) -> None:
    values = {"architecture": "r50", "patch_px": 2048, "device": "NVIDIA A100", "processes": 1}
    for path, text in {
        study.folder / "results" / "pretraining" / run / "params.yaml": yaml.safe_dump(
            values | record
        ),
        study.folder / "logs" / "pretraining" / f"{run}.log": log,
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_the_three_ways_of_one_more_brain() -> None:
    # 100 patches/s: training 1000 x 36 / 100 = 360 s; features 3000 / 300 = 10 s for a brain
    ways = networks.one_more_brain(100, patches=1000, epochs=36, points=3000, brains=4)
    hours = {"frozen": 10, "warm start": 36 + 40, "from scratch": 360 + 40}
    assert ways == pytest.approx({way: seconds / 3600 for way, seconds in hours.items()})


def test_the_page_has_the_hours_of_its_speeds() -> None:
    page = (ROOT / "docs" / "new-brain.md").read_text()
    rows = re.findall(
        r"^\| (R50(?:-ViT)?), ([\d,]+) patches \| (.+?) \| (\d+) \|(.+)\|$", page, re.M
    )
    assert len(rows) >= 3
    for network, patches, card, speed, hours in rows:
        if "H200" in card:
            assert float(speed) == networks.ESTIMATED[network.lower().replace("-", "_")]
            assert "estimate" in card
        count = int(patches.replace(",", ""))
        ways = networks.one_more_brain(float(speed), count, 150, 450_000, 11)
        expected = [float(f"{value:.2g}") for value in ways.values()]
        assert [float(cell.replace(",", "")) for cell in hours.split("|")] == expected


def test_a_study_without_runs_gets_an_estimate_for_one_card(study: SmallStudy) -> None:
    study.config["pretraining"]["runs"]["demo"] = {"architecture": "small"}
    study.write_config()
    said = texts(study)
    assert said["demo"] == "not estimated, because no network small was timed"
    for text in said.values():
        assert "an estimate for one H200, no run was timed" in text or "not estimated" in text
    assert "225 patches/s" in said["spatialnce"] and "pretraining on" in said["spatialnce"]
    assert "pretraining on" not in said["untrained"]  # 0 epochs
    assert "one more brain" not in said["untrained"]


def test_the_speed_is_that_of_the_studys_own_run(study: SmallStudy) -> None:
    lines = "".join(
        f"12:00:0{n} epoch {n} of 150: loss 3.100, {speed} patches/s, about 9 s left\n"
        for n, speed in enumerate((11.0, 84.0, 80.0))
    )
    write_run(study, "spatialnce", lines, processes=4)
    points = study.folder / "results" / "coordinates" / "B01" / "points.parquet"
    points.parent.mkdir(parents=True)
    pd.DataFrame({"x": range(54_000)}).to_parquet(points)
    said = texts(study)
    # of one of four processes
    assert "at 20 patches/s in training (measured: spatialnce on NVIDIA A100)" in said["spatialnce"]
    # 54,000 points x 150 epochs / 20 per second = 112.5 h; features 54,000 / 60 = 0.25 h
    assert "pretraining on 54,000 patches, 150 epochs: 112.5 GPU hours" in said["spatialnce"]
    assert "frozen 0.2, warm start 11.8, from scratch 113.0" in said["spatialnce"]
    # also for other runs of this network; not for another one
    assert "at 20 patches/s" in said["untrained"]
    write_run(study, "spatialnce", lines, architecture="small")
    assert "an estimate for one H200" in texts(study)["spatialnce"]


@pytest.mark.parametrize("record", ["{", "a: 1\n", ""])
def test_a_record_that_cannot_be_read_is_not_used(study: SmallStudy, record: str) -> None:
    write_run(study, "spatialnce", "epoch 1 of 150: loss 3.1, 80.0 patches/s, about 9 s left\n")
    path = study.folder / "results" / "pretraining" / "spatialnce" / "params.yaml"
    path.write_text(record)
    assert "an estimate for one H200" in texts(study)["spatialnce"]


def test_points_are_estimated_from_the_size_of_sections(study: SmallStudy) -> None:
    """A section of a human brain, 130 x 100 mm, has a metre of cortex."""
    text = texts(study)["spatialnce"]
    size_mm2 = 60 * 80 * 0.064**2
    expected = 3 * 1000 * size_mm2 / 13000 / study.config["midline"]["spacing_mm"]
    assert f"features of {expected:,.0f} points" in text
