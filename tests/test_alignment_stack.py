"""The stack composed from pairs of exact chains."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slice_pairs import (
    CORNERS_UM,
    HEIGHT_UM,
    WIDTH_UM,
)

from cytopipe.alignment.acceptance import CONFLICT, contradicted, judge_in_stack
from cytopipe.alignment.handedness import (
    handedness_of,
    log_odds_of_counts,
    log_odds_of_pair,
    log_odds_of_parts,
)
from cytopipe.alignment.links import fragments_of, links_of
from cytopipe.alignment.stack import Place, choose_base, compose
from cytopipe.formats.tables import (
    ACCEPTED,
    CANNOT_TELL,
    MIRRORED,
    PLAIN,
    UNCERTAIN,
    PairRow,
    displaced_um,
    rigid_columns,
)
from cytopipe.numerics.geometry import Rigid, mirror, unmirror


def exact_pair(
    fixed: int, moving: int, true: dict[int, Rigid], flags: dict[int, bool], distance: int = 1
) -> PairRow:
    """The pair that perfect matching gives: the moving section is flipped if the two differ."""
    rigid = true[moving].then(true[fixed].inverse())
    if flags[fixed]:
        rigid = unmirror(rigid, WIDTH_UM, WIDTH_UM)
    differ = flags[fixed] != flags[moving]
    counts = (3, 60) if differ else (60, 3)
    return PairRow(
        brain="B01",
        fixed=fixed,
        moving=moving,
        distance=distance,
        inliers_plain=counts[0],
        inliers_mirrored=counts[1],
        peak_plain=np.nan,
        peak_mirrored=np.nan,
        log_odds_mirrored=5.0 if differ else -5.0,
        mirrored=differ,
        **rigid_columns(rigid),
        sigma_um=20.0,
        residual_um=90.0,
        overlap=0.9,
        agreement=1.0,
        displaced_share=0.0,
        displaced_um=0.0,
        tissue_mm2=900.0,
        method="features",
        status=ACCEPTED,
    )


def composed(
    base: int,
    pairs: list[PairRow],
    flags: dict[int, bool],
    onto: dict[int, int] | None = None,
    in_stack: dict[int, Rigid] | None = None,
) -> dict[int, Place]:
    """`compose` for sections of one width."""
    links = links_of(pairs, flags, dict.fromkeys(flags, (WIDTH_UM, HEIGHT_UM)), 20.0, 0.4)
    return compose(base, list(flags), links, onto or {}, in_stack or {})


ORIGIN = np.zeros(2)


def is_mirrored(answers: dict[int, str]) -> dict[int, bool]:
    return {number: answer == MIRRORED for number, answer in answers.items()}


angles = st.floats(-3.0, 3.0)
shifts = st.floats(-1e5, 1e5)


@given(angles, shifts, shifts, st.floats(1e3, 2e5), st.floats(1e3, 2e5), shifts, shifts)
def test_unmirror_commutes_with_the_mirror(
    angle: float, x: float, y: float, source: float, target: float, px: float, py: float
) -> None:
    rigid = Rigid(angle, x, y, "a", "b")
    point = np.array([px, py])
    seen_from_behind = unmirror(rigid, source, target)
    np.testing.assert_allclose(
        seen_from_behind(mirror(point, source)), mirror(rigid(point), target), atol=1e-6
    )
    assert np.linalg.det(seen_from_behind.rotation) == pytest.approx(1)


@st.composite
def chains(draw: st.DrawFn) -> tuple[dict[int, Rigid], dict[int, bool]]:
    count = draw(st.integers(3, 12))
    true = {
        100 * i: Rigid(draw(angles), draw(shifts), draw(shifts), str(100 * i), "true")
        for i in range(count)
    }
    mirrored = draw(st.lists(st.integers(0, count - 1), max_size=(count - 1) // 2, unique=True))
    return true, {100 * i: i in mirrored for i in range(count)}


@settings(deadline=None)
@given(chains(), st.data())
def test_exact_pairs_give_the_exact_stack(
    chain: tuple[dict[int, Rigid], dict[int, bool]], data: st.DataObject
) -> None:
    true, flags = chain
    numbers = sorted(true)
    near = [exact_pair(a, b, true, flags) for a, b in pairwise(numbers)]
    far = [exact_pair(a, b, true, flags, 2) for a, b in zip(numbers, numbers[2:], strict=False)]
    lost = data.draw(st.integers(0, len(near)))
    near = [
        p if i != lost else replace(p, status="x", **rigid_columns(None))
        for i, p in enumerate(near)
    ]
    # the more probable answer, however little more
    mirrored = is_mirrored(handedness_of(numbers, near + far, {}, 0.05, 0.5))
    assert mirrored == flags
    base = data.draw(st.sampled_from(numbers))
    places = composed(base, near + far, mirrored)
    # an end section without the pair of its only neighbour is still reached by a bridge
    assert set(places) == set(numbers)
    for number, place in places.items():
        expected = true[number].then(true[base].inverse())
        np.testing.assert_allclose(place.rigid(CORNERS_UM), expected(CORNERS_UM), atol=1e-3)
        assert np.linalg.det(place.rigid.rotation) == pytest.approx(1)


def straight(count: int) -> tuple[list[int], dict[int, Rigid]]:
    numbers = [100 * i for i in range(count)]
    return numbers, {n: Rigid(0.01 * n, 5.0 * n, 0.0, str(n), "true") for n in numbers}


def test_section_without_pairs_is_bridged() -> None:
    numbers, true = straight(5)
    flags = dict.fromkeys(numbers, False)
    bad = 200
    pairs = [exact_pair(a, a + 100, true, flags) for a in numbers[:-1] if bad not in (a, a + 100)]
    pairs.append(exact_pair(100, 300, true, flags, 2))
    places = composed(0, pairs, flags)
    assert bad not in places
    assert [places[n].via for n in (100, 300, 400)] == [0, 100, 300]


def test_uncertain_pairs_are_avoided_and_passed_on() -> None:
    numbers, true = straight(4)
    flags = dict.fromkeys(numbers, False)
    pairs = [exact_pair(a, a + 100, true, flags) for a in numbers[:-1]]
    pairs[1] = replace(pairs[1], status=UNCERTAIN)
    places = composed(0, pairs, flags)
    assert [places[n].certain for n in numbers] == [True, True, False, False]
    pairs.append(exact_pair(100, 300, true, flags, 2))
    places = composed(0, pairs, flags)
    assert all(place.certain for place in places.values())
    assert (places[300].via, places[200].via) == (100, 300)


def test_one_wrong_pair_is_outvoted_and_not_used() -> None:
    numbers, true = straight(6)
    flags = dict.fromkeys(numbers, False)
    pairs = [exact_pair(a, a + 100, true, flags) for a in numbers[:-1]]
    pairs += [exact_pair(a, a + 200, true, flags, 2) for a in numbers[:-2]]
    pairs[2] = replace(pairs[2], mirrored=True, log_odds_mirrored=5.0)
    answers = handedness_of(numbers, pairs, {}, 0.05, 0.99)
    assert set(answers.values()) == {PLAIN}
    final = judge_in_stack(pairs, is_mirrored(answers))
    assert [p.status for p in final] == [ACCEPTED] * 2 + [CONFLICT] + [ACCEPTED] * 6
    assert set(composed(0, final, is_mirrored(answers))) == set(numbers)


def test_two_pairs_call_a_section_mirrored_and_one_does_not() -> None:
    numbers, true = straight(7)
    flags = {n: n == 300 for n in numbers}
    pairs = [exact_pair(a, a + 100, true, flags) for a in numbers[:-1]]
    answers = handedness_of(numbers, pairs, {}, 0.05, 0.99)
    assert answers == {n: MIRRORED if n == 300 else PLAIN for n in numbers}
    flags = {n: n == 600 for n in numbers}
    pairs = [exact_pair(a, a + 100, true, flags) for a in numbers[:-1]]
    answers = handedness_of(numbers, pairs, {}, 0.05, 0.99)
    assert answers == {n: CANNOT_TELL if n == 600 else PLAIN for n in numbers}


def test_a_symmetric_brain_shows_no_handedness() -> None:
    """The evidence of each pair is noise; nothing is called mirrored, and a person is asked."""
    rng = np.random.default_rng(3)
    numbers, true = straight(90)
    flags = dict.fromkeys(numbers, False)
    pairs = [exact_pair(a, a + 100, true, flags) for a in numbers[:-1]]
    pairs += [exact_pair(a, a + 200, true, flags, 2) for a in numbers[:-2]]
    noise = [
        log_odds_of_pair(
            log_odds_of_counts(*(rng.normal(size=(rng.poisson(25), 2)) for _ in range(2)), ORIGIN),
            log_odds_of_parts(rng.normal(0, 0.2, 20), rng.normal(size=(20, 2)), ORIGIN),
        )
        for _ in pairs
    ]
    pairs = [replace(p, log_odds_mirrored=v) for p, v in zip(pairs, noise, strict=True)]
    answers = list(handedness_of(numbers, pairs, {}, 0.05, 0.99).values())
    assert answers.count(MIRRORED) == 0
    assert answers.count(CANNOT_TELL) > 20


def test_the_evidence_of_a_pair_grows_with_its_margin() -> None:
    places = np.array([[x, y] for x in (-1.0, 1.0) for y in (-1.0, 1.0)])

    def by_counts(plain: int, mirrored: int) -> float:
        return log_odds_of_counts(
            np.resize(places, (plain, 2)), np.resize(places, (mirrored, 2)), ORIGIN
        )

    assert abs(by_counts(22, 25)) < 1.5
    assert by_counts(22, 25) < by_counts(20, 44) < by_counts(8, 240)
    assert by_counts(240, 8) == -by_counts(8, 240) < -5
    assert log_odds_of_pair(-30.0, -30.0) == -5


def test_the_quadrants_of_a_section_have_to_agree() -> None:
    """Cut askew, one half of a section resembles the mirrored neighbour more, the other less."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(24, 2))
    left = centres[:, 0] < 0
    everywhere = rng.normal(0.1, 0.05, 24)
    half = np.where(left, rng.normal(0.3, 0.05, 24), rng.normal(-0.1, 0.05, 24))
    assert half.mean() > 0.9 * everywhere.mean()
    assert log_odds_of_parts(everywhere, centres, ORIGIN) > 4
    assert abs(log_odds_of_parts(half, centres, ORIGIN)) < 1.5
    left_um, right_um = np.array([[-1.0, -1], [-1, 1]]), np.array([[1.0, -1], [1, 1]])
    mirrored = np.concatenate([np.repeat(left_um, 15, axis=0), np.repeat(right_um, 5, axis=0)])
    plain = np.concatenate([np.repeat(left_um, 2, axis=0), np.repeat(right_um, 8, axis=0)])
    assert abs(log_odds_of_counts(plain, mirrored, ORIGIN)) < 2.5


