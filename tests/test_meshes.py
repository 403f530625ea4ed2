"""Meshes and topology against solids whose shape is known."""

import numpy as np
import pytest
from scipy import ndimage
from skimage import measure

from cytopipe.numerics import meshes, topology


def ball(radius: float, size: int) -> np.ndarray:
    """Smooth field of a ball, 0.5 at its border."""
    centre = (size - 1) / 2 + 0.2
    distance = np.linalg.norm(np.indices((size,) * 3) - centre, axis=0)
    return np.clip(0.5 + (radius - distance) / 8, 0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def sphere() -> tuple[np.ndarray, np.ndarray]:
    return meshes.marching_cubes(ball(12, 33), 0.5)


def test_sphere_is_closed_and_faces_outwards(sphere: tuple[np.ndarray, np.ndarray]) -> None:
    vertices, faces = sphere
    assert meshes.euler_number(faces) == 2
    assert meshes.is_closed_manifold(faces)
    assert meshes.signed_volume(vertices, faces) == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.01)
    assert meshes.area(vertices, faces) == pytest.approx(4 * np.pi * 12**2, rel=0.02)
    outwards = vertices - vertices.mean(0)
    assert ((outwards * meshes.vertex_normals(vertices, faces)).sum(1) > 0).all()


def test_broken_meshes_are_no_manifold(sphere: tuple[np.ndarray, np.ndarray]) -> None:
    _, faces = sphere
    assert not meshes.is_closed_manifold(faces[1:])
    turned = faces.copy()
    turned[0] = turned[0, ::-1]
    assert not meshes.is_closed_manifold(turned)
    # two spheres that share one vertex: every edge is fine, the vertex is not
    other = faces + faces.max() + 1
    touching = np.vstack([faces, np.where(other == other.max(), 0, other)])
    assert not meshes.is_closed_manifold(touching)


def test_largest_component() -> None:
    field = np.maximum(np.pad(ball(5, 15), ((0, 18), (9, 9), (9, 9))), 0)
    field[15:] = np.maximum(field[15:], ball(7, 33)[7:25])
    vertices, faces = meshes.marching_cubes(field, 0.5)
    assert meshes.component_labels(faces).max() == 1
    kept, faces = meshes.largest_component(vertices, faces)
    assert meshes.euler_number(faces) == 2 and faces.max() == len(kept) - 1
    assert kept[:, 0].min() > 14


def test_curvature_of_a_sphere_is_one_over_its_radius(
    sphere: tuple[np.ndarray, np.ndarray],
) -> None:
    vertices, faces = meshes.remesh(*meshes.poisson(*sphere, 6), 1.0, 8)
    curvature = meshes.smooth_map(meshes.mean_curvature(vertices, faces), faces, 2)
    assert np.median(curvature) == pytest.approx(1 / 12, rel=0.05)
    assert (np.abs(curvature * 12 - 1) < 0.1).mean() > 0.9
    inside_out = meshes.mean_curvature(vertices, meshes.flipped(faces))
    assert np.median(inside_out) == pytest.approx(-1 / 12, rel=0.05)


def test_fairing_removes_the_staircase_and_keeps_the_size() -> None:
    vertices, faces = meshes.marching_cubes((ball(12, 33) > 0.5).astype(np.float32), 0.5)
    fair = meshes.fair(vertices, faces, 10)
    before, after = (np.linalg.norm(v - 16.2, axis=1) for v in (vertices, fair))
    assert after.std() < 0.7 * before.std()
    assert meshes.signed_volume(fair, faces) == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.01)


def test_poisson_and_remeshing_keep_the_sphere(sphere: tuple[np.ndarray, np.ndarray]) -> None:
    vertices, faces = meshes.remesh(*meshes.poisson(*sphere, 6), 1.0, 8)
    assert meshes.euler_number(faces) == 2 and meshes.is_closed_manifold(faces)
    radius = np.linalg.norm(vertices - 16.2, axis=1)
    assert np.abs(radius - 12).max() < 0.25
    lengths = meshes.edge_lengths(vertices, faces)
    assert ((lengths > 0.8) & (lengths < 1.33)).mean() > 0.9
    again = meshes.remesh(*meshes.poisson(*sphere, 6), 1.0, 8)
    assert np.array_equal(vertices, again[0]) and np.array_equal(faces, again[1])


