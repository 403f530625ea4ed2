"""`python -m cytopipe status`: show the progress of each brain of a study."""

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cytopipe.commands.plan import Job, jobs_to_run
from cytopipe.commands.study_parser import study_parser
from cytopipe.files import InputError
from cytopipe.formats import tables, truth_table
from cytopipe.formats.text import read_table
from cytopipe.study import config as study_config
from cytopipe.study.areas import foreign_alarm
from cytopipe.study.corrections import COLUMNS
from cytopipe.study.sections import Section, chunk_of, read_brains, read_sections

DONE, RUNNING, WAITING, FAILED, OPEN = "done", "running", "waiting for a person", "failed", "to run"
# in the order in which they run
_STAGES = (
    *("pyramids", "segmentation", "alignment", "reconstruction", "midsurface", "midline"),
    *(
        "coordinates",
        "patches",
        "pretraining",
        "features",
        "evaluation",
        "mapping",
        "truth",
        "report",
    ),
)
_SHOWN = 12
# the last message of a process that failed (see logs.configure), after the time
_END = re.compile(r"^\d\d:\d\d:\d\d (error: .*|stopped by an error)$", re.MULTILINE)
_TISSUE = re.compile(r"tissue\.nii\.gz")
_SURFACE = re.compile(r"hemi-[LR]_(mid|pial|white)(\.surf\.gii|\.obj)")
_RULE_FAILED = re.compile(r"^Error in rule \w+:\n(?: +.*\n)*? +output: (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Progress:
    """DONE, RUNNING, WAITING, FAILED or OPEN; the first stage that is not done; and the reason."""

    state: str
    stage: str = ""
    reason: str = ""

    @property
    def text(self) -> str:
        return f"{self.state} at {self.stage}" if self.stage else self.state


def run(arguments: list[str]) -> int:
    """Print whether each brain is done, running, waiting for a person, failed or to run, and why.

    To run is what `snakemake -n` lists, and nothing else.
    """
    parser = study_parser("status", run)
    parser.add_argument("--profile", default="", help="the profile with which snakemake is run")
    options = parser.parse_args(arguments)
    study: Path = options.study
    ends_with_report = True
    if (study / "config" / "config.yaml").exists():
        config = study_config.read(study / "config" / "config.yaml")
        study_config.check(config, str(study / "config" / "config.yaml"))
        roles = read_brains(study / "config" / "brains.tsv")
        sections = read_sections(study / "config" / "sections.tsv", brains=list(roles))
        jobs: defaultdict[str, list[Job]] = defaultdict(list)
        for job in jobs_to_run(study, options.profile):
            jobs[_brain_of(job, roles)].append(job)
        for brain, role in roles.items():
            own = [section for section in sections if section.brain == brain]
            for line in lines_of(study, brain, role, own, config, jobs[brain]):
                print(line)
        for line in lines_of_rest(study, jobs[""]):
            print(line)
        # without a template, a study ends with its points
        ends_with_report = any(job.rule == "report" for job in jobs[""])
    report = study / "results" / "report" / "index.html"
    truth = report.with_name("truth.tsv")
    if truth.exists():
        print(truth_table.format_table(truth_table.read(truth), colour=sys.stdout.isatty()))
    if report.exists():
        print(f"report: {report}")
    elif ends_with_report:
        print(f"{report} is not made yet; run snakemake")
    return 0


def lines_of(
    study: Path,
    brain: str,
    role: str,
    sections: list[Section],
    config: dict[str, Any],
    jobs: list[Job],
) -> list[str]:
    """The line of a brain, followed by indented notes."""
    progress = waiting_for_mask(study, brain, jobs, config) or progress_of(study, jobs)
    span = config["study"]["chunk_span"]
    chunks = list(dict.fromkeys(chunk_of(section.section, span) for section in sections))
    notes = _reasons(progress, jobs)
    notes += supplied_files(study / "manual" / brain)
    notes += section_notes(study, brain, chunks)
    notes += surface_notes(study, brain)
    notes += open_checks(study, brain)
    notes += map_notes(study, brain, config["mapping"]["false_alarms"])
    head = f"{brain} ({role}, {len(sections)} sections): {progress.text}"
    return [head, *(f"    {note}" for note in notes)]


def lines_of_rest(study: Path, jobs: list[Job]) -> list[str]:
    """The line of what is made from all brains: data sets, networks, scores and the report."""
    progress = progress_of(study, jobs)
    notes = (f"    {note}" for note in _reasons(progress, jobs))
    return [f"networks, evaluation and report: {progress.text}", *notes]


def _brain_of(job: Job, brains: Collection[str]) -> str:
    """The brain whose scans, points or page a job makes; "" for features, maps and what follows."""
    brain = job.wildcards.get("brain", "")
    after_networks = job.stage in ("features", "mapping") or job.rule == "report_map"
    return brain if brain in brains and not after_networks else ""


def _reasons(progress: Progress, jobs: list[Job]) -> list[str]:
    counts = Counter(job.rule for job in jobs)
    listed = ", ".join(f"{count} {rule}" for rule, count in counts.items())
    return [progress.reason] * bool(progress.reason) + [f"jobs: {listed}"] * bool(listed)


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


def waiting_for_mask(
    study: Path, brain: str, jobs: list[Job], config: dict[str, Any]
) -> Progress | None:
    """WAITING if the next job of a brain needs a mask that a person has to draw; otherwise None."""
    whole = study / "results" / "reconstruction" / brain / "whole.nii.gz"
    manual = study / "manual" / brain
    required = config["study"]["missing_exclusion"] == "stop"
    drawn = any((manual / f"exclusion{end}").exists() for end in (".nii.gz", ".seg.nrrd"))
    rules = [job.rule for job in jobs if job.is_ready]
    if rules != ["reconstruction"] or not whole.exists() or not required or drawn:
        return None
    proposed = study / "results" / "coordinates" / brain / "proposed-exclusion.nii.gz"
    start = f", starting from {proposed}" if proposed.exists() else ""
    return Progress(
        WAITING,
        "reconstruction",
        f"{manual / 'exclusion.seg.nrrd'} (or .nii.gz) is missing; mark everything that is not "
        f"cortex on {whole}{start}, or set study.missing_exclusion to go_on (docs/new-brain.md)",
    )


def progress_of(study: Path, jobs: list[Job]) -> Progress:
    """The progress, from the jobs that are to run."""
    if not jobs:
        return Progress(DONE)
    ready = sorted(
        [job for job in jobs if job.is_ready] or jobs, key=lambda job: _STAGES.index(job.stage)
    )
    failed = failed_files(study)
    for job in ready:
        error = error_in(study / job.log)
        if error or failed.intersection(job.outputs):
            reason = error or "its process was killed, perhaps for lack of memory"
            return Progress(FAILED, job.stage, f"{reason} (log: {study / job.log})")
    locks = [lock.stat().st_mtime for lock in (study / ".snakemake" / "locks").glob("*")]
    for job in ready:
        log = study / job.log
        # an earlier run may have left a log
        if locks and log.exists() and log.stat().st_mtime >= min(locks):
            return Progress(RUNNING, job.stage, f"{last_line(log)} (log: {log})")
    return Progress(OPEN, ready[0].stage)


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


def section_notes(study: Path, brain: str, chunks: list[str]) -> list[str]:
    """Notes on sections that are not ok, and on proposals without an answer."""
    notes = []
    statuses: dict[int, str] = {}
    remarks: dict[int, str] = {}
    places: list[tables.StackRow] = []
    pairs: list[tables.PairRow] = []
    try:
        for chunk in chunks:
            file = study / "results" / "segmentation" / brain / f"{chunk}.parquet"
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


def map_notes(study: Path, brain: str, false_alarms: float) -> list[str]:
    """What to know of the map of areas before it is used."""
    path = study / "results" / "mapping" / f"{brain}.parquet"
    if not path.exists():
        return []
    try:
        alarm = foreign_alarm(tables.read(tables.MapRow, path), false_alarms)
    except InputError as error:
        return [str(error)]
    return [alarm] if alarm else []


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:_SHOWN])) + (" ..." * (len(numbers) > _SHOWN))


def _sections_in(path: Path) -> set[str]:
    rows = read_table(path, ("section",), COLUMNS[1:]) if path.exists() else []
    return {row["section"] for _, row in rows}
