"""The tables of a study (sections.tsv, brains.tsv), and its chunks of sections."""

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from cytopipe.files import InputError, require

PYRAMID_SUFFIXES = (".ome.tif", ".ome.tiff", ".ome.btf", ".zarr")
ROLES = ("seen", "transfer", "unseen")
REQUIRED = ("brain", "section", "image", "spacing_um", "thickness_um")
OPTIONAL = ("mirrored", "excluded", "levels", "background", "notes")
# required and optional columns of brains.tsv
BRAIN_COLUMNS = ("brain", "role"), ("hemispheres", "cuts", "notes")
BACKGROUNDS = ("bright", "dark")
_FLAGS = {"0": False, "no": False, "false": False, "1": True, "yes": True, "true": True}

# value of `onto`: the transform of the section ends in the stack frame
STACK = "stack"


@dataclass(frozen=True)
class Section:
    """One row of sections.tsv, with the corrections of a person (`corrections.corrected`).

    Attributes
    ----------
    brain, section : brain and section number; numbers increase from posterior to anterior.
    image : path of the scan, relative to the study folder, or absolute.
    spacing_um : pixel size of the scan's full resolution.
    thickness_um : thickness of one section, so that z = section x thickness.
    mirrored : True or False as confirmed by a person, None if the workflow decides.
    excluded : the section is left out of everything.
    levels : whether the scan can be read in place (it has levels and tiles); None: by its name.
    background : "bright", or "dark": the workflow then makes an inverted copy.
    onto : the target of the transform below: "stack", the number of another section, or "" if the
        workflow decides.
    angle_rad, x_um, y_um : the rigid transform, as in `geometry.Rigid`, of points of the UNMIRRORED
        section to the stack, or to the unmirrored section `onto`; None without a transform.
    """

    brain: str
    section: int
    image: str
    spacing_um: float
    thickness_um: float
    mirrored: bool | None = None
    excluded: bool = False
    levels: bool | None = None
    background: str = "bright"
    onto: str = ""
    angle_rad: float | None = None
    x_um: float | None = None
    y_um: float | None = None

    def row(self) -> dict[str, Any]:
        """A dictionary for a rule's params; `Section(**row)` restores the section.

        A bright background and an absent transform are left out, so that these columns rerun
        nothing where they are not used. `levels` shows in the input of a rule.
        """
        row = dict(vars(self))
        del row["levels"]
        if self.background == "bright":
            del row["background"]
        if not self.onto:
            for key in ("onto", "angle_rad", "x_um", "y_um"):
                del row[key]
        return row

    def scan_row(self, excluded: bool) -> dict[str, Any]:
        """The row without handedness and transform, for rules that read the scan as it is."""
        return replace(self, mirrored=None, onto="", excluded=excluded).row()


def chunk_of(section: int, chunk_span: int) -> str:
    """Name of the chunk of a section: the first section NUMBER of its span, zero-padded."""
    return f"{section // chunk_span * chunk_span:05d}"


def needs_pyramid(image: str, levels: bool | None = None, background: str = "bright") -> bool:
    """Whether the workflow makes a pyramid of a scan: as sections.tsv says, else by its name.

    By name, all scans need one except .ome.tif, .ome.tiff, .ome.btf and .zarr. Scans with a dark
    background always do. No file is opened, because rules ask for thousands of sections before
    anything runs; `cytopipe add-brain` examines the files and fills in `levels`.
    """
    if levels is None:
        levels = image.lower().endswith(PYRAMID_SUFFIXES)
    return not levels or background == "dark"


def read_sections(path: Path, brains: list[str] | None = None) -> list[Section]:
    """Read sections.tsv, sorted by brain and section number.

    Raises
    ------
    InputError
        For a missing or unknown column, a value that is not a number, a section listed twice, a
        spacing or thickness that is not positive, or an unknown brain.
    """
    sections: list[Section] = []
    for line, row in read_tsv(path, REQUIRED, OPTIONAL):
        where = f"{path} line {line}"
        section = section_number(row["section"], where)
        spacing_um = positive(row["spacing_um"], f"{where}: spacing_um")
        thickness_um = positive(row["thickness_um"], f"{where}: thickness_um")
        background = row["background"] or "bright"
        if background not in BACKGROUNDS:
            raise InputError(
                f"{where}: background is {background!r}; use one of {', '.join(BACKGROUNDS)}"
            )
        if not row["brain"] or not row["image"]:
            raise InputError(f"{where}: brain and image must not be empty; fill them in")
        if brains is not None and row["brain"] not in brains:
            raise InputError(f"{where}: brain {row['brain']!r} is not in brains.tsv; add it there")
        sections.append(
            Section(
                brain=row["brain"],
                section=section,
                image=row["image"],
                spacing_um=spacing_um,
                thickness_um=thickness_um,
                mirrored=flag(row["mirrored"], f"{where}: mirrored"),
                excluded=bool(flag(row["excluded"], f"{where}: excluded")),
                levels=flag(row["levels"], f"{where}: levels"),
                background=background,
            )
        )
    sections.sort(key=lambda s: (s.brain, s.section))
    for before, after in pairwise(sections):
        if (before.brain, before.section) == (after.brain, after.section):
            raise InputError(
                f"{path}: section {after.section} of brain {after.brain} is listed twice; "
                "remove or renumber one of the rows"
            )
        if before.brain == after.brain and before.thickness_um != after.thickness_um:
            raise InputError(
                f"{path}: thickness_um of brain {after.brain} is {before.thickness_um:g} at "
                f"section {before.section} and {after.thickness_um:g} at section {after.section}; "
                "a section lies at number x thickness_um, so use one thickness for the whole brain"
            )
    return sections


