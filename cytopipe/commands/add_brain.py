"""`python -m cytopipe add-brain`: add the scans of a brain to a study, and report oddities."""

import argparse
import csv
import io
import os
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from cytopipe.commands.check import estimate
from cytopipe.commands.new_stack import Notes, compared
from cytopipe.commands.study_parser import number, study_parser
from cytopipe.files import InputError, atomic_write
from cytopipe.formats import units
from cytopipe.formats.images import Examination, examine
from cytopipe.study import bids, scans
from cytopipe.study.findings import some
from cytopipe.study.scans import Scan
from cytopipe.study.sections import (
    BACKGROUNDS,
    OPTIONAL,
    REQUIRED,
    ROLES,
    Section,
    check_name,
    check_path,
    needs_pyramid,
    read_brains,
    read_sections,
)


@dataclass(frozen=True)
class ScanRow:
    """A scan, with the pixel size and thickness for its row of sections.tsv."""

    scan: Scan
    spacing_um: float
    thickness_um: float
    examination: Examination | None


def run(arguments: list[str]) -> int:
    """Add the rows of a brain to config/sections.tsv and config/brains.tsv, and print a summary."""
    parser = study_parser("add-brain", run)
    parser.add_argument("brain", help="its name: letters, digits, _ and -")
    add_options(parser)
    options = parser.parse_args(arguments)

    known = check_new(options.study, options.brain)
    rows = listed(options, options.brain)
    if options.dry_run:
        print("nothing was written (--dry-run)")
        return 0
    cells = cells_of(options.study, options.brain, rows, options.background)
    write(options.study / "config", options.brain, options.role, cells, known)
    print(
        f"wrote {len(rows)} rows to {options.study / 'config' / 'sections.tsv'} and the brain to "
        f"{options.study / 'config' / 'brains.tsv'}\nnext: python -m cytopipe check"
    )
    return 0


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that say where scans are and what is known of them."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--images", type=Path, help="the folder of the scans")
    source.add_argument("--bids", type=Path, help="a BIDS data set, or the folder of a subject")
    parser.add_argument("--role", choices=ROLES, default="unseen", help="unseen by default")
    parser.add_argument("--spacing-um", type=number, help="pixel size; by default from the files")
    parser.add_argument("--thickness-um", type=number, help="of a section; by default from a table")
    parser.add_argument(
        "--pattern", help="of the names, as B21_{section}_*.tif; by default from their differences"
    )
    parser.add_argument(
        "--table", type=Path, help="CSV or TSV with columns section, image; instead of names"
    )
    parser.add_argument(
        "--background", choices=BACKGROUNDS, default="bright", help="bright by default"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the summary, write nothing")


def listed(options: argparse.Namespace, brain: str) -> list[ScanRow]:
    """The scans of a brain with pixel size and thickness; prints a summary and oddities."""
    brain_scans, notes = find_scans(options, brain)
    check_doubled(brain_scans)
    rows, more = measured(brain_scans, options.spacing_um, options.thickness_um)
    more.append(("background", background_note(rows, options.background)))
    more.append(("copies", copies_note(options.study, rows, options.background)))
    examined = [row.examination for row in rows]
    more += compared(options.study, sections_of(brain, rows), examined)
    print(f"{brain}: {len(rows)} scans under {options.bids or options.images}")
    for name, text in [*order_notes([scan.section for scan in brain_scans]), *notes, *more]:
        print(f"  {name:<12}{text}")
    return rows


def check_new(study: Path, brain: str) -> bool:
    """Whether brains.tsv contains the brain already; raises InputError if it has sections."""
    check_name(brain)
    sheet = study / "config" / "sections.tsv"
    if sheet.exists():
        have = sum(section.brain == brain for section in read_sections(sheet))
        if have:
            raise InputError(
                f"{sheet}: brain {brain} has {have} rows already; remove them to add it again, "
                "edit them, or give another name"
            )
    table = study / "config" / "brains.tsv"
    return table.exists() and brain in read_brains(table)


def find_scans(options: argparse.Namespace, brain: str) -> tuple[list[Scan], Notes]:
    """The scans of the brain, and notes about their source."""
    left_out: list[Path] = []
    notes = []
    if options.bids and options.pattern:
        raise InputError("--pattern: BIDS fixes the names; use --images or --table")
    if options.table and options.pattern:
        raise InputError("--pattern and --table both give the numbers; use one of them")
    if options.table:
        folder = options.images or bids.subject_of(options.bids, brain)[1]
        brain_scans, left_out, unused = scans.from_table(scans.images_in(folder), options.table)
        if unused:
            notes.append(("columns", f"of {options.table.name} not used: {', '.join(unused)}"))
    elif options.bids:
        brain_scans = bids.scans_of(options.bids, brain)
    else:
        brain_scans, left_out = scans.numbered(scans.images_in(options.images), options.pattern)
    if not brain_scans:
        raise InputError(f"{options.table}: has no rows; add the sections")
    for scan in brain_scans:
        check_path(scan.path.name, f"{scan.path}: its name")
    if left_out:
        notes.append(("left out", f"{len(left_out)} files: {some([p.name for p in left_out])}"))
    return brain_scans, notes


def check_doubled(brain_scans: list[Scan]) -> None:
    """Raise InputError if two files have the same section, or two sections the same file."""
    for attribute, what in (("section", "section"), ("path", "file")):
        counts = Counter(getattr(scan, attribute) for scan in brain_scans)
        twice = [value for value, count in counts.items() if count > 1]
        if twice:
            same = [scan for scan in brain_scans if getattr(scan, attribute) == twice[0]]
            names = ", ".join(f"{scan.path.name} (section {scan.section})" for scan in same[:4])
            raise InputError(
                f"{same[0].path.parent}: {len(twice)} {what}s are there twice: {names}; remove or "
                "rename one of each, or choose with --table"
            )


def order_notes(numbers: list[int]) -> Notes:
    """Notes on the range, step, gaps and order of section numbers."""
    step, gaps = scans.step_of(numbers), scans.missing(numbers)
    notes = [
        ("numbers", f"{min(numbers)} to {max(numbers)}, mostly in steps of {step}"),
        ("missing", f"{len(gaps)}: {some(gaps)}" if gaps else "none"),
        ("doubled", "none"),
    ]
    if odd := [n for n in numbers if step and (n - min(numbers)) % step]:
        notes.append(("off step", f"{len(odd)}: {some(odd)}"))
    if falling := [after for before, after in pairwise(numbers) if after < before]:
        notes.append(("order", f"{len(falling)} numbers fall in the list: {some(falling)}"))
    return notes


def measured(
    brain_scans: list[Scan], spacing_um: float | None, thickness_um: float | None
) -> tuple[list[ScanRow], Notes]:
    """Pixel size and thickness of every scan, from the options and the files.

    Raises
    ------
    InputError
        If they are unknown, contradictory or implausible.
    """
    for name, value in (("--spacing-um", spacing_um), ("--thickness-um", thickness_um)):
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"{name} {value:g}: give a positive number of um")
    scans_read, errors = {}, {}
    for scan in brain_scans:
        try:
            scans_read[scan.path] = examine(scan.path)
        except InputError as error:
            errors[scan.path] = str(error)
    if not scans_read:
        raise InputError(
            f"none of {len(brain_scans)} files can be read: {next(iter(errors.values()))}"
        )
    spacings = {
        scan.path: _spacing(scan, scans_read[scan.path], spacing_um)
        for scan in brain_scans
        if scan.path in scans_read
    }
    used = Counter(value for value, _ in spacings.values())
    sources = Counter(source for _, source in spacings.values())
    usual = spacing_um or used.most_common(1)[0][0]
    rows = []
    for scan in sorted(brain_scans, key=lambda scan: scan.section):
        value = spacings.get(scan.path, (scan.spacing_um or usual, ""))[0]
        rows.append(ScanRow(scan, value, _thickness(scan, thickness_um), scans_read.get(scan.path)))
    more = [str(path.name) for path, scan in scans_read.items() if scan.left_out]
    return rows, [
        ("spacing", f"{_counted(used)} um per pixel, from {_counted(sources)}"),
        ("thickness", _counted(Counter(row.thickness_um for row in rows)) + " um"),
        ("formats", _counted(Counter(scan.format for scan in scans_read.values()))),
        ("unreadable", "\n    ".join([f"{len(errors)}", *errors.values()])),
        *(
            [("images", f"the largest one of {len(more)} files is the scan: {some(more)}")]
            * bool(more)
        ),
    ]


