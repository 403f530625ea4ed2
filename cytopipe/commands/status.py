"""`python -m cytopipe status`: show the progress of each brain of a study."""

import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cytopipe.commands.study_parser import study_parser
from cytopipe.files import InputError
from cytopipe.formats import tables, truth_table
from cytopipe.formats.text import read_table
from cytopipe.study import config as study_config
from cytopipe.study.corrections import COLUMNS
from cytopipe.study.sections import (
    Section,
    chunk_of,
    needs_pyramid,
    read_brains,
    read_sections,
)

DONE, RUNNING, WAITING, FAILED, OPEN = "done", "running", "waiting for a person", "failed", "to run"
_SHOWN = 12
# the last message of a process that failed (see logs.configure), after the time
_END = re.compile(r"^\d\d:\d\d:\d\d (error: .*|stopped by an error)$", re.MULTILINE)
_TISSUE = re.compile(r"tissue\.nii\.gz")
_SURFACE = re.compile(r"hemi-[LR]_(mid|pial|white)(\.surf\.gii|\.obj)")
_RULE_FAILED = re.compile(r"^Error in rule \w+:\n(?: +.*\n)*? +output: (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Stage:
    """A stage of one brain: its results, and the log of each."""

    name: str
    files: list[tuple[Path, Path]]

    @property
    def missing(self) -> list[tuple[Path, Path]]:
        return [(file, log) for file, log in self.files if not file.exists()]


@dataclass(frozen=True)
class Progress:
    """DONE, RUNNING, WAITING, FAILED or OPEN; the first stage that is not done; and the reason."""

    state: str
    stage: str = ""
    reason: str = ""


def run(arguments: list[str]) -> int:
    """Print whether each brain is done, running, waiting for a person, failed or to run, and why.

    `snakemake -n` shows whether results are out of date.
    """
    study: Path = study_parser("status", run).parse_args(arguments).study
    if (study / "config" / "config.yaml").exists():
        config = study_config.read(study / "config" / "config.yaml")
        study_config.check(config, str(study / "config" / "config.yaml"))
        roles = read_brains(study / "config" / "brains.tsv")
        sections = read_sections(study / "config" / "sections.tsv", brains=list(roles))
        for brain, role in roles.items():
            own = [section for section in sections if section.brain == brain]
            for line in lines_of(study, brain, role, own, config):
                print(line)
    report = study / "results" / "report" / "index.html"
    truth = report.with_name("truth.tsv")
    if truth.exists():
        print(truth_table.format_table(truth_table.read(truth), colour=sys.stdout.isatty()))
    print(f"report: {report}" if report.exists() else f"{report} is not made yet; run snakemake")
    return 0


def lines_of(
    study: Path, brain: str, role: str, sections: list[Section], config: dict[str, Any]
) -> list[str]:
    """The line of a brain, followed by indented notes."""
    stages = stages_of(study, brain, sections, config)
    progress = progress_of(study, brain, stages, config)
    at = f" at {progress.stage}" if progress.stage else ""
    notes = [progress.reason] if progress.reason else []
    if progress.state != DONE:
        counts = [
            f"{stage.name} {len(stage.files) - len(stage.missing)}/{len(stage.files)}"
            for stage in stages
            if stage.files
        ]
        notes.append(f"files: {', '.join(counts)}")
    notes += supplied_files(study / "manual" / brain)
    notes += section_notes(study, brain, stages)
    notes += surface_notes(study, brain)
    notes += open_checks(study, brain)
    head = f"{brain} ({role}, {len(sections)} sections): {progress.state}{at}"
    return [head, *(f"    {note}" for note in notes)]


def stages_of(
    study: Path, brain: str, sections: list[Section], config: dict[str, Any]
) -> list[Stage]:
    """The results of the workflow for one brain, in the order of the stages."""
    results, logs = study / "results", study / "logs"
    span = config["study"]["chunk_span"]
    chunks = list(dict.fromkeys(chunk_of(section.section, span) for section in sections))
    copied = [
        f"{section.section:05d}"
        for section in sections
        if needs_pyramid(section.image, section.levels, section.background)
    ]

    def each(stage: str, names: list[str], end: str) -> list[tuple[Path, Path]]:
        return [
            (results / stage / brain / f"{name}{end}", logs / stage / brain / f"{name}.log")
            for name in names
        ]

    def one(stage: str, name: str, log: str) -> tuple[Path, Path]:
        return results / stage / brain / name, logs / stage / f"{log}.log"

    pairs = [f"pairs-{chunk}" for chunk in chunks]
    stack = [one("alignment", "stack.parquet", f"{brain}/stack")]
    volume = one("reconstruction", "whole.nii.gz", f"{brain}-volume")
    return [
        Stage("pyramids", each("pyramids", copied, ".ome.tif")),
        Stage("segmentation", each("segmentation", chunks, ".parquet")),
        Stage("alignment", each("alignment", pairs, ".parquet") + stack),
        Stage("reconstruction", [volume, one("reconstruction", "tissue.nii.gz", brain)]),
        Stage("midsurface", [one("midsurface", "surfaces.parquet", brain)]),
        Stage("midline", each("midline", chunks, ".parquet")),
        Stage("coordinates", [one("coordinates", "points.parquet", brain)]),
        Stage("report", [(results / "report" / f"{brain}.html", logs / "report" / f"{brain}.log")]),
    ]


def supplied_files(manual: Path) -> list[str]:
    """Notes on files in `manual` that replace the results of stages."""
    names = sorted(path.name for path in manual.glob("*") if path.is_file())
    notes = []
    for what, replaced, pattern in (
        ("tissue", "the stacked sections", _TISSUE),
        ("surfaces", "those at half depth", _SURFACE),
    ):
        if files := ", ".join(filter(pattern.fullmatch, names)):
            notes.append(f"supplied {what}, in place of {replaced}: {files} in {manual}")
    return notes


def progress_of(study: Path, brain: str, stages: list[Stage], config: dict[str, Any]) -> Progress:
    """The progress of a brain, from the first stage that is not done."""
    stage = next((stage for stage in stages if stage.missing), None)
    if stage is None:
        return Progress(DONE)
    whole = study / "results" / "reconstruction" / brain / "whole.nii.gz"
    manual = study / "manual" / brain
    required = config["study"]["missing_exclusion"] == "stop"
    drawn = any((manual / f"exclusion{end}").exists() for end in (".nii.gz", ".seg.nrrd"))
    if stage.name == "reconstruction" and whole.exists() and required and not drawn:
        proposed = study / "results" / "coordinates" / brain / "proposed-exclusion.nii.gz"
        start = f", starting from {proposed}" if proposed.exists() else ""
        return Progress(
            WAITING,
            stage.name,
            f"{manual / 'exclusion.seg.nrrd'} (or .nii.gz) is missing; mark everything that is not "
            f"cortex on {whole}{start}, or set study.missing_exclusion to go_on "
            "(docs/new-brain.md)",
        )
    failed = failed_files(study)
    for file, log in stage.missing:
        error = error_in(log)
        if error or file.relative_to(study).as_posix() in failed:
            reason = error or "its process was killed, perhaps for lack of memory"
            return Progress(FAILED, stage.name, f"{reason} (log: {log})")
    started = [log for _, log in stage.missing if log.exists()]
    if started and any((study / ".snakemake" / "locks").glob("*")):
        return Progress(RUNNING, stage.name, f"{last_line(started[-1])} (log: {started[-1]})")
    return Progress(OPEN, stage.name)


def error_in(log: Path) -> str:
    """The error that ended a process, from its log; "" if there is none."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    ends = list(_END.finditer(text))
    if not ends:
        return ""
    if ends[-1][1].startswith("error: "):
        return text[ends[-1].start(1) + len("error: ") :].strip()
    return last_line(log)  # of the traceback


def last_line(log: Path) -> str:
    """The last line of a log, without the time."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return re.sub(r"^\d\d:\d\d:\d\d ", "", lines[-1]) if lines else "has just started"


def failed_files(study: Path) -> set[str]:
    """Outputs of the jobs that failed in the last run of Snakemake."""
    runs = sorted((study / ".snakemake" / "log").glob("*.snakemake.log"))
    if not runs:
        return set()
    text = runs[-1].read_text(encoding="utf-8", errors="replace")
    return {path for outputs in _RULE_FAILED.findall(text) for path in outputs.split(", ")}


def section_notes(study: Path, brain: str, stages: list[Stage]) -> list[str]:
    """Notes on sections that are not ok, and on proposals without an answer."""
    notes = []
    statuses: dict[int, str] = {}
    remarks: dict[int, str] = {}
    places: list[tables.StackRow] = []
    pairs: list[tables.PairRow] = []
    try:
        for file, _ in next(stage for stage in stages if stage.name == "segmentation").files:
            if file.exists():
                rows = tables.read_rows(tables.SegmentationRow, file)
                statuses |= {row.section: row.status for row in rows}
                remarks |= {row.section: row.remarks for row in rows if row.remarks}
        stack = study / "results" / "alignment" / brain / "stack.parquet"
        if stack.exists():
            places = tables.read_rows(tables.StackRow, stack)
            statuses |= {row.section: row.status for row in places}
        if stack.with_name("pairs.parquet").exists():
            pairs = tables.read_rows(tables.PairRow, stack.with_name("pairs.parquet"))
        proposed = stack.with_name("proposed-sections.tsv")
        answered = study / "manual" / brain / "sections.tsv"
        audited = stack.with_name("audit-sections.tsv")
        answers = _sections_in(answered)
        proposals = _sections_in(proposed) - answers
        findings = _sections_in(audited) - answers
    except InputError as error:
        return [str(error)]
    for values in (statuses, remarks):
        for value in Counter(values.values()):
            if value != "ok":
                numbers = sorted(number for number, own in values.items() if own == value)
                notes.append(f"{len(numbers)} {value}: {_listed(numbers)}")
    if unknown := [row.section for row in places if row.handedness == tables.CANNOT_TELL]:
        notes.append(
            f"{len(unknown)} uncertain because their pairs do not show whether they are mirrored: "
            f"{_listed(unknown)}; write mirrored yes or no into {answered}"
        )
    uncertain = [row.section for row in places if row.status == tables.UNCERTAIN]
    if split := [section for section in uncertain if tables.displaced_um(section, pairs) > 0]:
        notes.append(
            f"{len(split)} uncertain because a part of their tissue lies elsewhere on the slide: "
            f"{_listed(split)}; exclude them, or write the transform of the rest into {answered}"
        )
    fragments = Counter(row.fragment for row in places if row.fragment)
    if len(fragments) > 1:
        apart = [row.section for row in places if row.fragment > 1]
        notes.append(
            f"accepted pairs connect {fragments[1]} sections; {len(apart)} in {len(fragments) - 1} "
            f"other fragments: {_listed(apart)}"
        )
    for unanswered, what, path in (
        (proposals, "proposals", proposed),
        (findings, "findings of the audit", audited),
    ):
        if unanswered:
            notes.append(f"{len(unanswered)} {what} to look at: {path}; answers go to {answered}")
    return notes


def surface_notes(study: Path, brain: str) -> list[str]:
    """Surfaces that are not ok, with the places to look at, and tissue in no hemisphere."""
    path = study / "results" / "midsurface" / brain / "surfaces.parquet"
    if not path.exists():
        return []
    try:
        rows = tables.read_rows(tables.SurfaceRow, path)
    except InputError as error:
        return [str(error)]
    notes = [row.alarm for row in rows if row.alarm]
    if rows and rows[0].unassigned_mm3 > 0:
        notes.append(f"{rows[0].unassigned_mm3:.0f} mm3 of tissue belong to no hemisphere")
    return notes


def open_checks(study: Path, brain: str) -> list[str]:
    """Checks of the way to the template that failed or that could not tell."""
    path = study / "results" / "coordinates" / brain / "checks.parquet"
    if not path.exists():
        return []
    try:
        checks = tables.read_rows(tables.CheckRow, path)
    except InputError as error:
        return [str(error)]
    return [row.alarm for row in checks if row.alarm]


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:_SHOWN])) + (" ..." * (len(numbers) > _SHOWN))


def _sections_in(path: Path) -> set[str]:
    rows = read_table(path, ("section",), COLUMNS[1:]) if path.exists() else []
    return {row["section"] for _, row in rows}
