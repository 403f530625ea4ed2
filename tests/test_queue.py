"""Jobs of a study in Slurm's queue, by a squeue that answers what it is told."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import empty_study
import pytest
import snakemake_executor_plugin_slurm as plugin

from cytopipe.cluster import slurm
from cytopipe.commands import queue
from cytopipe.files import InputError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    (tmp_path / "study" / "config").mkdir(parents=True)
    (tmp_path / "study" / "config" / "config.yaml").touch()
    return tmp_path / "study"


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of answers: squeue gives the first of them, and it is gone; scancel takes notes."""
    folder = tmp_path / "answers"
    programs = tmp_path / "programs"
    folder.mkdir()
    programs.mkdir()
    for name, body in {
        "squeue": f"cd {folder} && next=$(ls | head -n 1) && cat $next && rm $next",
        "scancel": f"echo $@ >> {programs}/cancelled",
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{body}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(queue, "WAIT_S", 0.01)
    return folder


def answer(folder: Path, *jobs: tuple[str, str, str, Path]) -> None:
    """Lay down what squeue answers next: number, state, comment and log of each job."""
    number = len(list(folder.iterdir()))
    widths = list(slurm.FIELDS.values())
    lines = [
        "".join(f"{value!s:<{width}}" for value, width in zip(job, widths, strict=True))
        for job in jobs
    ]
    (folder / f"{number:02d}").write_text("\n".join(lines) + "\n")


def job(study: Path, number: str = "17", state: str = "RUNNING") -> tuple[str, str, str, Path]:
    log = study / ".snakemake" / "slurm_logs" / "rule_midline" / "B01_00000" / "%j.log"
    return number, state, "rule_midline_wildcards_B01_00000", log


def test_jobs_of_other_studies_are_none_of_this_one(study: Path, answers: Path) -> None:
    other = study.with_name("study2")
    batch = ("19", "RUNNING", "(null)", study / "slurm-19.out")
    answer(answers, job(other, "16"), job(study, "17"), job(study, "18", "PENDING"), batch)
    assert slurm.jobs_of(study) == [
        slurm.Job("17", "RUNNING", "rule_midline_wildcards_B01_00000"),
        slurm.Job("18", "PENDING", "rule_midline_wildcards_B01_00000"),
    ]


def test_an_empty_queue_is_status_0(
    study: Path, answers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(answers)
    assert queue.run(["--study", str(study)]) == 0
    assert "no jobs in Slurm's queue" in capsys.readouterr().out


def test_jobs_and_a_lock_are_named(
    study: Path, answers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = study / ".snakemake" / "locks" / "0.output.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    answer(answers, job(study))
    assert queue.run(["--study", str(study)]) == 1
    said = capsys.readouterr().out
    assert "17  RUNNING  rule_midline_wildcards_B01_00000" in said
    assert f"snakemake --directory {study} --unlock" in said


def test_waiting_ends_with_the_last_job(study: Path, answers: Path, tmp_path: Path) -> None:
    for jobs in ([job(study, "17"), job(study, "18")], [job(study, "18")], []):
        answer(answers, *jobs)
    assert queue.run(["--study", str(study), "--wait"]) == 0
    assert not list(answers.iterdir()) and not (tmp_path / "programs" / "cancelled").exists()


def test_cancelling_waits_for_the_end(study: Path, answers: Path, tmp_path: Path) -> None:
    for state in ("RUNNING", "COMPLETING"):
        answer(answers, job(study, "17", state), job(study.with_name("other"), "16"))
    answer(answers)
    assert queue.run(["--study", str(study), "--cancel"]) == 0
    assert (tmp_path / "programs" / "cancelled").read_text() == "17\n"
    assert not list(answers.iterdir())


def test_a_second_start_is_refused_with_a_way_out(study: Path, answers: Path) -> None:
    answer(answers, job(study))
    with pytest.raises(InputError, match="1 jobs are in Slurm's queue") as refused:
        slurm.refuse_second_start(study, must_know=True)
    assert f"python -m cytopipe queue --study {study} --cancel" in str(refused.value)
    answer(answers, job(study.with_name("other")))
    slurm.refuse_second_start(study, must_know=True)


def test_a_silent_squeue_is_no_empty_queue(study: Path, answers: Path) -> None:
    with pytest.raises(InputError, match="squeue does not answer"):
        slurm.refuse_second_start(study, must_know=True)  # no answer is laid down
    slurm.refuse_second_start(study, must_know=False)


def test_the_plugin_stays_with_squeue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "workflow")
    monkeypatch.setattr(plugin, "is_query_tool_available", lambda tool: tool != "sinfo")
    importlib.import_module("slurm_plugin").stay_with_squeue()
    there = [plugin.is_query_tool_available(tool) for tool in ("sacct", "squeue", "sinfo")]
    assert there == [False, True, False]


def test_without_slurm_there_are_no_jobs(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(study))
    assert slurm.jobs_of(study) == []


def test_a_folder_that_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name a study with --study"):
        queue.run(["--study", str(tmp_path)])


def test_a_start_refuses_first_and_sweeps_then(tmp_path: Path, answers: Path) -> None:
    """What lies unfinished may belong to a job that is still in the queue."""
    mine = empty_study.write(tmp_path / "mine", {"B01": "seen"}, [15])
    left = mine / "results" / "segmentation" / "B01" / ".4194304-00000.parquet"
    left.parent.mkdir(parents=True)
    left.touch()
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile"]
    command += ["--directory", mine, "--cores", "1", "results/segmentation/B01/00000.parquet"]

    answer(answers, job(mine))
    refused = subprocess.run(command, capture_output=True, text=True)
    assert "cytopipe queue" in refused.stdout + refused.stderr
    assert left.exists()

    answer(answers)
    # its scan is empty, so that the job itself must fail
    started = subprocess.run(command, capture_output=True, text=True)
    assert (
        f"deleted an unfinished file of a killed process: {left.relative_to(mine)}"
        in started.stderr
    )
    assert not left.exists()
