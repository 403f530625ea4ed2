"""The tables of a study (sections.tsv, brains.tsv), and its chunks of sections."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from cytopipe.files import InputError
from cytopipe.formats.text import flag, positive, read_table, whole

PYRAMID_SUFFIXES = (".ome.tif", ".ome.tiff", ".ome.btf", ".zarr")
ROLES = ("seen", "transfer", "unseen")
REQUIRED = ("brain", "section", "image", "spacing_um", "thickness_um")
OPTIONAL = ("mirrored", "excluded", "levels", "background", "notes")
# required and optional columns of brains.tsv
BRAIN_COLUMNS = ("brain", "role"), ("hemispheres", "cuts", "notes")
BACKGROUNDS = ("bright", "dark")

# what the rules name themselves: the template, the page of the study and its truth table, features
# of data sets, files beside those of a brain
_TAKEN = re.compile(
    "template|index|truth|patches-.*|.*-(proposal|volume|true-exclusion|projected)", re.IGNORECASE
)

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
    for line, row in read_table(path, REQUIRED, OPTIONAL):
        where = f"{path} line {line}"
        section = whole(row["section"], f"{where}: section")
        spacing_um = positive(row["spacing_um"], f"{where}: spacing_um")
        thickness_um = positive(row["thickness_um"], f"{where}: thickness_um")
        background = row["background"] or "bright"
        if background not in BACKGROUNDS:
            raise InputError(
                f"{where}: background is {background!r}; use one of {', '.join(BACKGROUNDS)}"
            )
        if not row["brain"] or not row["image"]:
            raise InputError(f"{where}: brain and image must not be empty; fill them in")
        check_path(row["image"], f"{where}: image")
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


def check_path(text: str, what: str) -> None:
    """Check that Snakemake reads a path as it is: in braces it sees a wildcard.

    Raises
    ------
    InputError
        If it contains braces.
    """
    if "{" in text or "}" in text:
        raise InputError(f"{what} is {text!r}; rename the file or folder without {{ and }}")


def read_brains(path: Path) -> dict[str, str]:
    """Read brains.tsv: brain to role (seen, transfer or unseen).

    Raises
    ------
    InputError
        For a missing or unknown column, an unknown role, or a brain listed twice.
    """
    roles: dict[str, str] = {}
    for line, row in read_table(path, *BRAIN_COLUMNS):
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


def check_name(brain: str, where: str = "") -> None:
    """Check that a brain's name can be that of folders and files, and is not that of another.

    Raises
    ------
    InputError
        If it cannot.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", brain):
        raise InputError(
            f"{where}brain {brain!r}; use only letters, digits, _ and -, and do not begin with -"
        )
    if _TAKEN.fullmatch(brain):
        raise InputError(
            f"{where}brain {brain!r}; the workflow uses this name for files of its own: give "
            "another name"
        )


def check_brains(sections: list[Section], roles: Mapping[str, str]) -> None:
    """Check that every brain of brains.tsv has sections, and a name that can be a folder.

    Raises
    ------
    InputError
        For the first brain that does not.
    """
    cut = {section.brain for section in sections}
    for brain in roles:
        check_name(brain, "config/brains.tsv: ")
        if brain not in cut:
            raise InputError(
                f"config/brains.tsv: brain {brain!r} has no row in sections.tsv; add its sections"
            )
