"""Decisions of a person about sections: those that the alignment uses, and those it proposes."""

from collections.abc import Mapping

from cytopipe.alignment.links import PERSON
from cytopipe.files import InputError
from cytopipe.formats.tables import ACCEPTED, CANNOT_TELL, MIRRORED, UNCERTAIN, PairRow
from cytopipe.numerics.geometry import Rigid
from cytopipe.study.corrections import Proposal
from cytopipe.study.sections import STACK, Section


def manual_rigid(section: Section) -> Rigid:
    """The transform that a person gave for a section, unmirrored, to `section.onto`."""
    assert section.angle_rad is not None and section.x_um is not None and section.y_um is not None
    return Rigid(section.angle_rad, section.x_um, section.y_um, str(section.section), section.onto)


def manual_rigid_between(fixed: Section, moving: Section) -> Rigid | None:
    """Points of `moving` to `fixed`, both unmirrored, if a person laid one onto the other."""
    if moving.onto == str(fixed.section):
        return manual_rigid(moving)
    if fixed.onto == str(moving.section):
        return manual_rigid(fixed).inverse()
    return None


def manual_places(
    usable: list[Section], pairs: list[PairRow]
) -> tuple[dict[int, int], dict[int, Rigid]]:
    """The sections that a person laid usable sections onto, and transforms to the stack frame.

    Raises
    ------
    InputError
        If a section was laid onto one with which it does not form a pair.
    """
    manual = {p.sections for p in pairs if p.method == PERSON}
    onto = {s.section: int(s.onto) for s in usable if s.onto not in ("", STACK)}
    for section, target in onto.items():
        if (min(section, target), max(section, target)) not in manual:
            numbers = [s.section for s in usable]
            place = numbers.index(section)
            near = [str(n) for n in numbers[max(0, place - 1) : place + 2] if n != section]
            raise InputError(
                f"manual/{usable[0].brain}/sections.tsv: section {section} lies onto {target}, "
                "which is blank, excluded or too far away to be compared with it; give its place "
                f"onto {' or '.join(near) or 'another usable section'}, or onto {STACK}"
            )
    return onto, {s.section: manual_rigid(s) for s in usable if s.onto == STACK}


def proposals(
    sections: list[Section],
    pairs: list[PairRow],
    handedness: Mapping[int, str],
    statuses: Mapping[int, str],
) -> list[Proposal]:
    """What a person should look at, and what the workflow would decide.

    These are sections that look mirrored and that nobody confirmed; those that could not be placed,
    which should be excluded; and, without a decision, those placed by an uncertain pair or whose
    handedness the pairs do not show. All statuses are final; `handedness` holds the usable
    sections.
    """
    mirrored = {number: answer == MIRRORED for number, answer in handedness.items()}
    rows = []
    for section in sections:
        number, status = section.section, statuses[section.section]
        evidence = "; ".join(
            _in_words(pair, number, mirrored) for pair in pairs if number in pair.sections
        )
        flag = True if mirrored.get(number, False) and section.mirrored is None else None
        if status in ("unaligned", "unreadable"):
            notes = f"{status}; {evidence}" if evidence else status
            rows.append(Proposal(number, flag, excluded=True, notes=notes))
        elif status == "uncertain" and not section.onto:
            if handedness.get(number) == CANNOT_TELL:
                notes = (
                    f"cannot tell whether it is mirrored: look at it, write yes or no; {evidence}"
                )
            else:
                notes = f"uncertain place: look at it, give a transform or exclude it; {evidence}"
            rows.append(Proposal(number, flag, notes=notes))
        elif flag:
            rows.append(Proposal(number, flag, notes=evidence))
    return rows


def _in_words(pair: PairRow, number: int, mirrored: Mapping[int, bool]) -> str:
    """The evidence of a pair, as seen from one of its sections."""
    other = pair.fixed if pair.moving == number else pair.moving
    flag = " (mirrored)" if mirrored.get(other) else ""
    status = "" if pair.status == ACCEPTED else f", {pair.status}"
    overlap = f", overlap {pair.overlap:.2f}" if pair.status == UNCERTAIN else ""
    if pair.displaced_um:
        overlap += (
            f", {pair.displaced_share:.0%} of the tissue lies {pair.displaced_um / 1000:.1f} mm "
            "from where the rest puts it"
        )
    return (
        f"with {other}{flag} {pair.inliers_plain} inliers as scanned, "
        f"{pair.inliers_mirrored} mirrored{status}{overlap}"
    )
