"""From the pairs of a brain to the place and the handedness of every section."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from cytopipe.alignment.acceptance import LITTLE_OVERLAP, contradicted, judge_in_stack
from cytopipe.alignment.graph import bend_per_um, relax
from cytopipe.alignment.handedness import handedness_of
from cytopipe.alignment.links import Link, fragments_of, links_of
from cytopipe.alignment.manual_decisions import manual_places
from cytopipe.alignment.pairwise.outlines import pair_by_outline
from cytopipe.alignment.pairwise.prepared_section import PreparedSection
from cytopipe.alignment.stack import Place, choose_base, compose
from cytopipe.formats.tables import MIRRORED, UNCERTAIN, PairRow, SegmentationRow, displaced_um
from cytopipe.study.config import Alignment
from cytopipe.study.sections import Section


@dataclass(frozen=True)
class PlacedStack:
    """The usable sections of a brain, by number, and their pairs.

    Attributes
    ----------
    base : the section whose frame is that of the stack.
    pairs : with final statuses.
    handedness : PLAIN, MIRRORED or CANNOT_TELL.
    fragments : of each section: 1 is that of the base.
    places : of the sections that have one.
    sigma_um : error of the place, x or y; empty if it was not estimated.
    """

    base: int
    pairs: list[PairRow]
    handedness: dict[int, str]
    fragments: dict[int, int]
    places: dict[int, Place]
    sigma_um: dict[int, float]

    @property
    def mirrored(self) -> dict[int, bool]:
        return {section: answer == MIRRORED for section, answer in self.handedness.items()}


def place_sections(
    usable: list[Section],
    pairs: list[PairRow],
    segmented: dict[int, SegmentationRow],
    outline_of: Callable[[int], PreparedSection],
    params: Alignment,
) -> PlacedStack:
    """Solve the stack of the usable sections.

    The base is the middle of the largest fragment, that is of the sections that accepted pairs
    connect. Uncertain pairs lay the other fragments onto it; a fragment without any is laid onto
    the nearest section by the outlines, if enough tissue overlaps.

    Parameters
    ----------
    pairs : between usable sections, judged by their own evidence.
    segmented : of every usable section.
    outline_of : a section by its number, of which only the labels are known.

    Raises
    ------
    InputError
        If a person laid a section onto one that is not usable, or too far away.
    """
    numbers = [section.section for section in usable]
    confirmed = {s.section: s.mirrored for s in usable if s.mirrored is not None}
    handedness = handedness_of(
        numbers, pairs, confirmed, params.mirrored_share, params.min_confidence
    )
    mirrored = {number: answer == MIRRORED for number, answer in handedness.items()}
    onto, in_stack = manual_places(usable, pairs)
    tissue_mm2 = {number: segmented[number].tissue_mm2 for number in numbers}
    enough_mm2 = params.min_tissue_share * max(tissue_mm2.values())
    sizes_um = {n: (segmented[n].width_um, segmented[n].height_um) for n in numbers}

    def as_links(pairs: list[PairRow]) -> list[Link]:
        thickness_um = usable[0].thickness_um
        return links_of(pairs, mirrored, sizes_um, thickness_um, params.anatomy_ratio)

    pairs = judge_in_stack(pairs, mirrored)
    against = contradicted(as_links(pairs), sizes_um, params.part_um)
    pairs = [replace(p, status=UNCERTAIN) if p.sections in against else p for p in pairs]
    fragments = fragments_of(numbers, as_links(pairs))
    # two sections that one pair connects may have been connected by chance
    largest = fragments[0] if len(fragments[0]) > 2 else numbers
    base = choose_base(largest, tissue_mm2, (numbers[0] + numbers[-1]) / 2, enough_mm2)
    fragments.sort(key=lambda fragment: base not in fragment)

    places = compose(base, numbers, as_links(pairs), onto, in_stack)
    apart = [number for number in numbers if number not in places and number not in onto]
    while apart:
        moving, fixed = min(
            ((one, other) for one in apart for other in places),
            key=lambda pair: (abs(pair[0] - pair[1]), pair),
        )
        apart.remove(moving)
        own = [pair for pair in pairs if set(pair.sections) == {fixed, moving}]
        if any(pair.status == LITTLE_OVERLAP for pair in own):
            continue  # the outlines were tried
        pair = pair_by_outline(
            outline_of(fixed), outline_of(moving), mirrored[fixed], mirrored[moving], params
        )
        distance = abs(numbers.index(moving) - numbers.index(fixed))
        pairs = [pair for pair in pairs if pair not in own] + [replace(pair, distance=distance)]
        if pair.rigid is not None:
            places = compose(base, numbers, as_links(pairs), onto, in_stack)
            apart = [number for number in apart if number not in places]
    sigma_um: dict[int, float] = {}
    if params.composition == "graph":
        still = {base, *in_stack}
        places, sigma_um = relax(still, places, as_links(pairs), sizes_um)
        bend = bend_per_um(places, as_links(pairs), sizes_um)
        for number, place in places.items():
            away_um = min(abs(number - one) for one in still) * usable[0].thickness_um
            drift_um = params.drift_ratio * place.uncertain_um
            # the pairs of a section share this error: they all lay the same part of it
            of_parts_um = displaced_um(number, pairs) / 2
            sigma_um[number] = float(
                np.linalg.norm([sigma_um[number], drift_um, bend * away_um, of_parts_um])
            )
    if len(fragments[0]) <= 2 < len(numbers):
        # the base is where it is by definition, but nothing confirms that the others agree with it
        for number in set(fragments[0]) - in_stack.keys():
            places[number] = replace(places[number], certain=False)
    of_fragment = {n: i for i, fragment in enumerate(fragments, start=1) for n in fragment}
    return PlacedStack(base, pairs, handedness, of_fragment, places, sigma_um)
