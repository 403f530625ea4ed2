"""Distances along surfaces with a formula for the shortest path."""

from pathlib import Path

import numpy as np
import pytest
from ball_phantom import ball
from scipy.sparse import csgraph
from scipy.spatial import ConvexHull

from cytopipe import patches
from cytopipe.files import InputError
from cytopipe.formats import surfaces
from cytopipe.formats.surfaces import Surface
from cytopipe.patches.geodesic import spread_nodes, step_lengths
from cytopipe.study.config import GeodesicTable


def sphere(subdivisions: int) -> Surface:
    """A unit sphere of nearly equal triangles: an icosahedron, subdivided."""
    golden = (1 + np.sqrt(5)) / 2
    corners = [(0.0, i, j * golden) for i in (-1, 1) for j in (-1, 1)]
    vertices = np.concatenate([np.roll(corners, turn, axis=1) for turn in range(3)])
    vertices /= np.linalg.norm(vertices, axis=1, keepdims=True)
    faces = ConvexHull(vertices).simplices
    for _ in range(subdivisions):
        edges, number = np.unique(
            np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)), axis=0, return_inverse=True
        )
        middle = len(vertices) + number.reshape(-1, 3)
        added = vertices[edges].mean(1)
        vertices = np.concatenate([vertices, added / np.linalg.norm(added, axis=1, keepdims=True)])
        (a, b, c), (ab, bc, ca) = faces.T, middle.T
        faces = np.concatenate(
            [np.stack(t, axis=1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
        )
    return Surface(vertices, faces.astype(np.int32))


def test_paths_on_a_sphere_are_as_long_as_arcs() -> None:
    surface = sphere(5)
    start = np.random.default_rng(1).choice(len(surface.vertices), 20)
    arcs = np.arccos(np.clip(surface.vertices[start] @ surface.vertices.T, -1, 1))
    paths = csgraph.dijkstra(step_lengths(surface), directed=False, indices=start)
    far = arcs > 0.3
    error = paths[far] / arcs[far] - 1
    assert error.min() > -1e-3  # chords are hardly shorter than arcs
    assert error.max() < 0.06 and error.mean() < 0.02


def test_no_path_in_a_plane_is_shorter_than_the_straight_line() -> None:
    row, column = np.divmod(np.arange(100), 10)
    vertices = np.stack([column, row, 0 * row], axis=1).astype(float)
    square = np.flatnonzero((column < 9) & (row < 9))
    faces = np.concatenate(
        [
            np.stack([square, square + 1, square + 11], axis=1),
            np.stack([square, square + 11, square + 10], axis=1),
        ]
    )
    paths = csgraph.dijkstra(step_lengths(Surface(vertices, faces.astype(np.int32))), False)
    straight = np.linalg.norm(vertices[:, None] - vertices, axis=-1)
    assert (paths >= straight - 1e-12).all()
    # both diagonals: along the edges, and straight across them
    assert paths[9, 90] == pytest.approx(9 * np.sqrt(2))
    assert paths[0, 99] == pytest.approx(9 * np.sqrt(2))
    # 2 columns and 1 row: one step across the edge of two triangles
    assert paths[0, 12] == pytest.approx(np.sqrt(5))


def test_a_step_around_a_bend_is_measured_in_the_unfolded_plane() -> None:
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0.5, 1, 0], [0.5, 0, 1]])
    faces = np.array([[0, 1, 2], [1, 0, 3]], np.int32)
    steps = step_lengths(Surface(vertices, faces)).toarray()
    assert steps[2, 3] == pytest.approx(2.0)
    # a straight line that leaves the triangles is not a step
    vertices[3] = [3.0, 0, 1]
    assert step_lengths(Surface(vertices, faces)).toarray()[2, 3] == 0


def test_nodes_are_spread_evenly() -> None:
    surface = sphere(4)
    nodes, distances = spread_nodes(step_lengths(surface), 0, 40)
    assert len(set(nodes.tolist())) == 40
    np.testing.assert_array_equal(distances, distances.T)
    assert (np.diag(distances) == 0).all()
    arcs = np.arccos(np.clip(surface.vertices[nodes] @ surface.vertices[nodes].T, -1, 1))
    np.testing.assert_allclose(distances, arcs, rtol=0.06, atol=1e-6)
    # the closest two of 40 points are at most some 0.63 apart (Fejes Toth's bound)
    closest = np.where(np.eye(40, dtype=bool), np.inf, arcs).min(0)
    assert closest.min() > 0.3
    reached = np.arccos(np.clip(surface.vertices @ surface.vertices[nodes].T, -1, 1)).min(1)
    assert reached.max() < closest.min() * 1.1


@pytest.fixture
def hemispheres(tmp_path: Path) -> dict[str, Path]:
    """Balls with radii of 20 and 14 mm, 50 mm apart."""
    paths = {}
    for side, radius, middle in (("L", 20.0, -25.0), ("R", 14.0, 25.0)):
        paths[side] = tmp_path / f"hemi-{side}_mid.surf.gii"
        surfaces.write(ball(radius, (middle, 0, 0), rings=16), paths[side], side)
    return paths


def test_the_table_has_nodes_in_proportion_to_area(
    hemispheres: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "geodesic.npz"
    params = GeodesicTable(nodes=90)
    patches.run_geodesic(surfaces=hemispheres, table=path, params=params)
    with np.load(path) as table:
        side, nodes, distances = table["hemisphere"], table["nodes_mm"], table["distances_mm"]
    assert nodes.shape == (90, 3) and distances.dtype == np.float32
    left = side == "L"
    assert left.sum() == round(90 * 20**2 / (20**2 + 14**2))
    np.testing.assert_allclose(np.linalg.norm(nodes[left] + [25, 0, 0], axis=1), 20, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(nodes[~left] - [25, 0, 0], axis=1), 14, atol=1e-4)
    assert np.isinf(distances[np.ix_(left, ~left)]).all()
    assert np.isinf(distances[np.ix_(~left, left)]).all()
    assert np.isfinite(distances[np.ix_(left, left)]).all()
    assert distances[np.ix_(left, left)].max() == pytest.approx(np.pi * 20, rel=0.08)


def test_equal_surfaces_give_equal_bytes(
    hemispheres: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = []
    for now in (1e9, 2e9):
        monkeypatch.setattr("time.time", lambda now=now: now)
        path = tmp_path / "geodesic.npz"
        params = GeodesicTable(nodes=20)
        patches.run_geodesic(surfaces=hemispheres, table=path, params=params)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


def test_unusable_surfaces_are_named(hemispheres: dict[str, Path], tmp_path: Path) -> None:
    path, few = tmp_path / "a.npz", GeodesicTable(nodes=20)
    with pytest.raises(InputError, match=r"a\.npz: surfaces of \['L'\]; supply L and R"):
        patches.run_geodesic(surfaces={"L": hemispheres["L"]}, table=path, params=few)
    many = GeodesicTable(nodes=9000)
    with pytest.raises(InputError, match=r"hemi-L_mid\.surf\.gii: has fewer vertices than its"):
        patches.run_geodesic(surfaces=hemispheres, table=path, params=many)
    whole = ball(20, (0, 0, 0), rings=16)
    pieces = surfaces.Surface(
        np.concatenate([whole.vertices, whole.vertices + 100]),
        np.concatenate([whole.faces, whole.faces + len(whole.vertices)]),
    )
    surfaces.write(pieces, hemispheres["R"], "R")
    with pytest.raises(InputError, match=r"hemi-R_mid\.surf\.gii: is in pieces"):
        patches.run_geodesic(surfaces=hemispheres, table=path, params=few)
