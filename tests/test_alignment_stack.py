"""The stack composed from pairs of exact chains."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slice_pairs import (
    CORNERS_UM,
    PARAMS,
    WIDTH_UM,
)

from cytopipe.alignment.acceptance import CONFLICT, judge_in_stack
from cytopipe.alignment.stack import Place, choose_base, compose, links_of, mirror_flags
from cytopipe.formats.tables import ACCEPTED, UNCERTAIN, PairRow, rigid_columns
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
        mirrored=differ,
        **rigid_columns(rigid),
        residual_um=90.0,
        overlap=0.9,
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
    links = links_of(pairs, flags, dict.fromkeys(flags, WIDTH_UM))
    return compose(base, list(flags), links, onto or {}, in_stack or {})


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
    mirrored = mirror_flags(numbers, near + far, {}, PARAMS)
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
    pairs[2] = replace(pairs[2], mirrored=True, inliers_plain=12, inliers_mirrored=40)
    mirrored = mirror_flags(numbers, pairs, {}, PARAMS)
    assert not any(mirrored.values())
    final = judge_in_stack(pairs, mirrored, 900.0, 0.15)
    assert [p.status for p in final] == [ACCEPTED] * 2 + [CONFLICT] + [ACCEPTED] * 6
    assert set(composed(0, final, mirrored)) == set(numbers)


def test_texture_peaks_count_where_inliers_are_few() -> None:
    numbers, true = straight(5)
    flags = {n: n == 200 for n in numbers}
    pairs = [exact_pair(a, a + 100, true, flags) for a in numbers[:-1]]
    dull = [
        replace(
            p,
            inliers_plain=4,
            inliers_mirrored=4,
            peak_plain=4.5 if p.mirrored else 15.0,
            peak_mirrored=15.0 if p.mirrored else 4.5,
        )
        for p in pairs
    ]
    assert mirror_flags(numbers, dull, {}, PARAMS) == flags


def test_a_confirmed_flag_decides_the_handedness_of_all() -> None:
    numbers, true = straight(5)
    flags = {n: n == 200 for n in numbers}
    pairs = [exact_pair(a, a + 100, true, flags) for a in numbers[:-1]]
    assert mirror_flags(numbers, pairs, {}, PARAMS) == flags
    turned = mirror_flags(numbers, pairs, {200: False}, PARAMS)
    assert turned == {n: n != 200 for n in numbers}


def test_a_section_with_little_tissue_is_uncertain_and_not_the_base() -> None:
    numbers, true = straight(3)
    flags = dict.fromkeys(numbers, False)
    pairs = [exact_pair(a, a + 100, true, flags) for a in numbers[:-1]]
    pairs[1] = replace(pairs[1], tissue_mm2=100.0)
    assert [p.status for p in judge_in_stack(pairs, flags, 1000.0, 0.15)] == [ACCEPTED, UNCERTAIN]
    assert choose_base(numbers, {0: 900.0, 100: 50.0, 200: 800.0}, pairs, 0.15) == 0
