"""What `make demo` prints of a run: one line a job, and the time that is left."""

import importlib.util
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "workflow" / "progress.py"
spec = importlib.util.spec_from_file_location("progress", SOURCE)
assert spec is not None and spec.loader is not None
progress = importlib.util.module_from_spec(spec)
sys.modules["progress"] = progress
spec.loader.exec_module(progress)

# as Snakemake 9.27 writes it
STATS = """\
Job stats:
job             count
------------  -------
all                 1
midsurface          2
segmentation        4
total               7

"""


def job(rule: str, number: int, wildcards: str) -> str:
    return (
        f"[Sun Nov 22 08:54:05 2026]\nlocalrule {rule}:\n    output: a\n    jobid: {number}\n"
        f"    reason: Missing output files: a\n    wildcards: {wildcards}\n"
        "    resources: tmpdir=/tmp\n"
    )


def heard(run, text: str, now: float) -> list[str]:
    return [message for line in text.splitlines() for message in run.hear(line, now)]


def test_a_line_a_job_with_the_time_left() -> None:
    run = progress.Progress({"midsurface": 120.0}, now=0.0)
    assert heard(run, STATS, 0.0) == []
    assert heard(run, job("segmentation", 3, "brain=B01, chunk=03360"), 0.0) == []
    assert heard(run, job("segmentation", 4, "brain=B02, chunk=00000"), 0.0) == []
    end = "Finished jobid: 3 (Rule: segmentation)\n1 of 7 steps (14%) done\n"
    # to do: 3 segmentations of 60 s, 2 midsurfaces of 120 s as known, `all` at the mean, one by one
    assert heard(run, end, 60.0) == ["[1 of 7, 1.0 min, about 8 min left] segmentation B01 03360"]
    # two ran side by side, so the rest goes twice as fast: (2 x 60 + 2 x 120 + 60) / 2 = 3.5 min
    end = "Finished jobid: 4 (Rule: segmentation)"
    assert heard(run, end, 60.0) == ["[2 of 7, 1.0 min, about 4 min left] segmentation B02 00000"]


def test_a_stages_own_progress_is_passed_on() -> None:
    run = progress.Progress({}, now=0.0)
    assert heard(run, "08:59:47 epochs: 3 of 10, about 40 s left", 0.0) == [
        "    08:59:47 epochs: 3 of 10, about 40 s left"
    ]
    assert heard(run, "08:59:47 threshold 0.4", 0.0) == []


def test_the_trouble_is_found_in_the_output() -> None:
    lines = ["Building DAG of jobs...\n", "Error in rule midline:\n", "    log: logs/a.log\n"]
    assert progress.troubles(lines) == "Error in rule midline:\n    log: logs/a.log"


@pytest.mark.parametrize(
    ("snakefile", "status", "said"),
    [
        ("rule a:\n    output: 'a.txt'\n    shell: 'echo > {output}'\n", 0, "[1 of 1, "),
        ("rule a:\n    output: 'a.txt'\n    shell: 'exit 3'\n", 1, "Error in rule a"),
    ],
)
def test_a_run_keeps_its_log_and_status(
    tmp_path, monkeypatch, capsys, snakefile, status, said
) -> None:
    (tmp_path / "Snakefile").write_text(snakefile)
    monkeypatch.setattr(progress, "REPOSITORY", tmp_path)
    assert progress.main([str(tmp_path), "--cores", "1"]) == status
    shown = capsys.readouterr()
    assert said in shown.out + shown.err
    assert "Job stats" in (tmp_path / "logs" / "snakemake.log").read_text()
    if status == 0:
        assert progress.main([str(tmp_path), "--cores", "1"]) == 0
        assert "nothing to do" in capsys.readouterr().out
