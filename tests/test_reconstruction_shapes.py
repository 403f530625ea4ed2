"""Signed distances of sections, against a disc, numpy and slits of known width."""

import numpy as np
import pytest

from cytopipe.numerics import geometry
from cytopipe.reconstruction import repair, shapes

SPACING_UM = 62.5


def test_distances_do_not_depend_on_the_empty_part_of_a_scan() -> None:
    """Only the surroundings of the tissue are computed; the whole scan gives the same distances."""
    rows, columns = np.indices((600, 700))
    disc = (rows - 260) ** 2 + (columns - 380) ** 2
    labels = ((disc < 120**2).astype(np.uint8) + (disc < 60**2)).astype(np.uint8)
    section = shapes.Placed(
        lambda: labels,
        SPACING_UM,
        SPACING_UM,
        geometry.Placement(False, 0.0, geometry.Rigid(0.1, 300.0, -200.0, "B1/00001", "stack")),
        0.0,
        "R",
    )
    grid = shapes.Grid((200, 3, 200), 0.3, np.array([-10.0, 0.0, -50.0]))
    planes = shapes.section_planes([section], grid, 0.33, 0.8, "B1")
    ras = np.zeros((200, 200, 3))
    ras[..., 0], ras[..., 2] = grid.axis_mm(0)[:, None], grid.axis_mm(2)[None]
    column, row = np.moveaxis(
        section.stack_to_pixels(geometry.ras_to_stack(ras, "R")[..., :2]), -1, 0
    )
    away_mm = np.hypot(row - 260, column - 380) * SPACING_UM / 1000
    far = shapes.FARTHEST_MM
    for plane, radius_px in ((planes.tissue[0], 120), (planes.white[0], 60)):
        true_mm = np.clip(radius_px * SPACING_UM / 1000 - away_mm, -far, far)
        # smoothing rounds the disc's middle off, where all directions meet
        assert np.abs(plane - true_mm)[away_mm > 1].max() < 0.1
    assert (planes.tissue[0] == -far).any()


def test_the_median_of_three_is_that_of_numpy() -> None:
    three = np.random.default_rng(1).normal(size=(3, 40, 50)).astype(np.float32)
    three[1, :20] = three[0, :20]
    median = repair._median(*three)
    assert np.array_equal(median, np.median(three, axis=0)) and median.dtype == np.float32


def test_narrow_sulci_stay_open() -> None:
    """A slit of 0.4 voxels between banks is background wherever the grid lies."""
    half = shapes.signed_distance(np.abs(np.arange(401) - 200)[None] > 2)
    half = np.repeat(half, 50, axis=0)  # 5 px wide, voxels of 12 px
    widened = shapes.widen_sulci(half, 6.5)
    for offset in range(12):
        assert (half[25, offset::12] < 0).sum() <= 1
        assert (widened[25, offset::12] < 0).sum() == pytest.approx(1, abs=1)
        assert (widened[25, offset::12] < 0).any()
    assert np.array_equal(widened[:, :180], np.minimum(half, widened)[:, :180])
    wide = shapes.signed_distance(np.abs(np.indices((50, 401))[1] - 200) > 20)
    assert np.array_equal(shapes.widen_sulci(wide, 6.5), wide)
