"""Smoothing along the cortex: on a flat lattice, where it has a formula, and on opposite banks."""

import numpy as np
import pandas as pd
import pytest
from table_rows import filled

from cytopipe.files import InputError
from cytopipe.formats import tables
from cytopipe.mapping import smoothing
from cytopipe.mapping.smoothing import PointGraph, point_graph, random_walk


def lattice(rows: int, columns: int, step_mm: float, gap_mm: float) -> pd.DataFrame:
    """Points of a flat cortex: one section per row, normals to the y of the stack."""
    section, place = np.indices((rows, columns)).reshape(2, -1)
    frame = pd.DataFrame(
        {
            "section": section,
            "hemisphere": "L",
            "x_stack_um": 1000 * step_mm * place,
            "z_stack_um": 1000 * gap_mm * section,
            "ny": -1.0,
        }
    )
    return filled(tables.PointRow, frame)


@pytest.mark.parametrize("length_mm", [1.5, 4.0])
def test_a_wave_is_damped_as_the_formula_says(length_mm: float) -> None:
    """A wave of wave number k keeps 1 / (1 + s^2 k^2) of its height."""
    points = lattice(60, 60, 1.0, 1.0)
    x_mm, z_mm = points.x_stack_um / 1000, points.z_stack_um / 1000
    for phase in (x_mm, z_mm, (x_mm + z_mm) / np.sqrt(2)):
        wave = np.cos(2 * np.pi / 20 * phase).to_numpy(np.float32)
        sure = np.ones(len(points), bool)
        smoothed = random_walk(point_graph(points), wave[:, None], sure, length_mm)[:, 0]
        inside = ((x_mm - 29.5).abs() < 15) & ((z_mm - 29.5).abs() < 15)
        height = np.polyfit(wave[inside], smoothed[inside], 1)[0]
        expected = 1 / (1 + (length_mm * 2 * np.pi / 20) ** 2)
        assert height == pytest.approx(expected, rel=0.05)


def test_constants_stay_and_the_mean_is_kept() -> None:
    points = lattice(10, 10, 1.0, 2.8)
    graph, sure = point_graph(points), np.ones(100, bool)
    random = np.random.default_rng(0).random((100, 2)).astype(np.float32)
    random[:, 1] = 0.25
    smoothed = random_walk(graph, random, sure, 5.0)
    np.testing.assert_allclose(smoothed[:, 1], 0.25, atol=1e-3)
    assert smoothed[:, 0].mean() == pytest.approx(random[:, 0].mean(), rel=1e-2)
    assert smoothed[:, 0].std() < 0.3 * random[:, 0].std()


def test_points_are_neighbours_along_the_section_and_across_it() -> None:
    """Sections 2.8 mm apart: the 8 neighbours on the lattice, not the 8 nearest in mm."""
    graph = point_graph(lattice(7, 9, 1.0, 2.8))
    middle = 3 * 9 + 4
    near = set(graph.edges[(graph.edges == middle).any(axis=1)].ravel()) - {middle}
    expected = {9 * row + column for row in (2, 3, 4) for column in (3, 4, 5)} - {middle}
    assert expected <= near and len(near) <= 10


def test_a_missing_section_is_bridged() -> None:
    points = lattice(5, 9, 1.0, 1.0)
    points = points[points.section != 2].reset_index(drop=True)
    assert point_graph(points).pieces(np.zeros(len(points))) == 1


def test_opposite_banks_and_hemispheres_are_apart() -> None:
    """Two sheets 0.5 mm apart that face each other, and one sheet of the other hemisphere."""
    sheet = lattice(6, 6, 1.0, 1.0)
    bank = sheet.assign(y_stack_um=500.0, ny=1.0)
    other = sheet.assign(y_stack_um=-500.0, hemisphere="R")
    points = pd.concat([sheet, bank, other], ignore_index=True)
    graph = point_graph(points)
    assert graph.pieces(np.zeros(len(points))) == 3


def test_patches_of_equal_labels_are_counted() -> None:
    points = lattice(6, 6, 1.0, 1.0)
    labels = np.where(points.section < 3, "P", "Q")
    assert point_graph(points).pieces(labels) == 2
    labels[0] = "Q"
    assert point_graph(points).pieces(labels) == 3


def test_a_point_that_cannot_be_judged_is_named_by_its_neighbours() -> None:
    points = lattice(9, 9, 1.0, 1.0)
    probabilities = np.tile(np.float32([1, 0]), (81, 1))
    probabilities[40] = 0, 1
    for sure, best in ((True, 1), (False, 0)):
        judged = np.ones(81, bool)
        judged[40] = sure
        smoothed = random_walk(point_graph(points), probabilities, judged, 0.3)
        assert smoothed[40].argmax() == best


def test_a_point_without_neighbours_stays() -> None:
    points = lattice(2, 1, 1.0, 1.0).assign(x_stack_um=[0.0, 90_000.0])
    probabilities = np.float32([[0.7, 0.3], [0.1, 0.9]])
    smoothed = random_walk(point_graph(points), probabilities, np.array([True, False]), 5.0)
    np.testing.assert_allclose(smoothed, probabilities, atol=1e-3)


def test_a_length_that_cannot_be_solved_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoothing, "_MOST_STEPS", 1)
    chain = np.stack([np.arange(999), np.arange(1, 1000)], axis=1)
    graph = PointGraph(1000, chain, np.ones(999))
    noise = np.random.default_rng(0).random((1000, 2)).astype(np.float32)
    with pytest.raises(InputError, match=r"mapping\.smoothing_mm is 900; .*smaller length"):
        random_walk(graph, noise, np.ones(1000, bool), 900)
