"""The progress of brains, on studies whose files the tests create stage by stage."""

import os
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from table_rows import row
from test_workflow import NUMBERS, write_study

from cytopipe import __main__ as command_line
from cytopipe.commands.plan import Job
from cytopipe.formats import tables
from cytopipe.study.corrections import Proposal, write_proposals

# the jobs of a brain of two chunks: rule, what its files are called after, outputs
RULES = (
    ("segmentation", "segmentation/B01/00000", ".parquet"),
    ("segmentation", "segmentation/B01/00480", ".parquet"),
    ("alignment", "alignment/B01/stack", ".parquet"),
    ("reconstruction_volume", "reconstruction/B01/whole", ".nii.gz"),
    ("reconstruction", "reconstruction/B01/tissue", ".nii.gz"),
    ("midsurface", "midsurface/B01/surfaces", ".parquet"),
    ("midline", "midline/B01/00000", ".parquet"),
    ("midline", "midline/B01/00480", ".parquet"),
    ("coordinates", "coordinates/B01/points", ".parquet"),
    ("report_brain", "report/B01", ".html"),
)
STAGES = list(dict.fromkeys(rule for rule, _, _ in RULES))


class Study:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = write_study(folder, {"B01": "seen"})
        self.manual = folder / "manual" / "B01"
        self.manual.mkdir(parents=True)
        self.others: list[Job] = []
        self.done = ""
        monkeypatch.setattr(
            "cytopipe.commands.status.jobs_to_run", lambda study, profile: self.jobs
        )

    @property
    def jobs(self) -> list[Job]:
        """What Snakemake would run: everything after `done`, the next stage first."""
        open_rules = STAGES[STAGES.index(self.done) + 1 :] if self.done else STAGES
        return [
            Job(
                rule,
                {"brain": "B01"},
                (f"results/{name}{ending}",),
                f"logs/{name}.log",
                is_ready=rule == open_rules[0],
            )
            for rule, name, ending in reversed(RULES)
            if rule in open_rules
        ] + self.others

    def finish(self, until: str) -> None:
        """Every stage up to one is done."""
        self.done = until
        for chunk, numbers in (("00000", NUMBERS[:2]), ("00480", NUMBERS[2:])):
            self.table("segmentation", f"{chunk}.parquet", tables.SegmentationRow, numbers)
        if until != "segmentation":
            self.table("alignment", "stack.parquet", tables.StackRow, NUMBERS)
            self.pairs(0.0)

    def table(self, stage: str, name: str, kind: type[tables.Row], numbers) -> None:
        statuses = {15: "blank", 480: "uncertain"}
        rows = [row(kind, brain="B01", section=n, status=statuses.get(n, "ok")) for n in numbers]
        if kind is tables.SegmentationRow:
            rows = [replace(one, remarks="cut off" if one.section == 480 else "") for one in rows]
        tables.write_rows(kind, rows, self.folder / "results" / stage / "B01" / name)

    def pairs(self, displaced_um: float) -> None:
        """Pairs of neighbours; those of section 480 show a displaced part."""
        rows = [
            row(tables.PairRow, fixed=a, moving=b, status="uncertain", displaced_um=displaced_um)
            if 480 in (a, b)
            else row(tables.PairRow, fixed=a, moving=b, status="accepted")
            for a, b in pairwise(NUMBERS)
        ]
        path = self.folder / "results" / "alignment" / "B01" / "pairs.parquet"
        tables.write_rows(tables.PairRow, rows, path)

    def log(self, rule: str, text: str) -> None:
        """The log of the last job of a rule."""
        name = [name for other, name, _ in RULES if other == rule][-1]
        log = self.folder / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(text)

    def says(self, capsys) -> str:
        assert command_line.main(["status", "--study", str(self.folder)]) == 0
        return str(capsys.readouterr().out)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    return Study(tmp_path, monkeypatch)


def test_a_new_brain_is_to_run(study: Study, capsys) -> None:
    said = study.says(capsys)
    assert said.startswith("B01 (seen, 4 sections): to run at segmentation\n")
    assert "2 midline" in said and "2 segmentation" in said
    # Snakemake would make no report, so it is not asked for
    assert "networks, evaluation and report: done" in said and "index.html" not in said
    study.others = [Job("report", {}, ("index.html",), "logs/report.log", is_ready=False)]
    said = study.says(capsys)
    assert "networks, evaluation and report: to run at report" in said
    assert "index.html is not made yet; run snakemake" in said


