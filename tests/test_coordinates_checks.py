"""Checks of transforms to the template whose faults are known."""

import numpy as np
import pytest
from test_coordinates import PARAMS, midline_rows

from cytopipe.coordinates import checks, points_of_brain
from cytopipe.coordinates.chains import SuppliedTransforms
from cytopipe.coordinates.direction import middle_mm, outside
from cytopipe.formats import tables
from cytopipe.formats.transforms import affine_transform, field_transform
from cytopipe.formats.volumes import Volume, regular_affine

GRID = regular_affine(2.0, np.full(3, -30.0))
SHAPE = (31, 31, 31)
TISSUE = Volume(np.ones((40, 40, 40), np.uint8), regular_affine(1.0, np.full(3, -20.0)))
TEMPLATE = Volume(np.ones((60, 60, 60), np.uint8), regular_affine(1.0, np.full(3, -29.5)))


def field(function):
    grid = np.moveaxis(np.indices(SHAPE), 0, -1) * 2.0 - 30.0
    return field_transform(function(grid), GRID, "B01", "phantom")


def judged(transform, stack_mm=None):
    stack_mm = np.random.default_rng(0).uniform(-19, 19, (500, 3)) if stack_mm is None else stack_mm
    sides = np.where(stack_mm[:, 0] < 0, "L", "R")
    points = points_of_brain(midline_rows(stack_mm, sides), transform, "R", {})
    rows = checks.checks_of(
        "B01", transform, {}, SuppliedTransforms(), TISSUE, TEMPLATE, points, "R", PARAMS
    )
    return tables.frame_of(tables.CheckRow, rows).set_index("check")


def failed(frame):
    return list(frame.index[frame["status"] == "failed"])


def shift(grid):
    return np.broadcast_to([0.5, 1.0, -1.0], grid.shape)


def test_a_sound_transform_passes_and_its_jacobian_is_the_determinant():
    matrix = np.diag([1.2, 0.9, 1.1, 1.0])
    frame = judged(affine_transform(matrix, "B01", "phantom"))
    assert failed(frame) == []
    for name in ("volume in the template by volume in the stack, 5 %", "the same, 95 %"):
        assert frame.loc[name, "value"] == pytest.approx(1.2 * 0.9 * 1.1)
    assert failed(judged(field(shift))) == []


def test_a_fold_is_detected():
    def folding(grid):
        wave = np.zeros(grid.shape)
        wave[..., 1] = 6.0 * np.sin(grid[..., 1] / 3)  # slope -2 at its steepest
        return wave

    frame = judged(field(folding))
    assert "folded tissue (Jacobian not positive)" in failed(frame)
    # 1 + 2 cos t is below 0 for a third of the circle
    folded = frame.loc["folded tissue (Jacobian not positive)", "value"]
    assert folded == pytest.approx(1 / 3, abs=0.08)
    assert "there and back within 0.05 mm" in failed(frame)


def test_zeros_around_a_mask_are_detected():
    inside = field(lambda grid: np.where(np.abs(grid).max(-1, keepdims=True) < 14, shift(grid), 0))
    frame = judged(inside)
    assert "not moved by a displacement field" in failed(frame)
    assert "never filled in" in frame.loc["not moved by a displacement field", "remedy"]
    assert frame.loc["not moved by a displacement field", "value"] > 0.3


def test_points_outside_the_field_are_counted_and_marked():
    stack_mm = np.random.default_rng(0).uniform(-19, 19, (500, 3))
    stack_mm[:100, 1] = 200.0
    frame = judged(field(shift), stack_mm)
    assert frame.loc["without a coordinate", "value"] == pytest.approx(0.2)
    assert failed(frame) == ["without a coordinate"]
    assert frame.loc["the same, but not marked", "value"] == 0


def test_points_outside_the_templates_volume_are_counted():
    """The volume ends at 30 mm, half a voxel beyond the centre of its last voxel."""
    points = np.array([[30.1, 0, 0], [29.9, 0, 0], [0, 0, -30.1], [np.nan, 0, 0]])
    np.testing.assert_array_equal(outside(points, TEMPLATE), [True, False, True, False])
    stack_mm = np.random.default_rng(0).uniform(-19, 19, (500, 3))
    matrix = np.eye(4)
    matrix[1, 3] = 20.0
    frame = judged(affine_transform(matrix, "B01", "phantom"), stack_mm)
    share = (stack_mm[:, 1] + 20.0 > 30.0).mean()
    assert frame.loc["outside the template's volume", "value"] == pytest.approx(share)
    assert failed(frame) == ["outside the template's volume"]


def test_a_coordinate_of_zeros_is_detected():
    matrix = np.eye(4)
    stack_mm = np.random.default_rng(0).uniform(-19, 19, (500, 3))
    stack_mm[0] = 0.0
    assert failed(judged(affine_transform(matrix, "B01", "phantom"), stack_mm)) == [
        "at exactly 0, 0, 0"
    ]


def test_exchanged_sides_are_detected():
    turned = np.diag([-1.0, -1.0, 1.0, 1.0])
    frame = judged(affine_transform(turned, "B01", "phantom"))
    assert failed(frame)[0] == "on its own side of the midline"
    assert frame.loc["on its own side of the midline", "value"] == 0


def test_the_midline_of_an_atlas_that_counts_from_its_corner():
    corner = Volume(TISSUE.data, regular_affine(1.0, np.zeros(3)))
    assert middle_mm(corner) == pytest.approx(20, abs=1)
    assert middle_mm(TISSUE) == 0


def test_checks_without_points_do_not_pass():
    frame = judged(affine_transform(np.eye(4), "B01", "phantom"), np.zeros((0, 3)))
    assert frame.loc["on its own side of the midline", "status"] == ""
    assert np.isnan(frame.loc["on its own side of the midline", "value"])
