"""`python -m cytopipe add-brain`: the rows of a brain's scans, and what is odd about them."""

import argparse
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from cytopipe.files import InputError, atomic_write
from cytopipe.formats import units
from cytopipe.formats.images import Examination, examine
from cytopipe.study import bids, scans
from cytopipe.study.scans import Scan
from cytopipe.study.sections import (
    BACKGROUNDS,
    OPTIONAL,
    REQUIRED,
    ROLES,
    needs_pyramid,
    read_brains,
    read_sections,
)

_SHOWN = 12  # numbers or files named in a line


@dataclass(frozen=True)
class Row:
    """A scan and the pixel size and thickness that its row in sections.tsv gets."""

    scan: Scan
    spacing_um: float
    thickness_um: float
    found: Examination | None


def run(arguments: list[str]) -> int:
    """Write a brain's rows of config/sections.tsv and config/brains.tsv; say what was found."""
    parser = argparse.ArgumentParser("cytopipe add-brain", description=run.__doc__)
    parser.add_argument("brain", help="its name: letters, digits, _ and -")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--images", type=Path, help="folder of its scans")
    source.add_argument("--bids", type=Path, help="BIDS data set, or the folder of a subject of it")
    parser.add_argument("--study", type=Path, default=Path(), help="study folder; here by default")
    parser.add_argument("--role", choices=ROLES, default="unseen", help="unseen by default")
    parser.add_argument("--spacing-um", type=float, help="pixel size; else what the files say")
    parser.add_argument("--thickness-um", type=float, help="of a section; else what a table says")
    parser.add_argument(
        "--pattern", help="of the names, as B21_{section}_*.tif; else by what differs between names"
    )
    parser.add_argument(
        "--table", type=Path, help="CSV or TSV with columns section, image; instead of names"
    )
    parser.add_argument(
        "--background",
        choices=BACKGROUNDS,
        default="bright",
        help="of the scans; bright by default",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what was found, write nothing")
    options = parser.parse_args(arguments)

    known = check_new(options.study, options.brain)
    found, notes = find_scans(options)
    numbers = [scan.section for scan in found]
    check_doubled(found)
    rows, more = measured(found, options.spacing_um, options.thickness_um)
    more.append(("background", ground(rows, options.background)))
    print(f"{options.brain}: {len(rows)} scans under {options.bids or options.images}")
    for name, text in [*order_notes(numbers), *notes, *more]:
        print(f"  {name:<12}{text}")
    if options.dry_run:
        print("nothing was written (--dry-run)")
        return 0
    cells = [_cells(options.study, options.brain, row, options.background) for row in rows]
    write(options.study, options.brain, options.role, cells, known)
    print(
        f"wrote {len(rows)} rows to {options.study / 'config' / 'sections.tsv'} and the brain to "
        f"{options.study / 'config' / 'brains.tsv'}\nnext: python -m cytopipe check"
    )
    return 0


def check_new(study: Path, brain: str) -> bool:
    """Whether brains.tsv has the brain already; raises InputError if it has sections."""
    if not brain or not all(c.isascii() and (c.isalnum() or c in "_-") for c in brain):
        raise InputError(f"brain {brain!r}: use letters, digits, _ and - alone")
    sheet = study / "config" / "sections.tsv"
    if sheet.exists():
        have = sum(section.brain == brain for section in read_sections(sheet))
        if have:
            raise InputError(
                f"{sheet}: brain {brain} has {have} rows already; to add it anew remove them, else "
                "edit them by hand, or give another name"
            )
    table = study / "config" / "brains.tsv"
    return table.exists() and brain in read_brains(table)


def find_scans(options: argparse.Namespace) -> tuple[list[Scan], list[tuple[str, str]]]:
    """The brain's scans by the source that was given, and what is to be said about it."""
    left_out: list[Path] = []
    notes = []
    if options.bids and options.pattern:
        raise InputError("--pattern: names of a BIDS data set have a form; use --images or --table")
    if options.table and options.pattern:
        raise InputError("--pattern and --table both say the numbers; give one of them")
    if options.table:
        folder = options.images or bids.subject_of(options.bids, options.brain)[1]
        found, left_out, unused = scans.from_table(scans.images_in(folder), options.table)
        if unused:
            notes.append(("columns", f"of {options.table.name} not used: {', '.join(unused)}"))
    elif options.bids:
        found = bids.scans_of(options.bids, options.brain)
    else:
        found, left_out = scans.numbered(scans.images_in(options.images), options.pattern)
    if not found:
        raise InputError(f"{options.table}: has no rows; add the sections")
    if left_out:
        notes.append(("left out", f"{len(left_out)} files: {_some([p.name for p in left_out])}"))
    return found, notes


def check_doubled(found: list[Scan]) -> None:
    """Raises InputError if two files are one section, or one file is two."""
    for names, what in (
        (Counter(scan.section for scan in found), "section"),
        (Counter(scan.path for scan in found), "file"),
    ):
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            of = [s for s in found if twice[0] in (s.section, s.path)]
            told = ", ".join(f"{s.path.name} (section {s.section})" for s in of[:4])
            raise InputError(
                f"{of[0].path.parent}: {len(twice)} {what}s are there twice: {told}; remove or "
                "rename one of each, or give --table that says which counts"
            )


def order_notes(numbers: list[int]) -> list[tuple[str, str]]:
    """Range, step, gaps and order of section numbers, in words."""
    step, gaps = scans.step_of(numbers), scans.missing(numbers)
    odd = [n for n in numbers if step and (n - min(numbers)) % step]
    notes = [
        ("numbers", f"{min(numbers)} to {max(numbers)}, mostly in steps of {step}"),
        ("missing", f"{len(gaps)}: {_some(gaps)}" if gaps else "none"),
        ("doubled", "none"),
    ]
    if odd:
        notes.append(("off step", f"{len(odd)}: {_some(odd)}"))
    falling = scans.out_of_order(numbers)
    if falling:
        notes.append(("order", f"{len(falling)} numbers fall in the list: {_some(falling)}"))
    return notes


def measured(
    found: list[Scan], spacing_um: float | None, thickness_um: float | None
) -> tuple[list[Row], list[tuple[str, str]]]:
    """Pixel size and thickness of every scan, from what is given and what the files say.

    Raises
    ------
    InputError
        If nothing says them, if what says them disagrees, or if they cannot be true.
    """
    for name, value in (("--spacing-um", spacing_um), ("--thickness-um", thickness_um)):
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"{name} {value:g}: give a positive number of um")
    looked, broken = {}, {}
    for scan in found:
        try:
            looked[scan.path] = examine(scan.path)
        except InputError as error:
            broken[scan.path] = str(error)
    if not looked:
        raise InputError(f"none of {len(found)} files can be read: {next(iter(broken.values()))}")
    spacings = {
        scan.path: _spacing(scan, looked[scan.path], spacing_um)
        for scan in found
        if scan.path in looked
    }
    used = Counter(value for value, _ in spacings.values())
    usual = spacing_um or used.most_common(1)[0][0]
    rows = []
    for scan in found:
        value = spacings.get(scan.path, (scan.spacing_um or usual, ""))[0]
        rows.append(Row(scan, value, _thickness(scan, thickness_um), looked.get(scan.path)))
    return sorted(rows, key=lambda row: row.scan.section), [
        (
            "spacing",
            _told(used) + f" um a pixel, from {_told(Counter(s for _, s in spacings.values()))}",
        ),
        ("thickness", _told(Counter(row.thickness_um for row in rows)) + " um"),
        ("formats", _told(Counter(it.format for it in looked.values()))),
        ("unreadable", f"{len(broken)}" + "".join(f"\n    {text}" for text in broken.values())),
    ]