def test_a_finished_brain_is_done_and_its_odd_sections_are_named(study: Study, capsys) -> None:
    study.finish("report_brain")
    said = study.says(capsys)
    assert said.startswith("B01 (seen, 4 sections): done\n")
    assert "1 blank: 15" in said and "1 uncertain: 480" in said and "jobs:" not in said
    assert "1 cut off: 480" in said


def test_fragments_and_unknown_handedness_are_named(study: Study, capsys) -> None:
    study.finish("alignment")
    path = study.folder / "results" / "alignment" / "B01" / "stack.parquet"
    rows = tables.read_rows(tables.StackRow, path)
    assert "other fragments" not in study.says(capsys)
    rows = [
        replace(
            stack_row, handedness="cannot_tell" if place == 2 else "plain", fragment=1 + (place > 1)
        )
        for place, stack_row in enumerate(rows)
    ]
    tables.write_rows(tables.StackRow, rows, path)
    said = study.says(capsys)
    assert (
        f"1 uncertain because their pairs do not show whether they are mirrored: {NUMBERS[2]};"
        in said
    )
    assert "accepted pairs connect 2 sections; 2 in 1 other fragments: 480, 495" in said


def test_displaced_tissue_is_named(study: Study, capsys) -> None:
    study.finish("alignment")
    assert "lies elsewhere on the slide" not in study.says(capsys)
    study.pairs(2400.0)
    said = study.says(capsys)
    assert "1 uncertain because a part of their tissue lies elsewhere on the slide: 480;" in said


def test_a_missing_mask_waits_for_a_person(study: Study, capsys) -> None:
    study.finish("alignment")
    assert "to run at reconstruction" in study.says(capsys)  # nothing to draw on yet
    study.finish("reconstruction_volume")
    whole = study.folder / "results" / "reconstruction" / "B01" / "whole.nii.gz"
    whole.parent.mkdir(parents=True)
    whole.touch()
    said = study.says(capsys)
    assert "B01 (seen, 4 sections): waiting for a person at reconstruction\n" in said
    assert "manual/B01/exclusion.seg.nrrd (or .nii.gz) is missing; mark every" in said
    assert str(whole) in said
    study.finish("alignment")  # the volume is out of date
    assert "to run at reconstruction" in study.says(capsys)
    study.finish("reconstruction_volume")
    (study.manual / "exclusion.nii.gz").touch()
    assert "to run at reconstruction" in study.says(capsys)


def test_supplied_tissue_and_surfaces_are_named(study: Study, capsys) -> None:
    study.finish("report_brain")
    (study.manual / "hemi-L_inflated.surf.gii").touch()  # of no use
    assert "in place of" not in study.says(capsys)
    for name in ("tissue.nii.gz", "hemi-L_pial.surf.gii", "hemi-L_white.obj"):
        (study.manual / name).touch()
    said = study.says(capsys)
    assert (
        f"supplied tissue, in place of the stacked sections: tissue.nii.gz in {study.manual}\n"
        in said
    )
    assert (
        "surfaces, in place of those at half depth: hemi-L_pial.surf.gii, hemi-L_white.obj in"
        in said
    )


def test_a_failure_says_why(study: Study, capsys) -> None:
    study.finish("midsurface")
    study.log("midline", "10:00:00 section 0: 5 points\n10:00:01 error: a.tif: torn; rescan\nit\n")
    said = study.says(capsys)
    assert "failed at midline\n    a.tif: torn; rescan\nit (log: " in said
    study.log("midline", "10:00:01 stopped by an error\nTraceback:\n  x\nValueError: no way\n")
    assert "failed at midline\n    ValueError: no way (log: " in study.says(capsys)


@pytest.mark.parametrize("done", ["report_brain", "segmentation"])
def test_an_error_of_an_earlier_try_is_forgotten(study: Study, done: str, capsys) -> None:
    """The job has succeeded since, or cannot run before others."""
    study.finish(done)
    study.log("midline", "10:00:01 error: gone\n")
    assert "failed" not in study.says(capsys)


