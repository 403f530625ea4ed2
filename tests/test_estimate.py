"""What a run will take, as the check of a study says: time, memory and disk."""

from pathlib import Path

import numpy as np
import pytest
from small_study import HEAD, SmallStudy

from cytopipe.commands.check import check_study, estimate, scans
from cytopipe.formats.images import write_pyramid
from cytopipe.study import config as study_config
from cytopipe.study.findings import ERROR
from cytopipe.study.sections import Section


@pytest.fixture
def study(tmp_path: Path) -> SmallStudy:
    return SmallStudy(tmp_path / "study")


def test_the_estimate_follows_the_sizes(study: SmallStudy) -> None:
    """Twice the sections of four times the pixels take eight times as long, apart from starts."""
    config = study_config.read(study_config.DEFAULTS)
    write_pyramid(np.ones((500, 600), np.uint8), study.image(30), 64, 256, tile=64)
    small = [Section("B01", 15 * n, "images/30.ome.tif", 64.0, 20.0) for n in range(4)]
    write_pyramid(np.ones((1000, 1200), np.uint8), study.image(45), 64, 256, tile=64)
    large = [Section("B01", 15 * n, "images/45.ome.tif", 64.0, 20.0) for n in range(8)]
    times = [
        {
            stage.name: stage
            for stage in estimate.stages(scans.examine_scans(study.folder, sections)[0], config)
        }
        for sections in (small, large)
    ]
    for name in ("segmentation", "alignment"):
        work = [found[name].seconds - found[name].jobs * estimate._PROCESS_S for found in times]
        assert work[1] == pytest.approx(8 * work[0])
    assert times[0]["pyramids"].jobs == 0
    assert estimate.hours(7200) == "2.0 h"


def test_copies_that_are_made_need_no_more_disk(study: SmallStudy, monkeypatch) -> None:
    monkeypatch.setattr(estimate, "free_mb", lambda _: 1000.0)
    monkeypatch.setattr(estimate, "_COPY_BYTES", 1e5)
    study.rows = [row + "\tno" for row in study.rows]
    study.sheet.write_text(HEAD.rstrip() + "\tlevels\n" + "".join(f"{r}\n" for r in study.rows))
    assert "disk" in {it.subject for it in check_study(study.folder)}
    copy = study.folder / "results" / "pyramids" / "B01" / "00015.ome.tif"
    copy.parent.mkdir(parents=True)
    with open(copy, "wb") as file:
        file.truncate(10**10)
    assert "disk" not in {it.subject for it in check_study(study.folder)}


def test_too_little_disk_is_an_error(study: SmallStudy, monkeypatch) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr(estimate.shutil, "disk_usage", lambda _: Usage)
    errors = [it.subject for it in check_study(study.folder) if it.level == ERROR]
    assert errors == ["disk"]
