"""The stack of a brain whose pairs fall into fragments."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from slice_pairs import (
    FULL_UM,
    HEIGHT_UM,
    PARAMS,
    WIDTH_UM,
    about_centre,
    brain_slice,
    displaced,
    prepared,
    worst_px,
)
from table_rows import row
from test_alignment_stack import exact_pair

from cytopipe.alignment.placing import PlacedStack, place_sections
from cytopipe.formats.tables import CANNOT_TELL, PLAIN, UNCERTAIN, PairRow, SegmentationRow
from cytopipe.numerics.geometry import Rigid
from cytopipe.study.sections import Section

NUMBERS = list(range(0, 900, 100))
TRUE = {
    n: replace(about_centre(turn, 300.0 * turn, -150.0 * turn), source=str(n), target="true")
    for n, turn in zip(NUMBERS, (4.0, -7.0, 0.0, 9.0, -3.0, 6.0, 2.0, -5.0, 1.0), strict=True)
}
FLAGS = dict.fromkeys(NUMBERS, False)


def placed(pairs: list[PairRow], confirmed: bool | None = False) -> PlacedStack:
    """The stack of slices of one shape, each displaced by its `TRUE` transform."""
    image, labels = brain_slice(1)
    segmented = {
        n: row(
            SegmentationRow, brain="B01", section=n, width_um=WIDTH_UM, height_um=HEIGHT_UM,
            full_spacing_um=FULL_UM, tissue_mm2=900.0, status="ok",
        )
        for n in NUMBERS
    }  # fmt: skip
    sections = [Section("B01", n, "", FULL_UM, 20.0, mirrored=confirmed) for n in NUMBERS]
    return place_sections(
        sections,
        pairs,
        segmented,
        lambda n: prepared(*displaced(image, labels, TRUE[n], False), n),
        PARAMS,
    )


def between(sections: list[int]) -> list[PairRow]:
    near = [exact_pair(a, b, TRUE, FLAGS) for a, b in pairwise(sections)]
    far = [exact_pair(a, b, TRUE, FLAGS, 2) for a, b in zip(sections, sections[2:], strict=False)]
    return near + far


def error_px(stack: PlacedStack, section: int) -> float:
    expected = TRUE[section].then(TRUE[stack.base].inverse())
    return worst_px(stack.places[section].rigid, expected)


def test_a_fragment_without_pairs_is_laid_onto_the_largest_by_its_outline() -> None:
    small, large = NUMBERS[:4], NUMBERS[4:]
    stack = placed(between(small) + between(large))
    assert stack.base in large
    assert [stack.fragments[n] for n in NUMBERS] == [2] * 4 + [1] * 5
    assert set(stack.places) == set(NUMBERS)
    for n in NUMBERS:
        assert stack.places[n].certain == (n in large)
        assert error_px(stack, n) < (0.1 if n in large else 6)
    (joining,) = (pair for pair in stack.pairs if pair.method == "outline")
    assert joining.status == UNCERTAIN
    # the outlines say no more than the anatomy: 0.4 mm per mm
    assert min(stack.sigma_um[n] for n in small) > 600 > max(stack.sigma_um[n] for n in large)


def test_the_base_lies_in_the_largest_fragment_not_in_the_middle() -> None:
    pairs = [
        replace(pair, status=UNCERTAIN)
        if any(min(pair.sections) < border <= max(pair.sections) for border in (400, 700))
        else pair
        for pair in between(NUMBERS)
    ]
    stack = placed(pairs)
    assert stack.base == 300
    assert [stack.fragments[n] for n in NUMBERS] == [1, 1, 1, 1, 2, 2, 2, 3, 3]
    assert set(stack.places) == set(NUMBERS)


def test_no_section_is_certain_if_no_pair_or_only_one_is_accepted() -> None:
    """The middle of the stack was certain, because it is where it is by definition."""
    unsure = [replace(pair, status=UNCERTAIN) for pair in between(NUMBERS)]
    for pairs in (unsure, [between(NUMBERS)[0], *unsure[1:]]):
        stack = placed(pairs)
        assert set(stack.places) == set(NUMBERS)
        assert not any(place.certain for place in stack.places.values())


def test_errors_grow_along_pairs_that_follow_the_anatomy() -> None:
    unsure = [replace(p, status=UNCERTAIN, sigma_um=np.nan) for p in between(NUMBERS)]
    sure, unsure_um = placed(between(NUMBERS)).sigma_um, placed(unsure).sigma_um
    assert max(sure.values()) < 100
    # half of 0.4 mm per mm adds up over 8 mm
    assert unsure_um[0] > 0.2 * 400 * 20 * 0.99
    assert unsure_um[0] > unsure_um[200] > unsure_um[300] > 0


@pytest.mark.parametrize("confirmed", [None, False])
def test_a_person_answers_what_the_pairs_cannot_tell(confirmed: bool | None) -> None:
    dull = [replace(pair, log_odds_mirrored=0.2) for pair in between(NUMBERS)]
    answers = set(placed(dull, confirmed).handedness.values())
    assert answers == {PLAIN if confirmed is False else CANNOT_TELL}


def test_transforms_that_no_section_follows_are_not_used() -> None:
    pairs = between(NUMBERS)
    wrong = Rigid(0.4, 9000.0, -3000.0, "moving", "fixed")
    pairs[4] = replace(pairs[4], angle_rad=wrong.angle_rad, x_um=wrong.x_um, y_um=wrong.y_um)
    stack = placed(pairs)
    assert stack.pairs[4].status == UNCERTAIN
    assert all(place.certain for place in stack.places.values())
    assert max(error_px(stack, n) for n in NUMBERS) < 0.5


def test_small_sections_whose_parts_agree_are_certain() -> None:
    pairs = [replace(p, tissue_mm2=90.0) if 800 in p.sections else p for p in between(NUMBERS)]
    assert all(place.certain for place in placed(pairs).places.values())


def test_two_standard_deviations_of_a_section_reach_its_displaced_part() -> None:
    pairs = [
        replace(p, status=UNCERTAIN, displaced_share=0.4, displaced_um=2400.0, sigma_um=1200.0)
        if 300 in p.sections
        else p
        for p in between(NUMBERS)
    ]
    stack = placed(pairs)
    assert [n for n, place in stack.places.items() if not place.certain] == [300]
    assert 2 * stack.sigma_um[300] >= 2400
    assert max(sigma_um for n, sigma_um in stack.sigma_um.items() if n != 300) < 100
