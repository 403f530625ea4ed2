"""`python -m cytopipe status`: where each brain of a study stands, and whom it waits for."""

import argparse
import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cytopipe.files import InputError
from cytopipe.formats import tables, truth_table
from cytopipe.study import config as study_config
from cytopipe.study.corrections import COLUMNS
from cytopipe.study.sections import (
    Section,
    chunk_of,
    needs_pyramid,
    read_brains,
    read_sections,
    read_tsv,
)

DONE, RUNNING, WAITING, FAILED, OPEN = "done", "running", "waiting for a person", "failed", "to run"
_SHOWN = 12
# what a log ends with if its process did not (logs.to), after the time of day
_END = re.compile(r"^\d\d:\d\d:\d\d (error: .*|stopped by an error)$", re.MULTILINE)
_SURFACE = re.compile(r"hemi-[LR]_(mid|pial|white)(\.surf\.gii|\.obj)")
_RULE_FAILED = re.compile(r"^Error in rule \w+:\n(?: +.*\n)*? +output: (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Stage:
    """A stage of one brain: the files that it leaves, and the log of each."""

    name: str
    files: list[tuple[Path, Path]]

    @property
    def missing(self) -> list[tuple[Path, Path]]:
        return [(file, log) for file, log in self.files if not file.exists()]


@dataclass(frozen=True)
class Standing:
    """Where a brain stands.

    Attributes
    ----------
    state : one of DONE, RUNNING, WAITING, FAILED, OPEN.
    stage : the first that is not done, "" if all are.
    reason : why, and what to do.
    """

    state: str
    stage: str
    reason: str


def run(arguments: list[str]) -> int:
    """Say where each brain stands (done, running, waiting for a person, failed, to run) and why.

    Whether what is done is still up to date, `snakemake -n` says.
    """
    parser = argparse.ArgumentParser("cytopipe status", description=run.__doc__)
    parser.add_argument("--study", type=Path, default=Path(), help="study folder; here by default")
    study: Path = parser.parse_args(arguments).study
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
    """A brain's line and, under it, what a person should know."""
    found = stages_of(study, brain, sections, config)
    standing = standing_of(study, brain, found, config)
    at = f" at {standing.stage}" if standing.stage else ""
    lines = [f"{brain} ({role}, {len(sections)} sections): {standing.state}{at}"]
    if standing.reason:
        lines.append(f"    {standing.reason}")
    if standing.state != DONE:
        counts = [
            f"{stage.name} {len(stage.files) - len(stage.missing)}/{len(stage.files)}"
            for stage in found
            if stage.files
        ]
        lines.append(f"    files: {', '.join(counts)}")
    lines += [f"    {text}" for text in ready_made(study / "manual" / brain)]
    lines += [f"    {text}" for text in section_notes(study, brain, found)]
    lines += [f"    {text}" for text in failed_checks(study, brain)]
    return lines


def stages_of(
    study: Path, brain: str, sections: list[Section], config: dict[str, Any]
) -> list[Stage]:
    """What the rules of the workflow write for one brain, in the chain's order."""
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


def ready_made(manual: Path) -> list[str]:
    """Which files of a person take the place of what stages would make."""
    names = sorted(path.name for path in manual.glob("*") if path.is_file())
    tissue = [name for name in names if name == "tissue.nii.gz"]
    surfaces = [name for name in names if _SURFACE.fullmatch(name)]
    return [
        f"ready-made {what}, in place of {stage}: {', '.join(files)} in {manual}"
        for what, stage, files in (
            ("tissue", "the stacked sections", tissue),
            ("surfaces", "those at half depth", surfaces),
        )
        if files
    ]


def standing_of(study: Path, brain: str, stages: list[Stage], config: dict[str, Any]) -> Standing:
    """The first stage that is not done says where a brain stands."""
    stage = next((stage for stage in stages if stage.missing), None)
    if stage is None:
        return Standing(DONE, "", "")
    whole = study / "results" / "reconstruction" / brain / "whole.nii.gz"
    manual = study / "manual" / brain
    wanted = config["study"]["missing_exclusion"] == "stop"
    drawn = any((manual / f"exclusion{end}").exists() for end in (".nii.gz", ".seg.nrrd"))
    if stage.name == "reconstruction" and whole.exists() and wanted and not drawn:
        proposed = study / "results" / "coordinates" / brain / "proposed-exclusion.nii.gz"
        start = f", starting from {proposed}" if proposed.exists() else ""
        return Standing(
            WAITING,
            stage.name,
            f"{manual / 'exclusion.seg.nrrd'} (or .nii.gz) is not there; mark what is no cortex on "
            f"{whole}{start}, or set study.missing_exclusion to go_on (docs/new-brain.md)",
        )
    broken = failed_files(study)
    for file, log in stage.missing:
        end = end_of(log)
        if end or file.relative_to(study).as_posix() in broken:
            said = end or "its process was ended, perhaps for want of memory"
            return Standing(FAILED, stage.name, f"{said} (log: {log})")
    started = [log for _, log in stage.missing if log.exists()]
    if started and any((study / ".snakemake" / "locks").glob("*")):
        return Standing(RUNNING, stage.name, f"{last_line(started[-1])} (log: {started[-1]})")
    return Standing(OPEN, stage.name, "")


def end_of(log: Path) -> str:
    """Why a log's process ended early: its last error, "" if it tells of none."""
    if not log.exists():
        return ""
    text = log.read_text(encoding="utf-8", errors="replace")
    found = list(_END.finditer(text))
    if not found:
        return ""
    if found[-1][1].startswith("error: "):
        return text[found[-1].start(1) + len("error: ") :].strip()
    # a traceback follows; its last line says what it was
    return last_line(log)


def last_line(log: Path) -> str:
    """The last line of a log that says something, without the time."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return re.sub(r"^\d\d:\d\d:\d\d ", "", lines[-1]) if lines else "has just started"


def failed_files(study: Path) -> set[str]:
    """Outputs of the jobs that failed in the latest run of Snakemake."""
    runs = sorted((study / ".snakemake" / "log").glob("*.snakemake.log"))
    if not runs:
        return set()
    text = runs[-1].read_text(encoding="utf-8", errors="replace")
    return {path for outputs in _RULE_FAILED.findall(text) for path in outputs.split(", ")}


def section_notes(study: Path, brain: str, stages: list[Stage]) -> list[str]:
    """Sections that are not ok, and proposals that a person has not answered."""
    notes = []
    statuses: dict[int, str] = {}
    try:
        for file, _ in next(stage for stage in stages if stage.name == "segmentation").files:
            if file.exists():
                rows = tables.read_rows(tables.SegmentationRow, file)
                statuses |= {row.section: row.status for row in rows}
        stack = study / "results" / "alignment" / brain / "stack.parquet"
        if stack.exists():
            places = tables.read_rows(tables.StackRow, stack)
            statuses |= {row.section: row.status for row in places}
        proposed = stack.with_name("proposed-sections.tsv")
        answered = study / "manual" / brain / "sections.tsv"
        audited = stack.with_name("audit-sections.tsv")
        given = _sections_in(answered)
        open_numbers = _sections_in(proposed) - given
        open_findings = _sections_in(audited) - given
    except InputError as error:
        return [str(error)]
    for status in Counter(statuses.values()):
        if status != "ok":
            numbers = sorted(number for number, it in statuses.items() if it == status)
            shown = ", ".join(map(str, numbers[:_SHOWN])) + (" ..." * (len(numbers) > _SHOWN))
            notes.append(f"{len(numbers)} {status}: {shown}")
    if open_numbers:
        notes.append(
            f"{len(open_numbers)} proposals to look at: {proposed}; answers go to {answered}"
        )
    if open_findings:
        notes.append(
            f"{len(open_findings)} findings of the audit to look at: {audited}; answers go to "
            f"{answered}"
        )
    return notes


def failed_checks(study: Path, brain: str) -> list[str]:
    """What the coordinates stage found wrong with the way to the template."""
    path = study / "results" / "coordinates" / brain / "checks.parquet"
    if not path.exists():
        return []
    try:
        checks = tables.read_rows(tables.CheckRow, path)
    except InputError as error:
        return [str(error)]
    return [
        f"CHECK FAILED: {row.check}: {row.value:.3g} {row.unit}, {row.limit}; {row.remedy}"
        for row in checks
        if row.has_failed
    ]


def _sections_in(path: Path) -> set[str]:
    if not path.exists():
        return set()
    return {row["section"] for _, row in read_tsv(path, ("section",), COLUMNS[1:])}
