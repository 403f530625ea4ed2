"""Refinement by the section and the volume, on shapes whose depth is a formula."""

import numpy as np
import pytest

from cytopipe.formats.volumes import Volume, regular_affine
from cytopipe.midline.refinement import depth_field, refine, without_contradictions
from cytopipe.midline.volume_depth import continued, depth_at

THICK = 20


def cut_ball(height: float, size: int = 121) -> tuple[np.ndarray, np.ndarray]:
    """A ball of cortex cut `height` pixels above its centre: labels, and the true depth.

    Radii of 30 and 50 px. The depth is harmonic in 3D, and continued beyond the cortex.
    """
    middle = (size - 1) / 2
    y, x = np.mgrid[:size, :size] - middle
    radius = np.sqrt(x**2 + y**2 + height**2)
    labels = np.where(radius < 30, 2, np.where(radius < 50, 1, 0)).astype(np.uint8)
    depth = (1 / np.maximum(radius, 10) - 1 / 50) / (1 / 30 - 1 / 50)
    return labels, depth.astype(np.float32)


def two_banks(rows: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Two banks of `THICK` px that touch, between white matter: labels, and the true depth."""
    column = np.arange(2 * THICK + 20) - (THICK + 9.5)
    depth = np.broadcast_to(np.abs(column) / THICK, (rows, len(column))).astype(np.float32)
    return np.where(depth < 1, 1, 2).astype(np.uint8), depth


def row_of_points(columns: np.ndarray, row: float = 30.0) -> np.ndarray:
    return np.column_stack([columns, np.full(len(columns), row)])


@pytest.mark.parametrize("height", [0.0, 15.0, 25.0])
@pytest.mark.parametrize("shift", [0, 2])
def test_points_reach_the_middle_in_3d_where_the_cut_is_oblique(height: float, shift: int) -> None:
    """Even if the volume lies `shift` pixels off."""
    labels, depth = cut_ball(height)
    angle = np.arange(60) * 2 * np.pi / 60
    start = np.sqrt(42.0**2 - height**2)
    points = np.column_stack([np.cos(angle), np.sin(angle)]) * start + 60
    shifted = np.roll(depth, shift, axis=1)
    refined = refine(labels, points, "laplacian", 16.0, volume_depth=shifted)
    assert refined.reached.all()
    radius = np.hypot(np.linalg.norm(refined.points_px - 60, axis=1), height)
    assert np.abs(radius - 37.5).max() < 0.7
    plane = refine(labels, points, "laplacian", 16.0)
    if height == 0:
        assert (np.linalg.norm(plane.points_px - 60, axis=1) - 37.5).mean() > 1


def test_points_of_two_banks_that_touch_reach_the_middle_of_their_own() -> None:
    labels, depth = two_banks()
    points = row_of_points(np.array([16.0, 22, 26, 33, 37, 43]))
    alone = refine(labels, points, "laplacian", 16.0)
    assert not alone.reached.any()
    refined = refine(labels, points, "laplacian", 16.0, volume_depth=depth)
    assert refined.reached.all()
    np.testing.assert_allclose(refined.points_px[:3, 0], 19.5, atol=0.2)
    np.testing.assert_allclose(refined.points_px[3:, 0], 39.5, atol=0.2)
    np.testing.assert_allclose(refined.depth, 0.5, atol=0.01)


def test_borders_of_the_section_correct_a_volume_that_is_too_thick() -> None:
    """The volume puts the white matter 4 px too deep: 0.5 there is 0.6 in the section."""
    columns = np.arange(60) - 9.5
    labels = np.where(columns < 0, 0, np.where(columns < THICK, 1, 2)).astype(np.uint8)
    labels = np.repeat(labels[None], 60, axis=0)
    volume = np.repeat((columns / (THICK + 4))[None], 60, axis=0).astype(np.float32)
    field = depth_field(labels, volume)
    expected = np.broadcast_to(columns / THICK, field.shape)
    np.testing.assert_allclose(field[labels == 1], expected[labels == 1], atol=1e-3)


@pytest.mark.parametrize(("label", "row"), [(2, 8), (0, 24)], ids=["pale layer I", "bubble"])
def test_what_the_volume_contradicts_is_no_border(label: int, row: int) -> None:
    depth = np.repeat(((np.arange(60) - 4.5) / 30)[:, None], 80, axis=1).astype(np.float32)
    labels = np.where(depth < 0, 0, np.where(depth < 1, 1, 2)).astype(np.uint8)
    labels[row : row + 5, 30:45] = label
    points = row_of_points(np.arange(25.0, 50), 15.0)
    refined = refine(labels, points, "laplacian", 16.0, volume_depth=depth)
    assert refined.reached.all()
    np.testing.assert_allclose(refined.points_px[:, 1], 19.5, atol=0.3)
    believed = refine(labels, points, "laplacian", 16.0)
    assert (~believed.reached | (np.abs(believed.points_px[:, 1] - 19.5) > 3)).mean() > 0.4


def test_a_sulcus_and_white_matter_that_the_volume_shows_stay() -> None:
    labels = np.ones((60, 60), np.uint8)
    labels[0] = labels[:, 0] = labels[:, -1] = 0
    labels[50:] = 2
    labels[10:20, 20:23] = 0  # an open part of a sulcus
    labels[30:40, 30:40] = 2  # the tip of a gyrus
    rows, columns = np.mgrid[:60, :60]
    to_sulcus = np.hypot(np.clip(np.abs(rows - 14.5) - 5, 0, None), np.abs(columns - 21))
    to_tip = np.maximum(np.abs(rows - 34.5), np.abs(columns - 34.5))
    volume = np.where(to_tip < 10, 1.5 - to_tip / 10, to_sulcus / 20).astype(np.float32)
    np.testing.assert_array_equal(without_contradictions(labels, volume), labels)


def test_where_the_volume_has_no_depth_no_point_is_refined() -> None:
    labels, depth = two_banks()
    depth = depth.copy()
    depth[:, :30] = np.nan
    refined = refine(labels, row_of_points(np.array([22.0, 37])), "laplacian", 16.0, False, depth)
    assert refined.reached.tolist() == [False, True]
    assert np.isnan(refined.depth[0])


def test_the_depth_continues_along_its_tangent() -> None:
    i, j, _ = np.indices((20, 20, 20))
    depth = ((i + 0.5 * j) / 12 - 0.6).astype(np.float32)
    cortex = (depth > 0) & (depth < 1)
    volume = continued(
        Volume(np.where(cortex, depth, np.nan).astype(np.float32), regular_affine(1.0, np.zeros(3)))
    )
    inner = (slice(3, -3),) * 3
    known = np.isfinite(volume.data)
    assert (known & ~cortex)[inner].sum() > 300 and not known.all()
    np.testing.assert_allclose(
        volume.data[inner][known[inner]], depth[inner][known[inner]], atol=1e-5
    )
    at = np.array([[10.0, 4.0, 10.0], [8.25, 3.5, 10.0]])
    np.testing.assert_allclose(
        depth_at(volume, at), (at[:, 0] + at[:, 1] / 2) / 12 - 0.6, atol=1e-5
    )