def ground(rows: list[Row], given: str) -> str:
    """Whether the scans' ground looks as it was given, in words."""
    other = [
        row.scan.section for row in rows if row.found and row.found.background not in ("", given)
    ]
    if not other:
        return given
    found = "dark" if given == "bright" else "bright"
    return (
        f"{given}, but {len(other)} look {found}: {_some(other)}; give --background {found}, or "
        "correct `background` of their rows"
    )


def _spacing(scan: Scan, found: Examination, given_um: float | None) -> tuple[float, str]:
    """Pixel size of a scan, and what says so."""
    said = {} if given_um is None else {"--spacing-um": given_um}
    if scan.spacing_um is not None:
        said[scan.source] = scan.spacing_um
    if found.spacing_um is not None and found.spacing_from != "resolution tags":
        said[f"{found.spacing_from} metadata"] = found.spacing_um
    if not found.pixels_square:
        raise InputError(f"{scan.path}: its metadata give pixels that are not square; resample it")
    if not said:
        tags = found.spacing_um
        remedy = f"; its resolution tags say {tags:g} um, if they are right" if tags else ""
        raise InputError(f"{scan.path}: nothing says its pixel size; give --spacing-um{remedy}")
    (source, value), *others = said.items()
    for other, it in others:
        if not units.agree(it, value):
            why = units.explain_mismatch(it, value)
            raise InputError(
                f"{scan.path}: {other} says {it:g} um a pixel, {source} says {value:g}"
                + (f": {why}" if why else "")
                + f"; give --spacing-um as it is, or correct {other}"
            )
    level = found.levels[0]
    if impossible := units.implausible_size(level.width, level.height, value):
        raise InputError(f"{scan.path}: {impossible}; correct {source}, or give --spacing-um")
    if found.spacing_from == "resolution tags" and found.spacing_um:
        agrees = units.agree(found.spacing_um, value)
        why = units.explain_mismatch(found.spacing_um, value)
        told = "" if agrees else f" (against the resolution tags' {found.spacing_um:g} um"
        return value, source + (told + (f", {why})" if why else ")") if told else "")
    return value, source


