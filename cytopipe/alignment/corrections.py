"""What a person gives to the alignment, and what it proposes to a person."""

from collections.abc import Mapping

from cytopipe.alignment.pairwise.pairs import PERSON
from cytopipe.alignment.stack import Given
from cytopipe.files import InputError
from cytopipe.formats.tables import ACCEPTED, UNCERTAIN, PairRow
from cytopipe.numerics.geometry import Rigid
from cytopipe.study.corrections import Proposal
from cytopipe.study.sections import STACK, Section


def given_rigid(section: Section) -> Rigid:
    """The transform that a person gives for a section, unmirrored, to where `onto` says."""
    assert section.angle_rad is not None and section.x_um is not None and section.y_um is not None
    return Rigid(section.angle_rad, section.x_um, section.y_um, str(section.section), section.onto)


def given_between(fixed: Section, moving: Section) -> Rigid | None:
    """Points of `moving` to `fixed`, both unmirrored, where a person laid one onto the other."""
    if moving.onto == str(fixed.section):
        return given_rigid(moving)
    if fixed.onto == str(moving.section):
        return given_rigid(fixed).inverse()
    return None


def given_places(usable: list[Section], pairs: list[PairRow]) -> Given:
    """What a person gives for the usable sections.

    Raises
    ------
    InputError
        If a section was laid onto one with which it makes no pair.
    """
    laid = {p.sections for p in pairs if p.method == PERSON}
    onto = {s.section: int(s.onto) for s in usable if s.onto not in ("", STACK)}
    for section, target in onto.items():
        if (min(section, target), max(section, target)) not in laid:
            numbers = [s.section for s in usable]
            place = numbers.index(section)
            near = [str(n) for n in numbers[max(0, place - 1) : place + 2] if n != section]
            raise InputError(
                f"manual/{usable[0].brain}/sections.tsv: section {section} lies onto {target}, "
                "which is blank, excluded or too far away to be compared with it; give its place "
                f"onto {' or '.join(near) or 'a section that is there'}, or onto {STACK}"
            )
    return Given(onto, {s.section: given_rigid(s) for s in usable if s.onto == STACK})


def proposals(
    sections: list[Section],
    pairs: list[PairRow],
    mirrored: Mapping[int, bool],
    statuses: Mapping[int, str],
) -> list[Proposal]:
    """What a person should look at, and what the machine would decide.

    Sections it holds for mirrored that nobody confirmed; those it could not place, to be excluded;
    and, without a decision, those placed by an uncertain pair.

    Parameters
    ----------
    pairs : with their final statuses.
    mirrored : flag of every usable section.
    statuses : final status of every section.
    """
    found = []
    for section in sections:
        number, status = section.section, statuses[section.section]
        own = [p for p in pairs if number in p.sections]
        told = "; ".join(_told(p, number, mirrored) for p in own)
        turned = True if mirrored.get(number, False) and section.mirrored is None else None
        if status in ("unaligned", "unreadable"):
            notes = f"{status}; {told}" if told else status
            found.append(Proposal(number, turned, excluded=True, notes=notes))
        elif status == "uncertain" and not section.onto:
            notes = f"uncertain place: look at it, give a transform or exclude it; {told}"
            found.append(Proposal(number, turned, notes=notes))
        elif turned:
            found.append(Proposal(number, turned, notes=told))
    return found


def _told(pair: PairRow, number: int, mirrored: Mapping[int, bool]) -> str:
    other = pair.fixed if pair.moving == number else pair.moving
    hand = " (mirrored)" if mirrored.get(other) else ""
    status = "" if pair.status == ACCEPTED else f", {pair.status}"
    overlap = f", overlap {pair.overlap:.2f}" if pair.status == UNCERTAIN else ""
    return (
        f"with {other}{hand} {pair.inliers_plain} inliers as scanned, "
        f"{pair.inliers_mirrored} mirrored{status}{overlap}"
    )