def sections_of(brain: str, rows: list[ScanRow]) -> list[Section]:
    """The scans as rows of sections.tsv, with absolute paths."""
    return [
        Section(
            brain,
            row.scan.section,
            str(row.scan.path.absolute()),
            row.spacing_um,
            row.thickness_um,
            excluded=bool(row.scan.excluded),
        )
        for row in rows
    ]


def background_note(rows: list[ScanRow], background: str) -> str:
    """The background, and which scans seem to have another."""
    other = [
        row.scan.section
        for row in rows
        if row.examination and row.examination.background not in ("", background)
    ]
    if not other:
        return background
    opposite = "dark" if background == "bright" else "bright"
    return (
        f"{background}, but {len(other)} look {opposite}: {some(other)}; give --background "
        f"{opposite}, or correct `background` of their rows"
    )


def copies_note(study: Path, rows: list[ScanRow], background: str) -> str:
    """How many scans the workflow copies, why, and what it costs."""
    reasons = {
        row.scan.path: row.examination.needs_copy or "a dark background"
        for row in rows
        if row.examination and (row.examination.needs_copy or background == "dark")
    }
    if not reasons:
        return "none, all scans are read in place"
    cost = estimate.copies(
        [row.examination for row in rows if row.examination and row.scan.path in reasons]
    )
    return (
        f"{cost.jobs} of {len(rows)} scans, {estimate.hours(cost.seconds)} on one core, "
        f"{cost.disk_mb / 1000:.1f} GB of disk ({estimate.free_mb(study) / 1000:.1f} GB are free): "
        f"{_counted(Counter(reasons.values()))}"
    )


