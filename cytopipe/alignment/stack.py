"""From pairs to the stack: which sections are mirrored, and each section's place."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, replace

from cytopipe.alignment.acceptance import PERSON
from cytopipe.formats.tables import ACCEPTED, UNCERTAIN, PairRow
from cytopipe.numerics.geometry import Rigid, unmirror
from cytopipe.study.config import Alignment

# cost of a mirrored section: less than one inlier, so it decides only if the pairs do not
_MIRRORED_COST = 0.5
# cost of an uncertain pair: more than that of any chain of certain ones
_UNCERTAIN_COST = 1000.0


@dataclass(frozen=True)
class Place:
    """A section in the stack: `rigid` moves the unmirrored section to the stack frame.

    `via` is the section that it was aligned to, or itself if it was not aligned to any.
    """

    rigid: Rigid
    via: int
    certain: bool  # no pair on the way is uncertain


@dataclass(frozen=True)
class Link:
    """A usable pair: `rigid` moves the unmirrored moving section to the unmirrored fixed one."""

    fixed: int
    moving: int
    rigid: Rigid
    distance: int
    certain: bool
    manual: bool


def mirror_flags(
    sections: list[int], pairs: list[PairRow], confirmed: dict[int, bool], params: Alignment
) -> dict[int, bool]:
    """Which sections were scanned face down, by the least contradiction to the pairs.

    A pair only shows whether its two sections differ, with a weight (`_evidence`). Dynamic
    programming along the stack finds the flags with the least contradicted weight exactly. Flags
    confirmed by a person are kept. Pairs cannot show which handedness is the mirrored one: it is
    that of fewer sections, unless a person confirmed otherwise.

    Parameters
    ----------
    sections : numbers of the usable sections, in order.
    confirmed : flags of the sections that a person looked at.
    """
    rank = {section: index for index, section in enumerate(sections)}
    evidence: dict[int, list[tuple[int, bool, float]]] = {}
    for pair in pairs:
        back = rank[pair.moving] - rank[pair.fixed]
        difference = _evidence(pair, params)
        evidence.setdefault(pair.moving, []).append((back, difference > 0, abs(difference)))
    # from the flags of the last sections, newest first, to the cost and all flags so far
    states: dict[tuple[bool, ...], tuple[float, tuple[bool, ...]]] = {(): (0.0, ())}
    for section in sections:
        grown: dict[tuple[bool, ...], tuple[float, tuple[bool, ...]]] = {}
        allowed = (confirmed[section],) if section in confirmed else (False, True)
        for state, (cost, flags) in states.items():
            for flag in allowed:
                total = cost + _MIRRORED_COST * flag
                for back, differ, weight in evidence.get(section, []):
                    total += weight * ((state[back - 1] != flag) != differ)
                key = (flag, *state)[: params.neighbours]
                if key not in grown or total < grown[key][0]:
                    grown[key] = (total, (*flags, flag))
        states = grown
    _, best = min(states.values(), key=lambda value: value[0])
    return dict(zip(sections, best, strict=True))


def _evidence(pair: PairRow, params: Alignment) -> float:
    """Evidence that the sections of a pair differ in handedness; negative if they do not.

    Inlier counts and texture peaks each count if the better one is good enough to be meaningful.
    """
    difference = 0.0
    if max(pair.inliers_plain, pair.inliers_mirrored) >= params.min_inliers:
        difference += pair.inliers_mirrored - pair.inliers_plain
    # comparisons with NaN (texture not used) are False
    if max(pair.peak_plain, pair.peak_mirrored) >= params.min_peak:
        difference += pair.peak_mirrored - pair.peak_plain
    return difference


def links_of(
    pairs: list[PairRow], mirrored: dict[int, bool], widths_um: dict[int, float]
) -> list[Link]:
    """The usable pairs, between unmirrored sections."""
    links = []
    for pair in pairs:
        rigid = pair.rigid
        if rigid is None or pair.status not in (ACCEPTED, UNCERTAIN):
            continue
        rigid = replace(rigid, source=str(pair.moving), target=str(pair.fixed))
        if mirrored[pair.fixed]:
            # the transform leads to the fixed section as scanned, which is seen from behind
            rigid = unmirror(rigid, widths_um[pair.moving], widths_um[pair.fixed])
        certain, manual = pair.status == ACCEPTED, pair.method == PERSON
        links.append(Link(pair.fixed, pair.moving, rigid, pair.distance, certain, manual))
    return links


def compose(
    base: int,
    sections: list[int],
    links: list[Link],
    onto: Mapping[int, int],
    in_stack: Mapping[int, Rigid],
) -> dict[int, Place]:
    """Places of all sections that a chain of pairs connects to `base`, whose place is the identity.

    Neighbours are composed one after the other, outwards from the base (paper, section 3.2), and a
    rejected pair is bridged by one that reaches across. The chain of a section has as few uncertain
    pairs as possible, then as few bridges as possible.

    A section that a person laid `onto` another is placed by that pair alone. One that a person
    placed `in_stack`, by the transform of the unmirrored section, keeps that place, and sections
    further out follow it as if a perfect chain led to it. The base is not moved: if it was laid
    onto a section, that section is laid onto it instead.
    """
    edges: dict[int, list[tuple[int, float, Rigid]]] = {}
    for link in links:
        # a bridge costs more than the two pairs that it replaces
        cost = link.distance + 0.5 * (link.distance - 1) + _UNCERTAIN_COST * (not link.certain)
        edges.setdefault(link.fixed, []).append((link.moving, cost, link.rigid))
        edges.setdefault(link.moving, []).append((link.fixed, cost, link.rigid.inverse()))
    rank = {section: index for index, section in enumerate(sorted(sections))}
    unmoved = Rigid(0.0, 0.0, 0.0, str(base), "stack")
    places: dict[int, Place] = {}
    queue: list[tuple[float, int, int]] = []
    reached = {}
    for section, rigid in {base: unmoved, **in_stack}.items():
        to_stack = replace(rigid, source=str(section), target="stack")
        reached[section, section] = Place(to_stack, section, True)
        heapq.heappush(queue, (float(abs(rank[section] - rank[base])), section, section))
    while queue:
        cost, section, via = heapq.heappop(queue)
        if section in places:
            continue
        place = places[section] = reached[section, via]
        for neighbour, step, rigid in edges.get(section, []):
            if neighbour == base or neighbour in in_stack:
                continue
            if neighbour not in places and onto.get(neighbour, section) == section:
                certain = place.certain and step < _UNCERTAIN_COST
                reached[neighbour, section] = Place(rigid.then(place.rigid), section, certain)
                heapq.heappush(queue, (cost + step, neighbour, section))
    return places


def choose_base(
    sections: list[int], tissue_mm2: dict[int, float], pairs: list[PairRow], min_tissue_share: float
) -> int:
    """The usable section nearest to the middle of the stack that has enough tissue.

    A section with an accepted pair is preferred; of two equally near ones, the lower number.
    """
    middle = (sections[0] + sections[-1]) / 2
    enough_mm2 = min_tissue_share * max(tissue_mm2[section] for section in sections)
    paired = {s for pair in pairs if pair.status == ACCEPTED for s in pair.sections}
    return min(
        sections, key=lambda s: (s not in paired, tissue_mm2[s] < enough_mm2, abs(s - middle), s)
    )
