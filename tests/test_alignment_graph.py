"""The pose graph on stacks with known places."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from cytopipe.alignment.graph import bend_per_um, relax
from cytopipe.alignment.links import Link
from cytopipe.alignment.stack import Place
from cytopipe.numerics.geometry import Rigid

SIZE_UM = (90_000.0, 60_000.0)
CORNERS_UM = np.array([[0.0, 0.0], [90_000.0, 0.0], [0.0, 60_000.0], [90_000.0, 60_000.0]])
SECTIONS = list(range(0, 60 * 15, 15))
BASE = SECTIONS[30]
SIZES_UM = dict.fromkeys(SECTIONS, SIZE_UM)


def true_places(rng: np.random.Generator) -> dict[int, Rigid]:
    """Sections turned by up to 15 degrees and shifted by millimetres; the base is not."""
    return {
        s: Rigid(*(rng.normal(0, [0.1, 3000, 3000]) if s != BASE else np.zeros(3)), str(s), "stack")
        for s in SECTIONS
    }


def links_between(
    true: dict[int, Rigid], reach: int, error_um: float, rng: np.random.Generator
) -> list[Link]:
    """Pairs over 1 to `reach` sections; their error, about the middle, grows with the distance."""
    links = []
    middle = np.array(SIZE_UM) / 2
    for place, moving in enumerate(SECTIONS):
        for distance in range(1, min(reach, place) + 1):
            fixed = SECTIONS[place - distance]
            exact = true[moving].then(true[fixed].inverse())
            turn = rng.normal(0, distance * error_um / 30_000)
            shift = rng.normal(0, distance * error_um, 2)
            error = Rigid(turn, 0.0, 0.0, str(moving), str(moving))
            error = replace(error, x_um=float(shift[0]), y_um=float(shift[1]))
            off = middle - error(middle) + shift
            error = replace(error, x_um=error.x_um + off[0], y_um=error.y_um + off[1])
            sigma_um = max(distance * error_um, 1.0)
            rigid, gap_um = error.then(exact), 300.0 * distance
            links.append(Link(fixed, moving, rigid, distance, True, False, gap_um, sigma_um))
    return links


def composed(links: list[Link]) -> dict[int, Place]:
    """Places composed from neighbours only."""
    places = {BASE: Place(Rigid(0.0, 0.0, 0.0, str(BASE), "stack"), BASE, True)}
    neighbours = {(li.fixed, li.moving): li.rigid for li in links if li.distance == 1}
    start = SECTIONS.index(BASE)
    for i in range(start + 1, len(SECTIONS)):
        before, here = SECTIONS[i - 1], SECTIONS[i]
        rigid = neighbours[before, here].then(places[before].rigid)
        places[here] = Place(rigid, before, True)
    for i in range(start - 1, -1, -1):
        after, here = SECTIONS[i + 1], SECTIONS[i]
        rigid = neighbours[here, after].inverse().then(places[after].rigid)
        places[here] = Place(rigid, after, True)
    return places


def errors_um(places: dict[int, Place], true: dict[int, Rigid]) -> np.ndarray:
    """Distance of each section's middle from its true position."""
    middle = np.array([SIZE_UM]) / 2
    return np.array([np.linalg.norm(places[s].rigid(middle) - true[s](middle)) for s in SECTIONS])


relaxed = partial(relax, {BASE}, sizes_um=SIZES_UM)


def test_pairs_that_agree_do_not_move_sections() -> None:
    rng = np.random.default_rng(0)
    true = true_places(rng)
    links = links_between(true, 3, 0.0, rng)
    places, sigma_um = relaxed(composed(links), links)
    for section in SECTIONS:
        np.testing.assert_allclose(
            places[section].rigid(CORNERS_UM), true[section](CORNERS_UM), atol=1e-3
        )
    # what the pairs claim, although they agree exactly
    assert 0.5 < sigma_um[SECTIONS[0]] < 10


