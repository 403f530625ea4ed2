"""`python -m cytopipe check`: find problems of a study before a run."""

from collections import Counter
from pathlib import Path

from cytopipe.commands.check import estimate, manual, networks, scans, template
from cytopipe.commands.study_parser import study_parser
from cytopipe.files import InputError, atomic_write
from cytopipe.study import config as study_config
from cytopipe.study import consistency
from cytopipe.study.consistency import Measured, runs, tasks
from cytopipe.study.corrections import corrected
from cytopipe.study.declarations import read_declarations
from cytopipe.study.findings import COLUMNS, ERROR, NOTE, OK, WARNING, Finding, of_error
from cytopipe.study.sections import check_brains, read_brains, read_sections

_SHOWN = 20  # errors or warnings of one kind on the terminal


def run(arguments: list[str]) -> int:
    """Check a study: config, tables, every scan, manual files, template, time, memory and disk."""
    parser = study_parser("check", run)
    parser.add_argument("--table", type=Path, help="write all findings there (tab-separated)")
    options = parser.parse_args(arguments)

    findings = check_study(options.study)
    if options.table:
        rows = ["\t".join(COLUMNS), *("\t".join(finding.cells()) for finding in findings)]
        with atomic_write(options.table) as beside:
            beside.write_text("\n".join(rows) + "\n", encoding="utf-8")
    report(findings)
    if options.table:
        print(f"all {len(findings)} findings: {options.table}")
    counts = Counter(finding.level for finding in findings)
    if counts[ERROR]:
        print(f"{options.study}: errors: {counts[ERROR]}, warnings: {counts[WARNING]}")
        return 1
    print(f"{options.study}: in order; warnings: {counts[WARNING]}")
    return 0


def check_study(study: Path) -> list[Finding]:
    """All findings; if the config or the tables cannot be read, only that."""
    path = study / "config" / "config.yaml"
    try:
        config = study_config.read(path)
        study_config.check(config, str(path))
        roles = read_brains(study / "config" / "brains.tsv")
        sections = read_sections(study / "config" / "sections.tsv", brains=list(roles))
        check_brains(sections, roles)
        declared = read_declarations(study / "config" / "brains.tsv")
    except InputError as error:
        return [of_error(error, "config")]
    # excluded scans may be broken
    used = [section for section in sections if not section.excluded]
    scanned, findings = scans.examine_scans(study, used)
    findings += scans.check_numbers(sections)
    findings += scans.check_resolution(scanned, config)
    of_template, tissue = template.check_template(study, config)
    try:
        decided = corrected(sections, study / "manual")
    except InputError:  # the check of the manual files says so
        decided = sections
    measured = Measured(
        scans.longer_sides_mm(scanned), None if tissue is None else template.length_mm(tissue)
    )
    findings += consistency.of_tables(study, config, decided, roles)
    findings += consistency.of_later_stages(study, config, decided, roles, declared, measured)
    files = runs.annotation_files(study, config)
    findings += tasks.describe_tasks(config, roles, files)
    findings += manual.check_manual(study, sections, scanned, config, tissue)
    findings += of_template
    findings += estimate.check_resources(study, scanned, config)
    findings += networks.check_networks(study, scanned, config)
    text = f"{len(roles)} brains, {len(sections)} sections, {len(sections) - len(used)} excluded"
    return [Finding(OK, "config", text), *findings]


def report(findings: list[Finding]) -> None:
    """Print errors and warnings first, then a summary of the rest."""
    for level in (ERROR, WARNING):
        for subject in dict.fromkeys(f.subject for f in findings if f.level == level):
            alike = [f for f in findings if (f.level, f.subject) == (level, subject)]
            for finding in alike[:_SHOWN]:
                where = " ".join(str(word) for word in (finding.brain, finding.section) if word)
                print(f"{level}: {subject}{f' of {where}' if where else ''}: {finding.finding}")
                if finding.remedy:
                    print(f"    {finding.remedy}")
            if len(alike) > _SHOWN:
                print(f"    and {len(alike) - _SHOWN} more of this kind; see --table")
    good = Counter(f.subject for f in findings if f.level == OK)
    print("in order: " + ", ".join(f"{count} {subject}" for subject, count in good.items()))
    for finding in findings:
        if finding.level == NOTE:
            where = f"{finding.brain}: " if finding.brain else ""
            print(f"{finding.subject}: {where}{finding.finding}")
