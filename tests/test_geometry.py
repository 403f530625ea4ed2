"""Round trips between frames, and the rigid fit of a known transform."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cytopipe.numerics import geometry
from cytopipe.numerics.geometry import FrameError, Placement, Rigid, fit_rigid, resample_labels

coordinates = st.floats(-2e5, 2e5)
points_2d = arrays(np.float64, (5, 2), elements=coordinates)
points_3d = arrays(np.float64, (5, 3), elements=coordinates)
angles = st.floats(-math.pi, math.pi)
sides = st.sampled_from(["R", "L"])


@st.composite
def rigids(draw: st.DrawFn, source: str = "section", target: str = "stack") -> Rigid:
    return Rigid(draw(angles), draw(coordinates), draw(coordinates), source, target)


@given(points_2d, st.floats(0.5, 500), st.sampled_from([1, 2, 4, 8]))
def test_pixels_and_section_are_inverse(points, full_um, factor) -> None:
    there = geometry.section_to_pixels(points, full_um * factor, full_um)
    back = geometry.pixels_to_section(there, full_um * factor, full_um)
    np.testing.assert_allclose(back, points, atol=1e-6)


def test_the_first_pixel_of_level_0_is_the_origin() -> None:
    np.testing.assert_array_equal(geometry.pixels_to_section(np.zeros(2), 2.0, 2.0), [0, 0])


@given(st.floats(0.5, 100), st.sampled_from([2, 4, 8]), st.integers(0, 1000))
def test_a_coarse_pixel_is_the_mean_of_the_fine_ones_it_covers(full_um, factor, column) -> None:
    fine = np.arange(column * factor, (column + 1) * factor, dtype=float)
    of_fine = geometry.pixels_to_section(np.stack([fine, fine], -1), full_um, full_um).mean(0)
    of_coarse = geometry.pixels_to_section(np.full(2, float(column)), full_um * factor, full_um)
    np.testing.assert_allclose(of_coarse, of_fine, rtol=1e-12, atol=1e-9)
    # the design's formula for down-sampling
    x = float(fine[0])
    np.testing.assert_allclose(
        geometry.section_to_pixels(
            geometry.pixels_to_section(np.full(2, x), full_um, full_um), full_um * factor, full_um
        ),
        (x + 0.5) / factor - 0.5,
        atol=1e-9,
    )


@given(st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.0, 4.0]), st.integers(20, 250), st.integers(20, 250))
def test_resampled_labels_are_those_of_the_nearest_pixel(factor, rows, columns) -> None:
    """Each old pixel contains its row and column, which show where a new pixel was read."""
    old_um, full_um = 64.0, 2.0
    # as large as an image at the new spacing would be: rounded up
    shape = (math.ceil(rows / factor), math.ceil(columns / factor))
    for axis, size in enumerate((rows, columns)):
        numbers = np.arange(size, dtype=np.uint8)
        labels = np.broadcast_to(np.expand_dims(numbers, 1 - axis), (rows, columns))
        found = resample_labels(labels, old_um, shape, old_um * factor, full_um)
        assert found.shape == shape
        read_at = np.moveaxis(found, axis, 0)[: int(size / factor), 0].astype(float)
        centres = np.arange(len(read_at), dtype=float)
        is_at = geometry.pixels_to_section(read_at, old_um, full_um)
        belongs_at = geometry.pixels_to_section(centres, old_um * factor, full_um)
        assert np.abs(is_at - belongs_at).max() <= old_um / 2 + 1e-6


def test_resampled_labels_are_background_outside() -> None:
    found = resample_labels(np.ones((4, 6), np.uint8), 2.0, (4, 6), 4.0, 2.0)
    np.testing.assert_array_equal(found, np.pad(np.ones((2, 3)), ((0, 2), (0, 3))))


@given(points_2d, st.floats(0, 2e5))
def test_mirror_is_its_own_inverse_and_leaves_its_argument(points, width_um) -> None:
    given_points = points.copy()
    flipped = geometry.mirror(points, width_um)
    np.testing.assert_array_equal(points, given_points)
    np.testing.assert_allclose(geometry.mirror(flipped, width_um), points, atol=1e-9)
    np.testing.assert_array_equal(flipped[:, 1], points[:, 1])


def test_mirror_exchanges_first_and_last_column() -> None:
    np.testing.assert_array_equal(geometry.mirror(np.array([[0.0, 7.0]]), 300.0), [[300.0, 7.0]])


@given(points_3d, sides)
def test_stack_and_ras_are_inverse(points, side) -> None:
    back = geometry.ras_to_stack(geometry.stack_to_ras(points, side), side)
    np.testing.assert_allclose(back, points, atol=1e-9)


@pytest.mark.parametrize(("side", "sign"), [("R", 1), ("L", -1)])
def test_axes_of_the_stack(side, sign) -> None:
    """Right in the image is the stated side, forward is anterior, up in the image is superior."""
    x, y, z = np.eye(3) * 1000
    np.testing.assert_array_equal(geometry.stack_to_ras(x, side), [sign, 0, 0])
    np.testing.assert_array_equal(geometry.stack_to_ras(-y, side), [0, 0, 1])
    np.testing.assert_array_equal(geometry.stack_to_ras(z, side), [0, 1, 0])


@given(rigids(), points_2d)
def test_rigid_inverse_keeps_frames_and_handedness(rigid, points) -> None:
    np.testing.assert_allclose(rigid.inverse()(rigid(points)), points, atol=1e-6)
    assert (rigid.inverse().source, rigid.inverse().target) == ("stack", "section")
    np.testing.assert_allclose(np.linalg.det(rigid.rotation), 1.0)


@given(rigids(), rigids("stack", "other"), points_2d)
def test_composition_is_one_after_the_other(first, second, points) -> None:
    both = first.then(second)
    np.testing.assert_allclose(both(points), second(first(points)), atol=1e-6)
    assert (both.source, both.target) == ("section", "other")


def test_frames_that_do_not_meet_are_refused() -> None:
    first = Rigid(0, 0, 0, "B01/0420", "B01/0560")
    with pytest.raises(FrameError, match=r"B01/0420 -> B01/0560 cannot be followed by B01/0700"):
        first.then(Rigid(0, 0, 0, "B01/0700", "stack"))


@given(st.booleans(), st.floats(0, 2e5), rigids(), points_2d)
def test_a_placement_goes_there_and_back(mirrored, width_um, rigid, points) -> None:
    placement = Placement(mirrored, width_um, rigid)
    np.testing.assert_allclose(placement.back(placement(points)), points, atol=1e-6)
    np.testing.assert_allclose(placement(placement.back(points)), points, atol=1e-6)


def test_a_placement_flips_before_it_turns() -> None:
    """A quarter turn moves x to y, so a flip after it would change x."""
    rigid = Rigid(math.pi / 2, 10.0, 20.0, "unmirrored", "stack")
    point = np.array([[100.0, 7.0]])
    np.testing.assert_allclose(Placement(False, 300.0, rigid)(point), [[10 - 7, 20 + 100]])
    np.testing.assert_allclose(Placement(True, 300.0, rigid)(point), [[10 - 7, 20 + 300 - 100]])


@given(rigids(), st.integers(0, 2**32 - 1), st.integers(2, 40))
def test_a_rigid_transform_is_recovered(rigid, seed, count) -> None:
    points = np.random.default_rng(seed).uniform(-5e4, 5e4, (count, 2))
    found = fit_rigid(points, rigid(points), "section", "stack")
    np.testing.assert_allclose(found(points), rigid(points), atol=1e-3)


def test_the_fit_never_reflects() -> None:
    """A mirrored copy is fitted by a rotation, with an error, not by a reflection."""
    points = np.random.default_rng(0).normal(size=(20, 2))
    found = fit_rigid(points, points * [-1, 1], "a", "b")
    np.testing.assert_allclose(np.linalg.det(found.rotation), 1.0)


def test_the_fit_is_of_least_squares() -> None:
    """Noisy points: no small change of the three parameters lowers the squared error."""
    rng = np.random.default_rng(1)
    points = rng.normal(size=(30, 2))
    targets = Rigid(0.3, 1.0, -2.0, "a", "b")(points) + rng.normal(0, 0.1, (30, 2))
    found = fit_rigid(points, targets, "a", "b")

    def error(angle: float, x: float, y: float) -> float:
        return float(((Rigid(angle, x, y, "a", "b")(points) - targets) ** 2).sum())

    best = error(found.angle_rad, found.x_um, found.y_um)
    for step in np.vstack([np.eye(3), -np.eye(3)]) * 1e-3:
        assert error(*(np.array([found.angle_rad, found.x_um, found.y_um]) + step)) > best


@pytest.mark.parametrize("points", [[[1.0, 2.0]], [[1.0, 2.0], [1.0, 2.0]]])
def test_points_that_define_no_rotation_are_refused(points) -> None:
    with pytest.raises(ValueError, match="rigid fit needs"):
        fit_rigid(np.array(points), np.array(points), "a", "b")