def test_a_confirmed_flag_decides_the_handedness_of_all() -> None:
    numbers, true = straight(7)
    flags = {n: n == 300 for n in numbers}
    pairs = [exact_pair(a, a + 100, true, flags) for a in numbers[:-1]]
    pairs += [exact_pair(a, a + 200, true, flags, 2) for a in numbers[:-2]]
    assert is_mirrored(handedness_of(numbers, pairs, {}, 0.05, 0.99)) == flags
    turned = handedness_of(numbers, pairs, {300: False}, 0.05, 0.99)
    assert turned == {n: PLAIN if n == 300 else MIRRORED for n in numbers}


def test_triangles_find_the_pair_that_is_wrong() -> None:
    numbers, true = straight(8)
    flags = dict.fromkeys(numbers, False)
    pairs = [exact_pair(a, a + 100, true, flags) for a in numbers[:-1]]
    pairs += [exact_pair(a, a + 200, true, flags, 2) for a in numbers[:-2]]
    sizes_um = dict.fromkeys(numbers, (WIDTH_UM, HEIGHT_UM))

    def against(pairs: list[PairRow]) -> set[tuple[int, int]]:
        return contradicted(links_of(pairs, flags, sizes_um, 20.0, 0.4), sizes_um, 768.0)

    assert against(pairs) == set()
    within = [*pairs[:3], replace(pairs[3], x_um=pairs[3].x_um + 500.0), *pairs[4:]]
    assert against(within) == set()
    wrong = [*pairs[:3], replace(pairs[3], x_um=pairs[3].x_um + 3000.0), *pairs[4:]]
    assert against(wrong) == {(300, 400)}
    # the last section is in one triangle: either of its pairs may be wrong
    last = [*pairs[:6], replace(pairs[6], x_um=pairs[6].x_um + 3000.0), *pairs[7:]]
    assert against(last) == {(600, 700), (500, 700)}