def _spacing(scan: Scan, examination: Examination, option_um: float | None) -> tuple[float, str]:
    """Pixel size of a scan, and its source."""
    tags_um = None
    spacings = {} if option_um is None else {"--spacing-um": option_um}
    if scan.spacing_um is not None:
        spacings[scan.source] = scan.spacing_um
    if examination.spacing_from == "resolution tags":
        tags_um = examination.spacing_um
    elif examination.spacing_um is not None:
        spacings[f"{examination.spacing_from} metadata"] = examination.spacing_um
    if not examination.pixels_square:
        raise InputError(f"{scan.path}: its metadata give pixels that are not square; resample it")
    if not spacings:
        remedy = f"; its resolution tags say {tags_um:g} um, if they are right" if tags_um else ""
        raise InputError(f"{scan.path}: nothing says its pixel size; give --spacing-um{remedy}")
    (source, value), *others = spacings.items()
    for other, other_um in others:
        if not units.agree(other_um, value):
            raise InputError(
                f"{scan.path}: {other} says {other_um:g} um per pixel, {source} says {value:g}"
                f"{_why(other_um, value)}; give the true --spacing-um, or correct {other}"
            )
    level = examination.levels[0]
    if impossible := units.implausible_size(level.width, level.height, value):
        raise InputError(f"{scan.path}: {impossible}; correct {source}, or give --spacing-um")
    if tags_um and not units.agree(tags_um, value):
        source += f" (the resolution tags say {tags_um:g} um{_why(tags_um, value)})"
    return value, source


def _why(other_um: float, value_um: float) -> str:
    why = units.explain_mismatch(other_um, value_um)
    return f": {why}" if why else ""