def _thickness(scan: Scan, given_um: float | None) -> float:
    said = scan.thickness_um
    if given_um is not None and said is not None and not units.agree(said, given_um):
        why = units.explain_mismatch(said, given_um)
        raise InputError(
            f"{scan.path}: {scan.source} says sections of {said:g} um, --thickness-um "
            f"{given_um:g}" + (f": {why}" if why else "") + "; correct one of them"
        )
    value = given_um if given_um is not None else said
    if value is None:
        raise InputError(f"{scan.path}: nothing says how thick sections are; give --thickness-um")
    if impossible := units.implausible_thickness(value):
        raise InputError(f"{scan.path}: a section's thickness is {impossible}; correct it")
    return value


def write(study: Path, brain: str, role: str, cells: list[dict[str, str]], known: bool) -> None:
    """Append the rows to both tables, whole or not at all; what stands there stays as it is."""
    wanted = [*REQUIRED, *(name for name in OPTIONAL if any(row.get(name) for row in cells))]
    sheet, table = (study / "config" / f"{name}.tsv" for name in ("sections", "brains"))
    sections = _appended(sheet, wanted, cells)
    brains = _appended(table, ["brain", "role"], [] if known else [{"brain": brain, "role": role}])
    # the brain's own row first: what is cut off between the two is added by running this again
    with atomic_write(sheet) as beside:
        beside.write_bytes(sections)
        read_sections(beside)
        with atomic_write(table) as beside_brains:
            beside_brains.write_bytes(brains)
            read_brains(beside_brains)


def _cells(study: Path, brain: str, row: Row, background: str) -> dict[str, str]:
    image = row.scan.path.absolute()
    inside = image.is_relative_to(study.absolute())
    words = {None: "", True: "yes", False: "no"}
    copied = row.found is not None and row.found.needs_copy != ""
    return {
        "brain": brain,
        "section": str(row.scan.section),
        "image": os.path.relpath(image, study.absolute()) if inside else str(image),
        "spacing_um": f"{row.spacing_um:.6g}",
        "thickness_um": f"{row.thickness_um:.6g}",
        "mirrored": words[row.scan.mirrored],
        "excluded": words[row.scan.excluded],
        # only where the file's name says something else
        "levels": words[not copied] if row.found and copied != needs_pyramid(image.name) else "",
        "background": "" if background == "bright" else background,
        "notes": row.scan.notes,
    }


def _appended(path: Path, wanted: list[str], rows: list[dict[str, str]]) -> bytes:
    """A table with rows at its end, in its columns and its way of ending lines.

    Columns that it lacks are added to its header; rows that were there are too short then, and
    short rows are read as having nothing there.
    """
    content = path.read_bytes() if path.exists() else ("\t".join(wanted) + "\n").encode()
    end = b"\r\n" if b"\r\n" in content else b"\n"
    if not content.endswith(b"\n"):
        content += end
    lines = content.split(b"\n")
    header = next(n for n, x in enumerate(lines) if x.strip() and not x.startswith(b"#"))
    names = [name.strip().strip('"') for name in lines[header].decode("utf-8-sig").split("\t")]
    new = [name for name in wanted if name not in names]
    if new:
        kept = lines[header].rstrip(b"\r")
        lines[header] = kept + "".join(f"\t{name}" for name in new).encode() + end[:-1]
        content = b"\n".join(lines)
    for row in rows:
        content += "\t".join(row.get(name, "") for name in [*names, *new]).encode() + end
    return content


def _some(items: list[int] | list[str]) -> str:
    shown = ", ".join(str(item) for item in items[:_SHOWN])
    return shown + (f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else "")


def _told(counts: Counter[float] | Counter[str]) -> str:
    """Values and, where there are several, how often each."""
    told = [(f"{value:g}" if isinstance(value, float) else value) for value in counts]
    if len(told) == 1:
        return told[0]
    return ", ".join(f"{t} ({n})" for t, n in zip(told, counts.values(), strict=True))
