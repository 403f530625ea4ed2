import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from cytopipe.numerics.slicing import Polyline, cut_mesh, resample


@pytest.fixture(scope="module")
def sphere():
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=10.0)
    return np.asarray(mesh.vertices), np.asarray(mesh.faces, np.int32), mesh


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_sphere_is_cut_in_circles(sphere, axis):
    vertices, faces, _ = sphere
    levels = np.array([6.0, -3.0, 0.0])  # out of order; 0 passes exactly through vertices
    for level, polylines in zip(levels, cut_mesh(vertices, faces, axis, levels), strict=True):
        assert len(polylines) == 1
        line = polylines[0]
        assert line.closed
        assert np.all(line.points[:, axis] == level)
        radius = np.sqrt(100 - level**2)
        in_plane = np.delete(line.points, axis, axis=1)
        np.testing.assert_allclose(np.linalg.norm(in_plane, axis=1), radius, rtol=3e-3)
        assert line.lengths.sum() == pytest.approx(2 * np.pi * radius, rel=3e-3)


def test_planes_beside_the_mesh_cut_nothing(sphere):
    vertices, faces, _ = sphere
    assert cut_mesh(vertices, faces, 2, np.array([-10.5, 11.0])) == [[], []]


def test_same_cut_as_trimesh():
    torus = trimesh.creation.torus(8.0, 3.0)
    vertices, faces = np.asarray(torus.vertices), np.asarray(torus.faces, np.int32)
    for level in (0.13, 4.41, 9.9):
        lines = cut_mesh(vertices, faces, 0, np.array([level]))[0]
        section = torus.section(plane_origin=[level, 0, 0], plane_normal=[1, 0, 0])
        assert len(lines) == len(section.entities)
        assert sum(line.lengths.sum() for line in lines) == pytest.approx(section.length, abs=1e-9)
        assert all(line.closed for line in lines)


def test_a_closed_polyline_runs_one_way_round(sphere):
    vertices, faces, _ = sphere
    turns = []
    for (line,) in cut_mesh(vertices, faces, 2, np.array([-5.0, 1.0, 5.0])):
        x, y = line.points[:, 0], line.points[:, 1]
        turns.append(np.sign(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))))
    assert len(set(turns)) == 1


def test_an_open_mesh_gives_open_polylines(sphere):
    vertices, faces, _ = sphere
    half = faces[(vertices[faces][:, :, 0] > 0).all(axis=1)]
    (line,) = cut_mesh(vertices, half, 2, np.array([0.3]))[0]
    assert not line.closed
    assert len(line.points) == len(line.lengths) + 1
    assert line.lengths.sum() == pytest.approx(np.pi * 10, rel=0.1)


def test_three_faces_on_an_edge_give_two_polylines():
    """No point is lost if the mesh is not a manifold."""
    vertices = np.array([[0, 0, 0], [0, 0, 2], [1, 0, 1], [-1, 1, 1], [-1, -1, 1]], float)
    faces = np.array([[0, 1, 2], [1, 0, 3], [0, 1, 4]], np.int32)
    lines = cut_mesh(vertices, faces, 2, np.array([0.6, 5.0, 1.4]))
    for level in (0, 2):
        assert sorted(len(line.points) for line in lines[level]) == [2, 3]
        assert not any(line.closed for line in lines[level])
    assert lines[1] == []


def test_many_planes_at_once_are_cut_as_one_by_one(sphere):
    vertices, faces, _ = sphere
    levels = np.random.default_rng(0).uniform(-11, 11, 50)
    for level, lines in zip(levels, cut_mesh(vertices, faces, 0, levels), strict=True):
        (alone,) = cut_mesh(vertices, faces, 0, np.array([level]))
        assert len(lines) == len(alone)
        for line, other in zip(lines, alone, strict=True):
            np.testing.assert_array_equal(line.points, other.points)
            np.testing.assert_array_equal(line.edges, other.edges)


def test_values_are_interpolated_along_edges(sphere):
    vertices, faces, _ = sphere
    (line,) = cut_mesh(vertices, faces, 1, np.array([2.5]))[0]
    np.testing.assert_allclose(line.interpolate(vertices), line.points, atol=1e-12)
    places = resample(line, 1.0)
    # a linear function of position is interpolated without error
    linear = vertices @ [1.0, 2.0, 3.0]
    np.testing.assert_allclose(
        places.interpolate(linear), places.interpolate(vertices) @ [1.0, 2.0, 3.0], atol=1e-12
    )


def test_points_are_evenly_spaced_on_a_circle(sphere):
    vertices, faces, _ = sphere
    (line,) = cut_mesh(vertices, faces, 1, np.array([0.7]))[0]
    points = resample(line, 1.0).interpolate(vertices)
    assert len(points) == round(line.lengths.sum())
    steps = np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1)
    # a chord is shorter than its arc, by 1 / (24 r^2)
    np.testing.assert_allclose(steps, line.lengths.sum() / len(points), rtol=2e-3)


def test_phase_does_not_depend_on_the_numbering_of_the_mesh(sphere):
    vertices, faces, _ = sphere
    rng = np.random.default_rng(3)
    order = rng.permutation(len(vertices))
    renamed = np.empty(len(vertices), np.int32)
    renamed[order] = np.arange(len(vertices))
    shuffled = renamed[faces][rng.permutation(len(faces))]
    (line,) = cut_mesh(vertices, faces, 2, np.array([1.3]))[0]
    (other,) = cut_mesh(vertices[order], shuffled.astype(np.int32), 2, np.array([1.3]))[0]
    points = resample(line, 0.8).interpolate(vertices)
    others = resample(other, 0.8).interpolate(vertices[order])
    np.testing.assert_allclose(points, others, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=2, max_size=12),
    st.booleans(),
    st.floats(0.1, 10),
)
def test_number_and_place_of_points(corners, closed, spacing):
    points = np.column_stack([np.array(corners), np.zeros(len(corners))])
    edges = np.column_stack([np.arange(len(points)), np.arange(len(points))])
    line = Polyline(points, edges, np.zeros(len(points)), closed)
    places = resample(line, spacing)
    assert len(places) == round(line.lengths.sum() / spacing)
    assert np.all((places.share >= 0) & (places.share <= 1))
