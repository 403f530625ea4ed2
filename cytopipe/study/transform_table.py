"""manual/{brain}/transforms.tsv: transforms that a lab already has.

One row per transform, in the order in which they are applied. The columns:

section   number of the section; empty for the whole brain
from, to  names of the spaces. A chain starts in `section` (a section's image, for anchorings) or in
          `stack` (RAS mm of results/reconstruction/{brain}/tissue.nii.gz) and ends in the template;
          each row starts in the space in which the row before it ended
file      path of the transform, from the folder of this table
type      anchoring (QuickNII, VisuAlign, DeepSlice), itk (affine, displacement field, chains of
          them) or matrix (4 rows of 4 numbers)
moves     points: T(point in `from`) = point in `to`; image: the inverse, as a resampler takes it
frame     RAS or LPS, mm, of the numbers in the file; ITK's files are LPS. Empty for an anchoring
slice     for an anchoring: number of the slice in the file, if it is not that of the section
notes     for people

A section uses its own chain, else the brain's chain, else the registration.
"""

from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

from cytopipe.files import InputError
from cytopipe.formats.text import read_table, whole
from cytopipe.study.sections import STACK, check_path

NAME = "transforms.tsv"
SECTION = "section"
ANCHORING, ITK, MATRIX = "anchoring", "itk", "matrix"
_REQUIRED = ("from", "to", "file", "type")
_OPTIONAL = ("section", "moves", "frame", "slice", "notes")


@dataclass(frozen=True)
class TransformRow:
    """One transform of the table.

    Attributes
    ----------
    where : file and line, for messages.
    section : section number; None for the whole brain.
    source, target : the columns `from` and `to`.
    slice : slice number of an anchoring; None if it is the section number.
    """

    where: str
    section: int | None
    source: str
    target: str
    file: Path
    type: str
    moves: str
    frame: str
    slice: int | None


def read(path: Path, template: str) -> list[list[TransformRow]]:
    """The chains of a table: the rows of each, in order.

    Parameters
    ----------
    template : name of the space in which every chain must end.

    Raises
    ------
    InputError
        For an invalid value, two rows that do not fit together, a chain that does not start in
        `section` or `stack` or does not end in the template, or two chains for the same section.
    """
    rows = [_row(path, line, cells) for line, cells in read_table(path, _REQUIRED, _OPTIONAL)]
    # the rows of a chain follow one another; a row from `section` or `stack` begins a new one
    chains: list[list[TransformRow]] = []
    for _, of_section in groupby(rows, key=lambda row: row.section):
        for number, row in enumerate(of_section):
            if row.source in (SECTION, STACK):
                chains.append([row])
            elif not number:
                raise InputError(
                    f"{row.where}: the chain starts in {row.source!r}; it starts in `section` "
                    "(anchorings) or in `stack`"
                )
            else:
                chains[-1].append(row)
    for chain in chains:
        _check(chain, template)
    starts = [(chain[0].section, chain[0].source) for chain in chains]
    for number, start in enumerate(starts):
        # a section has one chain; a brain one for its anchored sections and one for the others
        same = [s for s in starts[:number] if s[0] == start[0] and (s[0] is not None or s == start)]
        if same:
            name = "the whole brain" if start[0] is None else f"section {start[0]}"
            raise InputError(
                f"{chains[number][0].where}: there is a second chain for {name}; remove one, or "
                "put its rows together, each starting in the space in which the one before ends"
            )
    return chains


def files_of(path: Path) -> list[Path]:
    """The files that a table names, in order, without duplicates."""
    rows = [_row(path, line, cells) for line, cells in read_table(path, _REQUIRED, _OPTIONAL)]
    return list(dict.fromkeys(row.file for row in rows))


def _row(path: Path, line: int, cells: dict[str, str]) -> TransformRow:
    where = f"{path} line {line}"
    for name in _REQUIRED:
        if not cells[name]:
            raise InputError(f"{where}: {name} is empty; fill it in (docs/transforms.md)")
    if cells["type"] not in (ANCHORING, ITK, MATRIX):
        raise InputError(f"{where}: type is {cells['type']!r}; use {ANCHORING}, {ITK} or {MATRIX}")
    check_path(cells["file"], f"{where}: file")
    anchored = cells["type"] == ANCHORING
    if anchored != (cells["from"] == SECTION):
        raise InputError(
            f"{where}: from is {cells['from']!r} and type {cells['type']}; an anchoring, and "
            "only an anchoring, starts in `section`"
        )
    moves, frame = cells["moves"], cells["frame"]
    if moves not in (("", "points") if anchored else ("points", "image")):
        raise InputError(
            f"{where}: moves is {moves!r}; "
            + ("an anchoring moves points" if anchored else "use points or image")
        )
    allowed = {ANCHORING: ("", "RAS"), ITK: ("LPS",), MATRIX: ("RAS", "LPS")}[cells["type"]]
    if frame not in allowed:
        raise InputError(
            f"{where}: frame is {frame!r}; "
            + {
                ANCHORING: "leave it empty: an anchoring is in voxels of its target",
                ITK: "write LPS: ITK's files are in LPS",
                MATRIX: "use RAS or LPS",
            }[cells["type"]]
        )
    if cells["slice"] and not (anchored and cells["section"]):
        raise InputError(
            f"{where}: slice is {cells['slice']}; only the anchoring of one section has a slice: "
            "fill in its section, or empty slice"
        )
    return TransformRow(
        where=where,
        section=whole(cells["section"], f"{where}: section") if cells["section"] else None,
        source=cells["from"],
        target=cells["to"],
        file=path.parent / cells["file"],
        type=cells["type"],
        moves=moves or "points",
        frame=frame or "RAS",
        slice=whole(cells["slice"], f"{where}: slice") if cells["slice"] else None,
    )


def _check(chain: list[TransformRow], template: str) -> None:
    for before, after in pairwise(chain):
        if before.target != after.source:
            raise InputError(
                f"{after.where}: starts in {after.source!r}, but the row before ends in "
                f"{before.target!r}; put the rows of a chain in order, or correct a name"
            )
    if chain[-1].target != template:
        raise InputError(
            f"{chain[-1].where}: the chain ends in {chain[-1].target!r}, but the template is "
            f"{template!r} (template.name); add the missing transform, or correct the name"
        )
