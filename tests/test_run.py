"""`cytopipe run`: what it says of a run of Snakemake, and of what a person changed before it."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import empty_study
import pytest

from cytopipe import __main__ as command_line
from cytopipe.commands.run import Run
from cytopipe.files import InputError
from cytopipe.study import changes

# what Snakemake 9 prints
START = """Job stats:
job              count
-------------  -------
segmentation         2
midline              1
pretraining          1
all                  1
total                5

Select jobs to execute...
[Sat Nov 28 12:18:11 2026]
rule segmentation:
    input: images/B04/B04_03360.ome.tif
    output: results/segmentation/B04/03360.tif, results/segmentation/B04/03360.parquet
    log: logs/segmentation/B04/03360.log
    jobid: 49
    reason: Missing output files: results/segmentation/B04/03360.tif
    wildcards: brain=B04, chunk=03360
    resources: tmpdir=/tmp, runtime=10

12:25:58 4480 to 4340: accepted by texture
[Sat Nov 28 12:18:20 2026]
Finished jobid: 49 (Rule: segmentation)
1 of 5 steps (20%) done
"""
FAILURE = """[Sat Nov 28 12:18:11 2026]
rule midline:
    log: logs/midline/B04/03360.log
    jobid: 7
    wildcards: brain=B04, chunk=03360
[Sat Nov 28 12:18:20 2026]
Error in rule midline:
    message: None
    jobid: 7
    input: results/alignment/B04/stack.parquet
    output: results/midline/B04/03360.parquet
    log: logs/midline/B04/03360.log (check log file(s) for error details)
"""


def said(study: Path, text: str, seconds: Iterator[float] | None = None) -> list[str]:
    return list(Run(study, seconds).read(text.splitlines(keepends=True)))


def test_a_finished_job_is_named_with_its_brain_and_what_is_left(tmp_path: Path) -> None:
    plan, done = said(tmp_path, START, count(0.0, 30.0))
    assert plan == "to run: segmentation 2, midline 1, pretraining 1"
    # a segmentation took 30 s, half of what it takes where the table was measured: 30 + 20 s
    assert done.startswith("B04, sections from 3360: segmentation done (1 of 5, ")
    assert done.endswith("less than a minute left without networks)")


def test_a_slower_machine_takes_longer(tmp_path: Path) -> None:
    done = said(tmp_path, START, count(0.0, 600.0))[-1]
    assert "about 17 min left" in done  # 600 s, and 400 for the midline


def test_a_failed_job_is_explained_by_its_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "midline" / "B04" / "03360.log"
    log.parent.mkdir(parents=True)
    log.write_text("12:00:00 error: no surface; look at the page\n")
    (message,) = said(tmp_path, FAILURE)
    assert message.startswith("FAILED B04, sections from 3360: midline: no surface; look at the pa")
    assert str(log) in message
    log.unlink()
    assert "its process was killed" in said(tmp_path, FAILURE)[0]


def test_a_page_is_announced(tmp_path: Path) -> None:
    text = START.replace("segmentation", "report_brain").replace(", chunk=03360", "")
    assert said(tmp_path, text)[-1] == f"page ready: {tmp_path}/results/report/B04.html"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return empty_study.write(tmp_path, {"B01": "seen", "B02": "unseen"}, range(15, 91, 15))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_changes_are_told_in_the_words_of_the_tables(study: Path) -> None:
    assert changes.since_last_run(study) == []
    changes.record(study)
    assert changes.since_last_run(study) == []
    config, brains, sections = (
        study / "config" / name for name in ("config.yaml", "brains.tsv", "sections.tsv")
    )
    edit(config, "min_inliers: 10", "min_inliers: 12")
    edit(brains, "B02\tunseen", "B02\ttransfer")
    edit(sections, "B02\t30\timages/B02_30.ome.tif\t1\t20", "B02\t30\timages/B02_30.ome.tif\t2\t20")
    manual = study / "manual" / "B01"
    manual.mkdir(parents=True)
    (manual / "sections.tsv").write_text("section\tmirrored\n45\tyes\n")
    (manual / "exclusion.nii.gz").touch()
    assert set(changes.since_last_run(study)) == {
        "config/config.yaml: alignment.min_inliers is 12 (was 10)",
        "B02: role is transfer (was unseen)",
        "section 30 of B02: spacing_um is 2 (was 1)",
        "section 45 of B01: mirrored is yes (was empty)",
        "manual/B01/exclusion.nii.gz: new",
    }


def test_a_damaged_record_is_named(study: Path) -> None:
    changes.record(study)
    (study / changes.RECORD).write_text("{")
    with pytest.raises(InputError, match=r"last-run\.json: not a readable record.*; delete it"):
        changes.since_last_run(study)


def test_many_sections_with_the_same_change_share_a_line(study: Path) -> None:
    changes.record(study)
    edit(study / "config" / "sections.tsv", "ome.tif\t1\t20", "ome.tif\t1\t25")
    assert changes.since_last_run(study) == [
        f"6 sections of {brain}: thickness_um is 25 (was 20)" for brain in ("B01", "B02")
    ]


def test_a_folder_that_is_no_study_is_named(tmp_path: Path, capsys) -> None:
    assert command_line.main(["run", "--study", str(tmp_path)]) == 1
    assert "has no config/config.yaml" in capsys.readouterr().err
