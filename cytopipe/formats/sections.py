"""The study's own tables (sections.tsv, brains.tsv) and the chunks into which sections fall."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from cytopipe.files import InputError, require

PYRAMID_SUFFIXES = (".ome.tif", ".ome.tiff", ".ome.btf", ".zarr")
ROLES = ("seen", "transfer", "unseen")
_REQUIRED = ("brain", "section", "image", "spacing_um", "thickness_um")
_OPTIONAL = ("mirrored", "excluded", "levels", "background", "notes")
BACKGROUNDS = ("bright", "dark")
_FLAGS = {"": False, "0": False, "no": False, "false": False, "1": True, "yes": True, "true": True}


@dataclass(frozen=True)
class Section:
    """One row of sections.tsv.

    Attributes
    ----------
    brain, section : brain and section number; numbers increase from posterior to anterior.
    image : path of the scan, relative to the study folder, or absolute.
    spacing_um : pixel size of the scan's full resolution.
    thickness_um : thickness of one section, so that z = section x thickness.
    mirrored : True or False as confirmed by a person, None when the workflow is to decide.
    excluded : leave this section out of everything.
    levels : whether the scan has the levels and tiles to be read in place; None: by its name.
    background : "bright", or "dark": the workflow makes a copy with a bright ground.
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

    def row(self) -> dict[str, Any]:
        """A plain dictionary, for a rule's params; `Section(**row)` gives it back.

        But for `levels`: where a scan is read from shows in a rule's input. The ground is in it
        only where it is dark, so that what nobody touched reruns nothing.
        """
        row = dict(vars(self))
        del row["levels"]
        if self.background == "bright":
            del row["background"]
        return row


def chunk_of(section: int, chunk_span: int) -> str:
    """Name of the chunk of a section: the first section NUMBER of its span, zero-padded."""
    return f"{section // chunk_span * chunk_span:05d}"


def needs_pyramid(image: str, levels: bool | None = None, background: str = "bright") -> bool:
    """Whether a pyramid has to be made of a scan: where sections.tsv says so, else by its name.

    By name, of all but .ome.tif, .ome.tiff, .ome.btf and .zarr; of a dark ground always. No file is
    opened, since rules ask for thousands of sections before anything runs; `cytopipe add-brain`
    looks into them and fills in `levels` (`images.examine`).
    """
    if levels is None:
        levels = image.lower().endswith(PYRAMID_SUFFIXES)
    return not levels or background == "dark"


def read_sections(path: Path, brains: list[str] | None = None) -> list[Section]:
    """Read sections.tsv, sorted by brain and section number.

    Raises
    ------
    InputError
        For a missing or unknown column, a value that is no number, a number given twice, a
        spacing or thickness that is not positive, an unknown brain; names row and remedy.
    """
    frame = _read_tsv(path, _REQUIRED, _OPTIONAL)
    sections: list[Section] = []
    for line, row in enumerate(frame.to_dict("records"), start=2):
        where = f"{path} line {line}"
        section = _number(row["section"], f"{where}: section")
        if section != int(section) or section < 0:
            raise InputError(f"{where}: section is {row['section']!r}; give a whole number >= 0")
        spacing_um = _positive(row["spacing_um"], f"{where}: spacing_um")
        thickness_um = _positive(row["thickness_um"], f"{where}: thickness_um")
        if not row["brain"] or not row["image"]:
            raise InputError(f"{where}: brain and image must not be empty")
        if brains is not None and row["brain"] not in brains:
            raise InputError(f"{where}: brain {row['brain']!r} is not in brains.tsv; add it there")
        mirrored = row.get("mirrored", "")
        sections.append(
            Section(
                brain=row["brain"],
                section=int(section),
                image=row["image"],
                spacing_um=spacing_um,
                thickness_um=thickness_um,
                mirrored=_flag(mirrored, f"{where}: mirrored") if mirrored else None,
                excluded=_flag(row.get("excluded", ""), f"{where}: excluded"),
                levels=_flag(row["levels"], f"{where}: levels") if row.get("levels") else None,
                background=_background(row.get("background", ""), where),
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
                "a section lies at number x thickness_um, so that a brain has one"
            )
    return sections


def read_brains(path: Path) -> dict[str, str]:
    """Read brains.tsv: brain to role (seen, transfer or unseen).

    Raises
    ------
    InputError
        For a missing or unknown column, an unknown role, a brain given twice.
    """
    frame = _read_tsv(path, ("brain", "role"), ("notes",))
    roles: dict[str, str] = {}
    for line, row in enumerate(frame.to_dict("records"), start=2):
        if row["role"] not in ROLES:
            raise InputError(
                f"{path} line {line}: role {row['role']!r} is unknown; "
                f"use one of {', '.join(ROLES)}"
            )
        if row["brain"] in roles:
            raise InputError(f"{path} line {line}: brain {row['brain']!r} is listed twice")
        roles[row["brain"]] = row["role"]
    return roles


def _read_tsv(path: Path, required: tuple[str, ...], optional: tuple[str, ...]) -> pd.DataFrame:
    require(path, "a study needs it; see the README")
    frame = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, comment="#")
    frame.columns = frame.columns.str.strip()
    missing = [name for name in required if name not in frame]
    unknown = [name for name in frame if name not in required + optional]
    if missing:
        raise InputError(f"{path}: column {missing[0]!r} is missing; add it (tab-separated)")
    if unknown:
        raise InputError(
            f"{path}: column {unknown[0]!r} is unknown; allowed: {', '.join(required + optional)}"
        )
    return frame.apply(lambda column: column.str.strip())


def _number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{what} is {text!r}; give a number") from None


def _positive(text: str, what: str) -> float:
    value = _number(text, what)
    if not 0 < value < float("inf"):
        raise InputError(f"{what} is {text!r}; give a positive number")
    return value


def _background(text: str, where: str) -> str:
    if text not in ("", *BACKGROUNDS):
        raise InputError(f"{where}: background is {text!r}; use one of {', '.join(BACKGROUNDS)}")
    return text or "bright"


def _flag(text: str, what: str) -> bool:
    if text.lower() not in _FLAGS:
        raise InputError(f"{what} is {text!r}; use yes or no")
    return _FLAGS[text.lower()]