def test_the_graph_drifts_less_than_the_chain_and_estimates_its_error() -> None:
    chain, graph, standard = [], [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        true = true_places(rng)
        links = links_between(true, 3, 100.0, rng)
        start = composed(links)
        places, sigma_um = relaxed(start, links)
        chain.append(errors_um(start, true))
        graph.append(errors_um(places, true))
        standard.append([sigma_um[s] for s in SECTIONS])
    assert np.median(graph) < 0.85 * np.median(chain)
    # two axes: the mean squared error is twice the variance
    ratio = np.sum(np.square(graph)) / (2 * np.sum(np.square(standard)))
    assert 0.5 < ratio < 2.0


@pytest.mark.parametrize("seed", range(3))
def test_a_wrong_pair_is_outvoted(seed: int) -> None:
    rng = np.random.default_rng(seed)
    true = true_places(rng)
    links = links_between(true, 3, 50.0, rng)
    wrong = next(i for i, li in enumerate(links) if li.distance == 1 and li.moving == SECTIONS[40])
    off = replace(links[wrong].rigid, x_um=links[wrong].rigid.x_um + 9000.0)
    links[wrong] = replace(links[wrong], rigid=off)
    start = composed(links)
    assert errors_um(start, true)[45] > 8000
    places, _ = relaxed(start, links)
    assert errors_um(places, true).max() < 1500
    within = errors_um(relaxed(start, [*links[:wrong], *links[wrong + 1 :]])[0], true)
    np.testing.assert_allclose(errors_um(places, true), within, atol=100)


def test_without_redundant_pairs_nothing_moves_and_the_error_is_that_of_the_pairs() -> None:
    rng = np.random.default_rng(0)
    true = true_places(rng)
    links = links_between(true, 1, 100.0, rng)
    start = composed(links)
    places, sigma_um = relaxed(start, links)
    np.testing.assert_allclose(errors_um(places, true), errors_um(start, true), atol=1e-3)
    assert sigma_um[SECTIONS[34]] == pytest.approx(100.0 * np.sqrt(4), rel=0.3)
    assert sigma_um[SECTIONS[-1]] > 2 * sigma_um[SECTIONS[34]]


def test_manual_pairs_and_places_are_kept() -> None:
    rng = np.random.default_rng(0)
    true = true_places(rng)
    links = links_between(true, 3, 100.0, rng)
    manual = next(i for i, li in enumerate(links) if li.distance == 1 and li.moving == SECTIONS[40])
    shifted = replace(links[manual].rigid, x_um=links[manual].rigid.x_um + 5000.0)
    links[manual] = replace(links[manual], rigid=shifted, manual=True)
    start = composed(links)
    placed = SECTIONS[50]
    places, sigma_um = relax({BASE, placed}, start, links, SIZES_UM)
    assert places[placed] == start[placed]
    assert sigma_um[placed] == 0
    pair = places[SECTIONS[40]].rigid.then(places[SECTIONS[39]].rigid.inverse())
    np.testing.assert_allclose(pair(CORNERS_UM), shifted(CORNERS_UM), atol=5)


def test_a_shift_that_all_pairs_share_shows_in_pairs_of_different_reach() -> None:
    """Layers pull every pair by 40 um to one side, whether its sections are near or not."""
    rng = np.random.default_rng(0)
    true = true_places(rng)
    exact = links_between(true, 2, 0.0, rng)
    pulled = []
    for link in exact:
        to_true = replace(true[link.fixed], target="stack")
        pull = Rigid(0.0, 40.0, 0.0, "stack", "stack")
        rigid = link.rigid.then(to_true).then(pull).then(to_true.inverse())
        pulled.append(replace(link, rigid=rigid))
    for links, is_bent in ((exact, False), (pulled, True)):
        places, sigma_um = relaxed(composed(links), links)
        off_um = errors_um(places, true)
        bend = bend_per_um(places, links, SIZES_UM)
        away_um = np.array([abs(s - BASE) * 20.0 for s in SECTIONS])
        if not is_bent:
            assert bend < 1e-6
            continue
        assert off_um.max() > 500
        estimated = np.hypot([sigma_um[s] for s in SECTIONS], bend * away_um)
        # along one of two axes
        ratio = off_um[away_um > 0] / (np.sqrt(2) * bend * away_um[away_um > 0])
        assert 0.5 < np.median(ratio) < 2
        assert (off_um <= 2 * estimated).mean() > 0.9
        # alone, the contradictions of pairs say much less
        assert off_um.max() > 4 * max(sigma_um.values())
