"""From pairs to the stack: each section's place."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, replace

from cytopipe.alignment.links import Link
from cytopipe.numerics.geometry import Rigid

# cost of an uncertain pair: more than that of any chain of certain ones
_UNCERTAIN_COST = 1000.0


@dataclass(frozen=True)
class Place:
    """A section in the stack: `rigid` moves the unmirrored section to the stack frame.

    `via` is the section that it was aligned to, or itself if it was not aligned to any.
    `uncertain_um` is how far the uncertain pairs on the way reach along z.
    """

    rigid: Rigid
    via: int
    certain: bool  # no pair on the way is uncertain
    uncertain_um: float = 0.0


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
    edges: dict[int, list[tuple[int, float, Link]]] = {}
    for link in links:
        # a bridge costs more than the two pairs that it replaces
        cost = link.distance + 0.5 * (link.distance - 1) + _UNCERTAIN_COST * (not link.certain)
        edges.setdefault(link.fixed, []).append((link.moving, cost, link))
        edges.setdefault(link.moving, []).append((link.fixed, cost, link))
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
        for neighbour, step, link in edges.get(section, []):
            if neighbour == base or neighbour in in_stack:
                continue
            if neighbour not in places and onto.get(neighbour, section) == section:
                reached[neighbour, section] = Place(
                    link.to(section).then(place.rigid),
                    section,
                    place.certain and link.certain,
                    place.uncertain_um + (0.0 if link.certain else link.gap_um),
                )
                heapq.heappush(queue, (cost + step, neighbour, section))
    return places


def choose_base(
    fragment: list[int],
    tissue_mm2: dict[int, float],
    middle: float,
    enough_mm2: float,
) -> int:
    """The section of a fragment nearest to the middle of the stack that has enough tissue.

    Of two equally near ones, the lower number.
    """
    return min(fragment, key=lambda s: (tissue_mm2[s] < enough_mm2, abs(s - middle), s))