def test_the_largest_fragment_comes_first() -> None:
    numbers, true = straight(7)
    flags = dict.fromkeys(numbers, False)
    pairs = [exact_pair(a, a + 100, true, flags) for a in numbers[:-1]]
    pairs[1] = replace(pairs[1], status=UNCERTAIN)
    sizes_um = dict.fromkeys(numbers, (WIDTH_UM, HEIGHT_UM))
    fragments = fragments_of(numbers, links_of(pairs, flags, sizes_um, 20.0, 0.4))
    assert fragments == [[200, 300, 400, 500, 600], [0, 100]]


def test_a_section_with_little_tissue_is_not_the_base() -> None:
    assert choose_base([0, 100, 200], {0: 900.0, 100: 50.0, 200: 800.0}, 100.0, 150.0) == 0


def test_a_part_is_displaced_in_the_section_whose_pairs_all_show_it() -> None:
    numbers, true = straight(4)
    flags = dict.fromkeys(numbers, False)
    pairs = [exact_pair(a, a + 100, true, flags) for a in numbers[:-1]]
    split = [
        replace(p, status=UNCERTAIN, displaced_share=0.4, displaced_um=far_um)
        for p, far_um in zip(pairs[:2], (2000.0, 2500.0), strict=True)
    ]
    # this pair cannot tell
    across = replace(exact_pair(100, 300, true, flags, 2), status=UNCERTAIN)
    shifts_um = [displaced_um(n, [*split, pairs[2], across]) for n in numbers]
    assert shifts_um == [2000.0, 2000.0, 0.0, 0.0]
