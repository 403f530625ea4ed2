"""manual/{brain}/sections.tsv: what a person decided about sections. It overrides the lab's table.

An empty cell decides nothing. The columns:

section    number of the section
mirrored   yes or no: the scan shows the section face down
excluded   yes or no: leave the section out of the stack and of all that follows
onto       target of the transform: `stack`, or the number of a neighbouring section
angle_rad, x_um, y_um
           the rigid transform: target = R(angle) source + (x, y), as in `geometry.Rigid`, x to the
           right, y down, um. It moves points of this section, flipped left to right if it is
           mirrored, to the stack frame, or to the section `onto`, which is flipped as well if
           IT is mirrored. The columns of stack.parquet of the same names mean the same.
notes      for people
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from cytopipe import provenance
from cytopipe.files import InputError, atomic_write
from cytopipe.formats.text import finite, flag, read_table, whole
from cytopipe.study.sections import STACK, Section

COLUMNS = ("section", "mirrored", "excluded", "onto", "angle_rad", "x_um", "y_um", "notes")
_TRANSFORM = ("angle_rad", "x_um", "y_um")


@dataclass(frozen=True)
class Proposal:
    """A proposed row of manual/{brain}/sections.tsv; None and "" propose nothing."""

    section: int
    mirrored: bool | None = None
    excluded: bool | None = None
    notes: str = ""


def corrected(sections: list[Section], manual: Path) -> list[Section]:
    """The sections with the decisions of `manual`/{brain}/sections.tsv, if the file exists.

    Raises
    ------
    InputError
        For a section that is unknown or listed twice, an invalid value, an incomplete transform, or
        transforms that form a circle.
    """
    brains = dict.fromkeys(section.brain for section in sections)
    decided = {
        brain: _read(path, {s.section: s for s in sections if s.brain == brain})
        for brain in brains
        if (path := manual / brain / "sections.tsv").is_file()
    }
    return [decided.get(s.brain, {}).get(s.section, s) for s in sections]


def _read(path: Path, sections: Mapping[int, Section]) -> dict[int, Section]:
    decided: dict[int, Section] = {}
    for line, row in read_table(path, ("section",), COLUMNS[1:]):
        where = f"{path} line {line}"
        number = whole(row["section"], f"{where}: section")
        if number not in sections:
            raise InputError(
                f"{where}: there is no section {number} in config/sections.tsv; correct the number"
            )
        if number in decided:
            raise InputError(f"{where}: section {number} is listed twice; merge the rows")
        mirrored = flag(row["mirrored"], f"{where}: mirrored")
        excluded = flag(row["excluded"], f"{where}: excluded")
        section = sections[number]
        decided[number] = replace(
            _placed(section, row, sections, where),
            mirrored=section.mirrored if mirrored is None else mirrored,
            excluded=section.excluded if excluded is None else excluded,
        )
    _check_places({**sections, **decided}, path)
    return decided


def _placed(
    section: Section, row: dict[str, str], sections: Mapping[int, Section], where: str
) -> Section:
    onto = row["onto"]
    missing = [name for name in ("onto", *_TRANSFORM) if not row[name]]
    if len(missing) == 1 + len(_TRANSFORM):
        return section
    if missing:
        raise InputError(
            f"{where}: {missing[0]} is empty; a transform is onto (stack, or a section's number), "
            "angle_rad, x_um and y_um: fill in all four or none"
        )
    if onto != STACK:
        target = whole(onto, f"{where}: onto")
        if target == section.section or target not in sections:
            raise InputError(
                f"{where}: onto is {onto}; give another section of config/sections.tsv, or stack"
            )
        onto = str(target)
    angle_rad, x_um, y_um = (finite(row[name], f"{where}: {name}") for name in _TRANSFORM)
    # more than a full turn: probably an angle in degrees
    if abs(angle_rad) > 6.2832:
        raise InputError(
            f"{where}: angle_rad is {row['angle_rad']}; give radians (degrees x 0.0174533)"
        )
    return replace(section, onto=onto, angle_rad=angle_rad, x_um=x_um, y_um=y_um)


def _check_places(sections: Mapping[int, Section], path: Path) -> None:
    targets = {n: int(s.onto) for n, s in sections.items() if s.onto not in ("", STACK)}
    try:
        TopologicalSorter({number: [target] for number, target in targets.items()}).prepare()
    except CycleError as error:
        circle = ", ".join(str(number) for number in sorted(set(error.args[1])))
        raise InputError(
            f"{path}: transforms of sections {circle} form a circle; empty one of them"
        ) from None
    for number, target in targets.items():
        undecided = [n for n in (number, target) if sections[n].mirrored is None]
        if undecided:
            raise InputError(
                f"{path}: section {number} has a transform onto section {target}, and nobody "
                f"decided whether section {undecided[0]} is mirrored; write yes or no under "
                f"`mirrored` of section {undecided[0]}"
            )


def write_proposals(proposals: list[Proposal], path: Path, brain: str) -> None:
    """Write proposals in the format of manual/{brain}/sections.tsv, with instructions."""
    lines = [
        f"# What the workflow proposes for brain {brain}. Nothing here has any effect: look at the",
        f"# report, copy the rows you agree with to manual/{brain}/sections.tsv (with the line of",
        "# names), correct them there, and run Snakemake again. An empty cell decides nothing.",
        "\t".join(COLUMNS),
    ]
    for proposal in proposals:
        words = {None: "", True: "yes", False: "no"}
        cells = [str(proposal.section), words[proposal.mirrored], words[proposal.excluded]]
        lines.append("\t".join([*cells, "", "", "", "", proposal.notes]))
    with atomic_write(path) as beside:
        text = "\n".join(lines) + "\n" + provenance.comment()
        beside.write_text(text, encoding="utf-8")