def _thickness(scan: Scan, option_um: float | None) -> float:
    own = scan.thickness_um
    if option_um is not None and own is not None and not units.agree(own, option_um):
        raise InputError(
            f"{scan.path}: {scan.source} says sections of {own:g} um, --thickness-um "
            f"{option_um:g}{_why(own, option_um)}; correct one of them"
        )
    value = option_um if option_um is not None else own
    if value is None:
        raise InputError(f"{scan.path}: nothing says how thick sections are; give --thickness-um")
    if impossible := units.implausible_thickness(value):
        raise InputError(f"{scan.path}: a section's thickness is {impossible}; correct it")
    return value


def write(folder: Path, brain: str, role: str, cells: list[dict[str, str]], known: bool) -> None:
    """Append the rows to both tables, completely or not at all; existing rows stay as they are.

    Parameters
    ----------
    folder : of the tables, config/ of the study.
    known : brains.tsv contains the brain already.
    """
    columns = [*REQUIRED, *(name for name in OPTIONAL if any(row.get(name) for row in cells))]
    sheet, table = (folder / f"{name}.tsv" for name in ("sections", "brains"))
    sections = _appended(sheet, columns, cells)
    brains = _appended(table, ["brain", "role"], [] if known else [{"brain": brain, "role": role}])
    # brains.tsv first: if this is interrupted between the two, it can be run again
    with atomic_write(sheet) as beside:
        beside.write_bytes(sections)
        read_sections(beside)
        with atomic_write(table) as beside_brains:
            beside_brains.write_bytes(brains)
            read_brains(beside_brains)


def cells_of(study: Path, brain: str, rows: list[ScanRow], background: str) -> list[dict[str, str]]:
    """The rows of sections.tsv; images inside the study are named relative to it."""
    return [_cells(study, brain, row, background) for row in rows]


def _cells(study: Path, brain: str, row: ScanRow, background: str) -> dict[str, str]:
    image = row.scan.path.absolute()
    inside = image.is_relative_to(study.absolute())
    words = {None: "", True: "yes", False: "no"}
    copied = row.examination is not None and row.examination.needs_copy != ""
    return {
        "brain": brain,
        "section": str(row.scan.section),
        "image": os.path.relpath(image, study.absolute()) if inside else str(image),
        "spacing_um": f"{row.spacing_um:.6g}",
        "thickness_um": f"{row.thickness_um:.6g}",
        "mirrored": words[row.scan.mirrored],
        "excluded": words[row.scan.excluded],
        # only if it contradicts the name of the file
        "levels": words[not copied]
        if row.examination and copied != needs_pyramid(image.name)
        else "",
        "background": "" if background == "bright" else background,
        "notes": row.scan.notes,
    }


def _appended(path: Path, columns: list[str], rows: list[dict[str, str]]) -> bytes:
    """The content of a table with rows appended, in its column order and with its line ends.

    Missing columns are added to the header; readers take the cells that short rows lack as empty.
    """
    content = path.read_bytes() if path.exists() else ("\t".join(columns) + "\n").encode()
    end = b"\r\n" if b"\r\n" in content else b"\n"
    if not content.endswith(b"\n"):
        content += end
    lines = content.split(b"\n")
    header = next(n for n, x in enumerate(lines) if x.strip() and not x.startswith(b"#"))
    names = [name.strip().strip('"') for name in lines[header].decode("utf-8-sig").split("\t")]
    new = [name for name in columns if name not in names]
    if new:
        kept = lines[header].rstrip(b"\r")
        lines[header] = kept + "".join(f"\t{name}" for name in new).encode() + end[:-1]
        content = b"\n".join(lines)
    added = io.StringIO()
    # a cell with a quotation mark is put into quotes
    writer = csv.writer(added, delimiter="\t", lineterminator=end.decode())
    writer.writerows([row.get(name, "") for name in [*names, *new]] for row in rows)
    return content + added.getvalue().encode()


def _counted(counts: Counter[float] | Counter[str]) -> str:
    """The values and, if there are several, their counts."""
    texts = [(f"{value:g}" if isinstance(value, float) else value) for value in counts]
    if len(texts) == 1:
        return texts[0]
    return ", ".join(f"{text} ({n})" for text, n in zip(texts, counts.values(), strict=True))