def read_brains(path: Path) -> dict[str, str]:
    """Read brains.tsv: brain to role (seen, transfer or unseen).

    Raises
    ------
    InputError
        For a missing or unknown column, an unknown role, or a brain listed twice.
    """
    roles: dict[str, str] = {}
    for line, row in read_tsv(path, *BRAIN_COLUMNS):
        if row["role"] not in ROLES:
            raise InputError(
                f"{path} line {line}: role {row['role']!r} is unknown; "
                f"use one of {', '.join(ROLES)}"
            )
        if row["brain"] in roles:
            raise InputError(
                f"{path} line {line}: brain {row['brain']!r} is listed twice; remove a row"
            )
        roles[row["brain"]] = row["role"]
    return roles


def read_tsv(
    path: Path, required: tuple[str, ...], optional: tuple[str, ...]
) -> list[tuple[int, dict[str, str]]]:
    """Rows of a table that a person edits, each with its line number in the file.

    The table is tab-separated, with a header. Empty lines and lines that start with # are skipped.
    Every row has all columns, "" where the file has none; cells are stripped.

    Raises
    ------
    InputError
        If the file is missing or is not text, if a column is missing, unknown or there twice, or if
        a row has more cells than the header.
    """
    require(path, "a study needs it; see docs/new-brain.md")
    try:
        # Excel writes a byte order mark
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not a text file ({error}); save it as tab-separated text in UTF-8"
        ) from error
    lines = [
        (number, [cell.strip() for cell in next(csv.reader([line], delimiter="\t"))])
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.startswith("#")
    ]
    names = lines[0][1] if lines else []
    for name in required:
        if name not in names:
            raise InputError(f"{path}: column {name!r} is missing; add it (tab-separated)")
    for name in names:
        if name not in required + optional:
            allowed = ", ".join(required + optional)
            raise InputError(f"{path}: column {name!r} is unknown; allowed: {allowed}")
        if names.count(name) > 1:
            raise InputError(f"{path}: column {name!r} is there twice; remove one")
    rows = []
    for number, cells in lines[1:]:
        if len(cells) > len(names):
            raise InputError(
                f"{path} line {number}: {len(cells)} cells under {len(names)} columns; "
                "remove a tab, or add the missing column's name to the header"
            )
        cells = cells + [""] * (len(names) - len(cells))
        rows.append((number, dict.fromkeys(optional, "") | dict(zip(names, cells, strict=True))))
    return rows


def section_number(text: str, where: str) -> int:
    """The section number in a cell of a table."""
    value = finite(text, f"{where}: section")
    if value != int(value) or value < 0:
        raise InputError(f"{where}: section is {text!r}; give a whole number >= 0")
    return int(value)


def finite(text: str, what: str) -> float:
    """The number in a cell of a table; NaN and infinity are refused."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{what} is {text!r}; give a number")
    return value


def positive(text: str, what: str) -> float:
    """The positive number in a cell of a table."""
    value = finite(text, what)
    if value <= 0:
        raise InputError(f"{what} is {text!r}; give a positive number")
    return value


def flag(text: str, what: str) -> bool | None:
    """The yes or no in a cell of a table; None for an empty cell, which decides nothing."""
    if not text:
        return None
    if text.lower() not in _FLAGS:
        raise InputError(f"{what} is {text!r}; use yes or no")
    return _FLAGS[text.lower()]


def check_brains(sections: list[Section], roles: Mapping[str, str]) -> None:
    """Check that every brain of brains.tsv has sections, and a name that can be a folder.

    Raises
    ------
    InputError
        For the first brain that does not.
    """
    cut = {section.brain for section in sections}
    for brain in roles:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", brain):
            raise InputError(
                f"config/brains.tsv: brain {brain!r}; use only letters, digits, _ and -"
            )
        if brain not in cut:
            raise InputError(
                f"config/brains.tsv: brain {brain!r} has no row in sections.tsv; add its sections"
            )
