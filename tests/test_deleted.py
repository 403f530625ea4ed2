"""Deleted results: `cytopipe status` says what `snakemake -n` lists, whatever is missing."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import empty_study
import pytest
from empty_study import ATLAS, ROOT
from snakemake.api import DAGSettings

from cytopipe import __main__ as command_line
from cytopipe.commands import plan

ANNOTATED = {**ATLAS, "study": {"annotations": "annotations", "audit": True}}
# of these, a person looks at none, and no other rule reads them: too dear to make again
# jobs of a brain that need networks
LATE = ("features", "mapping", "report_map")
KEPT_AWAY = (
    # a training of days, or the registration and all that follows
    r"results/pretraining/\w+/params\.yaml",
    r"results/coordinates/B01/(affine-)?to-colin27\.h5",
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of one brain, of empty files."""
    folder = tmp_path_factory.mktemp("study")
    empty_study.write(folder, {"B01": "seen"}, (0, 15), ANNOTATED, scans=[("B01", 15)])
    for name in ("layers/layers.tsv", "layers/a.tif"):
        empty_study.lay_down(folder / "annotations" / name)
    empty_study.finish(folder)
    return folder


def outputs(study: Path) -> dict[str, str]:
    """Every output of the workflow, and the rule that makes it."""
    with empty_study.planned(study, ROOT, {}, DAGSettings()) as workflow:
        return {str(path): job.rule.name for job in workflow.dag.jobs for path in job.output}


@pytest.mark.slow
def test_whatever_is_deleted_status_says_what_snakemake_would_run(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "cytopipe.commands.status.jobs_to_run",
        lambda study, profile: plan.parse(empty_study.printed(study)),
    )
    # empty tables cannot be read
    monkeypatch.setattr("cytopipe.commands.status.section_notes", lambda *_: [])
    monkeypatch.setattr("cytopipe.commands.status.surface_notes", lambda *_: [])
    monkeypatch.setattr("cytopipe.commands.status.open_checks", lambda *_: [])
    aside = study.parent / "aside"
    answers = set()
    for path in outputs(study):
        (study / path).rename(aside)
        listed = empty_study.dry_run(study).listed - {"all"}
        assert command_line.main(["status", "--study", str(study)]) == 0
        said = capsys.readouterr().out
        jobs = re.findall(r"(\d+) (\w+)(?:, |$)", ", ".join(re.findall("jobs: (.*)", said)))
        told = [rule for count, rule in jobs for _ in range(int(count))]
        assert sorted(told) == sorted(job.split()[0] for job in listed), path
        of_brain = {job for job in listed if "B01" in job and not job.startswith(LATE)}
        assert ("B01 (seen, 2 sections): done" in said) == (not of_brain), path
        assert ("evaluation and report: done" in said) == (listed == of_brain), path
        answers.add(bool(listed))
        aside.rename(study / path)
    assert answers == {True, False}


@pytest.mark.slow
def test_what_no_other_rule_reads_comes_back(study: Path) -> None:
    """Otherwise a deleted file would be missing forever, and nothing would say so."""
    with empty_study.planned(study, ROOT, {}, DAGSettings()) as workflow:
        read = {str(path) for job in workflow.dag.jobs for path in job.input}
    for path in outputs(study):
        assert path in read or any(re.fullmatch(kept, path) for kept in KEPT_AWAY), path


@pytest.mark.slow
def test_the_command_asks_snakemake_and_reports_what_it_cannot_plan(
    study: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(study, tmp_path / "study"))
    assert plan.jobs_to_run(copy) == []
    shutil.rmtree(copy / "results" / "report" / "B01")
    jobs = plan.jobs_to_run(copy)
    assert {job.rule: (job.wildcards, job.is_ready) for job in jobs} == {
        "report_brain": ({"brain": "B01"}, True),
        "report": ({}, False),
        "report_map": ({"brain": "B01"}, False),
    }
    [page] = [job for job in jobs if job.rule == "report_brain"]
    assert page.outputs == (
        *("results/report/B01.tsv", "results/report/B01", "results/report/B01.html"),
    )
    assert page.log == "logs/report/B01.log"
    shutil.rmtree(copy / "results")
    (copy / "images" / "B01_0.ome.tif").unlink()
    run = subprocess.run(
        [sys.executable, "-m", "cytopipe", "status", "--study", str(copy)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 1
    assert "Snakemake cannot plan this study" in run.stderr
    assert "images/B01_0.ome.tif" in run.stderr