def test_distance_to_a_sphere(sphere: tuple[np.ndarray, np.ndarray]) -> None:
    points = 16.2 + np.array([[0, 0, 0], [20, 0, 0], [0, 12, 0]])
    distance = meshes.distance_to_surface(points, *sphere)
    assert np.abs(distance - [12, 8, 0]).max() < 0.1


def solid_of(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    solid = topology.correct_topology(field > 0.5, field, 10)
    return solid, meshes.marching_cubes(topology.nudge(field, solid), 0.5)[1]


def test_a_ball_stays_as_it_is() -> None:
    field = ball(9, 25)
    solid, faces = solid_of(field)
    assert np.array_equal(solid, field > 0.5)
    assert meshes.euler_number(faces) == 2


@pytest.mark.parametrize("damage", ["handle", "tunnel", "cavity", "loose part", "diagonal", "all"])
def test_damage_is_corrected(damage: str) -> None:
    field = ball(10, 33)
    if damage in ("handle", "all"):  # a bow outside that joins two places
        field[16, 16, 26:30] = field[16, 20, 26:30] = field[16, 16:21, 29] = 0.8
    if damage in ("tunnel", "all"):
        field[12, 14, :] = 0.1
    if damage in ("cavity", "all"):
        field[18:20, 18:20, 18:20] = 0.1
    if damage in ("loose part", "all"):
        field[2:5, 2:5, 2:5] = 0.8
    if damage in ("diagonal", "all"):  # a tunnel of voxels that touch at edges alone
        for step in range(33):
            field[step, step, 12] = 0.1
    before = meshes.euler_number(meshes.marching_cubes(field, 0.5)[1])
    solid, faces = solid_of(field)
    assert before != 2 or damage == "diagonal"
    assert measure.euler_number(solid, connectivity=1) == 1
    assert meshes.euler_number(faces) == 2 and meshes.is_closed_manifold(faces)
    assert (solid != (ball(10, 33) > 0.5)).sum() < 150


def test_noise_is_corrected() -> None:
    """The correction of a torus with random holes and bridges survives marching cubes."""
    i, j, k = np.indices((48, 48, 24)) - np.array([23.6, 23.4, 11.7])[:, None, None, None]
    field = np.clip(0.5 + (5 - np.hypot(np.hypot(i, j) - 14, k)) / 8, 0, 1).astype(np.float32)
    wrong = np.random.default_rng(3).random(field.shape) < 0.02
    field[wrong] = 1 - field[wrong]
    field[[0, -1]] = field[:, [0, -1]] = field[:, :, [0, -1]] = 0
    _, faces = solid_of(field)
    assert meshes.euler_number(meshes.marching_cubes(field, 0.5)[1]) != 2
    assert meshes.euler_number(faces) == 2 and meshes.is_closed_manifold(faces)


@pytest.mark.parametrize("seed", range(5))
def test_nudge_settles_every_ambiguous_cell(seed: int) -> None:
    """The Euler number of the isosurface is twice that of the 6-connected solid, for any solid."""
    solid = np.pad(np.random.default_rng(seed).random((12, 12, 12)) < 0.4, 2)
    field = np.random.default_rng(seed + 100).random(solid.shape).astype(np.float32)
    faces = meshes.marching_cubes(topology.nudge(field, solid), 0.5)[1]
    assert meshes.euler_number(faces) == 2 * measure.euler_number(solid, connectivity=1)


def test_cavities_are_those_of_scipy() -> None:
    solid = np.random.default_rng(1).uniform(size=(14, 15, 16)) < 0.75
    filled = topology.without_cavities(solid)
    assert np.array_equal(filled, ndimage.binary_fill_holes(solid))
    assert filled.sum() > solid.sum()