def test_a_killed_job_is_known_from_snakemakes_own_log(study: Study, capsys) -> None:
    study.finish("reconstruction")
    study.log("midsurface", "10:00:00 depth\n")
    log = study.folder / ".snakemake" / "log" / "2026-01-02T030405.1.snakemake.log"
    log.parent.mkdir(parents=True)
    log.write_text(
        "[Fri Jan  2 03:04:05 2026]\nError in rule midsurface:\n    jobid: 7\n    input: a\n"
        "    output: results/x.nii.gz, results/midsurface/B01/surfaces.parquet\n"
        "    log: logs/a.log (check log file(s))\n"
    )
    said = study.says(capsys)
    assert "failed at midsurface\n    its process was killed, perhaps for lack of memory" in said


def test_a_run_in_progress(study: Study, capsys) -> None:
    study.finish("segmentation")
    study.log("alignment", "10:00:00 placing 32 sections\n")
    assert "to run at alignment" in study.says(capsys)  # no run holds the study
    lock = study.folder / ".snakemake" / "locks" / "0.input.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    os.utime(lock, (0, 0))
    said = study.says(capsys)
    assert "running at alignment\n    placing 32 sections (log" in said
    future = time.time() + 9
    os.utime(lock, (future, future))  # the log is that of an earlier run
    assert "to run at alignment" in study.says(capsys)


def test_what_follows_the_brains_has_a_line_of_its_own(study: Study, capsys) -> None:
    study.finish("report_brain")
    study.others = [
        Job("evaluation", {}, ("scores",), "logs/scores.log", is_ready=False),
        Job("features", {"run": "r", "brain": "B01"}, ("a.npy",), "logs/f.log", is_ready=False),
        Job("pretraining", {"run": "r"}, ("final.pt",), "logs/r.log", is_ready=True),
    ]
    assert "B01 (seen, 4 sections): done\n" in (said := study.says(capsys))
    assert "networks, evaluation and report: to run at pretraining\n" in said
    assert "    jobs: 1 evaluation, 1 features, 1 pretraining\n" in said
    (study.folder / "logs").mkdir()
    (study.folder / "logs" / "r.log").write_text("10:00:01 error: loss is NaN; lower it\n")
    assert "failed at pretraining\n    loss is NaN; lower it (log: " in study.says(capsys)


def test_proposals_wait_until_they_are_answered(study: Study, capsys) -> None:
    study.finish("report_brain")
    proposed = study.folder / "results" / "alignment" / "B01" / "proposed-sections.tsv"
    found = [Proposal(15, mirrored=True), Proposal(480, notes="look")]
    write_proposals(found, proposed, "B01")
    assert f"2 proposals to look at: {proposed}" in study.says(capsys)
    (study.manual / "sections.tsv").write_text("section\tmirrored\n15\tno\n")
    assert "1 proposals to look at" in study.says(capsys)
    (study.manual / "sections.tsv").write_text("section\tmirrored\n15\tno\n480\t\n")
    assert "to look at" not in study.says(capsys)


def test_a_failed_check_is_said_of_a_finished_brain_too(study: Study, capsys) -> None:
    study.finish("report_brain")
    rows = [
        tables.CheckRow("B01", "on its side", 0.02, "share", "at least 0.95", status, "turn it")
        for status in ("failed", "ok", "", "cannot tell")
    ]
    path = study.folder / "results" / "coordinates" / "B01" / "checks.parquet"
    tables.write_rows(tables.CheckRow, rows, path)
    said = study.says(capsys)
    assert said.startswith("B01 (seen, 4 sections): done\n")
    assert "CHECK FAILED: on its side: 0.02 share, at least 0.95; turn it" in said
    assert said.count("CHECK FAILED") == said.count("CHECK CANNOT TELL: on its side") == 1


def test_findings_of_the_audit_wait_until_they_are_answered(study: Study, capsys) -> None:
    study.finish("report_brain")
    audited = study.folder / "results" / "alignment" / "B01" / "audit-sections.tsv"
    found = [Proposal(15, mirrored=True), Proposal(480, notes="swapped with 495")]
    write_proposals(found, audited, "B01")
    assert f"2 findings of the audit to look at: {audited}" in study.says(capsys)
    (study.manual / "sections.tsv").write_text("section\tmirrored\n15\tno\n480\t\n")
    assert "to look at" not in study.says(capsys)
