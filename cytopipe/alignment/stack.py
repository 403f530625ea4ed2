"""From pairs to the stack: which sections are mirrored, and each section's place."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cytopipe.alignment.pairwise.pairs import PERSON
from cytopipe.formats.tables import ACCEPTED, UNCERTAIN, PairRow
from cytopipe.numerics.geometry import Rigid, unmirror
from cytopipe.study.config import Alignment

CONFLICT = "handedness conflict"
# less than one inlier: decides only where the features say nothing, and which half is the mirrored
PRIOR = 0.5


@dataclass(frozen=True)
class Place:
    """A section in the stack: `rigid` carries the unmirrored section to the stack frame."""

    section: int
    mirrored: bool
    rigid: Rigid
    via: int
    certain: bool


@dataclass(frozen=True)
class Given:
    """What a person said about the places of usable sections.

    Attributes
    ----------
    onto : section to the section onto which it was laid; that pair is among the pairs.
    in_stack : section to the transform that carries it, unmirrored, to the stack frame.
    """

    onto: Mapping[int, int] = field(default_factory=dict)
    in_stack: Mapping[int, Rigid] = field(default_factory=dict)


NOTHING_GIVEN = Given()


@dataclass(frozen=True)
class Link:
    """A usable pair: `rigid` carries the unmirrored moving section to the unmirrored fixed one."""

    fixed: int
    moving: int
    rigid: Rigid
    distance: int
    certain: bool
    given: bool


def mirror_flags(
    sections: list[int],
    pairs: list[PairRow],
    confirmed: dict[int, bool],
    params: Alignment,
) -> dict[int, bool]:
    """Which sections were scanned face down, by the least contradiction to the pairs.

    A pair only tells whether its two sections differ, with a weight (`_evidence`); the assignment
    of all flags with the least contradicted weight is found exactly, by dynamic programming along
    the stack. A mirrored section is thus confirmed by the pairs before, behind and across it.
    Flags confirmed by a person are kept. Which of the two hands is the mirrored one no pair can
    tell: the smaller part of the sections is, unless a person confirmed otherwise.

    Parameters
    ----------
    sections : numbers of the usable sections, in order.
    confirmed : flags of sections that a person looked at.
    """
    rank = {section: index for index, section in enumerate(sections)}
    evidence: dict[int, list[tuple[int, bool, float]]] = {}
    for pair in pairs:
        back = rank[pair.moving] - rank[pair.fixed]
        lean = _evidence(pair, params)
        evidence.setdefault(pair.moving, []).append((back, lean > 0, abs(lean)))
    # state: the flags of the last sections, newest first; value: cost and all flags so far
    states: dict[tuple[bool, ...], tuple[float, tuple[bool, ...]]] = {(): (0.0, ())}
    for section in sections:
        grown: dict[tuple[bool, ...], tuple[float, tuple[bool, ...]]] = {}
        allowed = (confirmed[section],) if section in confirmed else (False, True)
        for state, (cost, flags) in states.items():
            for flag in allowed:
                total = cost + PRIOR * flag
                for back, differ, weight in evidence.get(section, []):
                    total += weight * ((state[back - 1] != flag) != differ)
                key = (flag, *state)[: params.neighbours]
                if key not in grown or total < grown[key][0]:
                    grown[key] = (total, (*flags, flag))
        states = grown
    _, best = min(states.values(), key=lambda value: value[0])
    return dict(zip(sections, best, strict=True))


def _evidence(pair: PairRow, params: Alignment) -> float:
    """How much speaks for a difference of hands (positive) or against it.

    The inlier counts and the peaks of the textures' correlation each count by their difference,
    where the better one is good enough to mean anything.
    """
    lean = 0.0
    if max(pair.inliers_plain, pair.inliers_mirrored) >= params.min_inliers:
        lean += pair.inliers_mirrored - pair.inliers_plain
    # comparisons with NaN (texture not used) are False
    if max(pair.peak_plain, pair.peak_mirrored) >= params.min_peak:
        lean += pair.peak_mirrored - pair.peak_plain
    return lean


def judge(
    pairs: list[PairRow], mirrored: dict[int, bool], largest_mm2: float, min_tissue_share: float
) -> list[PairRow]:
    """Final statuses, which need the whole brain: too little tissue is uncertain at best, and a
    pair whose transform was found for the other handedness cannot be used.
    """
    final = []
    for pair in pairs:
        status = pair.status
        by_machine = pair.method != PERSON
        if status == ACCEPTED and by_machine and pair.tissue_mm2 < min_tissue_share * largest_mm2:
            status = UNCERTAIN
        if pair.rigid is not None and pair.mirrored != (
            mirrored[pair.fixed] != mirrored[pair.moving]
        ):
            status = CONFLICT
        final.append(replace(pair, status=status))
    return final


def links_of(
    pairs: list[PairRow], mirrored: dict[int, bool], widths_um: dict[int, float]
) -> list[Link]:
    """What the usable pairs say of the sections as they are when unmirrored."""
    links = []
    for pair in pairs:
        rigid = pair.rigid
        if rigid is None or pair.status not in (ACCEPTED, UNCERTAIN):
            continue
        rigid = replace(rigid, source=str(pair.moving), target=str(pair.fixed))
        if mirrored[pair.fixed]:
            # the pair was found onto the fixed section as scanned, that is from behind
            rigid = unmirror(rigid, widths_um[pair.moving], widths_um[pair.fixed])
        certain, given = pair.status == ACCEPTED, pair.method == PERSON
        links.append(Link(pair.fixed, pair.moving, rigid, pair.distance, certain, given))
    return links


def compose(
    base: int,
    pairs: list[PairRow],
    mirrored: dict[int, bool],
    widths_um: dict[int, float],
    given: Given = NOTHING_GIVEN,
) -> dict[int, Place]:
    """Places of all sections that a chain of pairs connects to `base`, whose place is the identity.

    The chain of a section has as few uncertain pairs as possible, then as few bridges as possible:
    neighbours are composed one after the other, outwards from the base (paper, section 3.2), and a
    rejected pair is bridged by one that reaches across.

    A section that a person laid onto another is placed by that pair alone, whatever else was
    found; one with a place in the stack has it, and sections further out follow it as if a perfect
    chain led there. The base stays where it is: a section it was laid onto is laid onto it
    instead.

    Parameters
    ----------
    mirrored, widths_um : of every usable section.
    """
    edges: dict[int, list[tuple[int, float, Rigid]]] = {}
    for link in links_of(pairs, mirrored, widths_um):
        # a bridge costs more than two neighbours and less than a chain that is uncertain
        cost = link.distance + 0.5 * (link.distance - 1) + 1000.0 * (not link.certain)
        edges.setdefault(link.fixed, []).append((link.moving, cost, link.rigid))
        edges.setdefault(link.moving, []).append((link.fixed, cost, link.rigid.inverse()))
    rank = {section: index for index, section in enumerate(sorted(mirrored))}
    unmoved = Rigid(0.0, 0.0, 0.0, str(base), "stack")
    places: dict[int, Place] = {}
    queue: list[tuple[float, int, int]] = []
    reached = {}
    for section, rigid in {base: unmoved, **given.in_stack}.items():
        there = replace(rigid, source=str(section), target="stack")
        reached[section, section] = Place(section, mirrored[section], there, section, True)
        heapq.heappush(queue, (float(abs(rank[section] - rank[base])), section, section))
    while queue:
        cost, section, via = heapq.heappop(queue)
        if section in places:
            continue
        place = places[section] = reached[section, via]
        for neighbour, step, rigid in edges.get(section, []):
            if neighbour == base or neighbour in given.in_stack:
                continue
            if neighbour not in places and given.onto.get(neighbour, section) == section:
                reached[neighbour, section] = Place(
                    neighbour,
                    mirrored[neighbour],
                    rigid.then(place.rigid),
                    section,
                    place.certain and step < 1000.0,
                )
                heapq.heappush(queue, (cost + step, neighbour, section))
    return places


def choose_base(
    sections: list[int], tissue_mm2: dict[int, float], pairs: list[PairRow], min_tissue_share: float
) -> int:
    """The usable section nearest to the middle of the stack that has enough tissue.

    One with an accepted pair is preferred; of two equally near the lower number is taken.
    """
    middle = (sections[0] + sections[-1]) / 2
    largest_mm2 = max(tissue_mm2[section] for section in sections)
    paired = {s for pair in pairs if pair.status == ACCEPTED for s in (pair.fixed, pair.moving)}

    def rank(section: int) -> tuple[bool, bool, float, int]:
        enough = tissue_mm2[section] >= min_tissue_share * largest_mm2
        return (section not in paired, not enough, abs(section - middle), section)

    return min(sections, key=rank)
