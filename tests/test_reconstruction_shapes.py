"""Signed distances of sections: a disc, NumPy's median, and slits of known width."""

import numpy as np
import pytest
from table_rows import row as row_of
from test_reconstruction import PARAMS

from cytopipe.formats import tables
from cytopipe.reconstruction import repair, shapes

SPACING_UM = 62.5


def test_distances_do_not_depend_on_the_empty_part_of_a_scan() -> None:
    """Only the surroundings of the tissue are computed."""
    rows, columns = np.indices((600, 700))
    disc = (rows - 260) ** 2 + (columns - 380) ** 2
    labels = ((disc < 120**2).astype(np.uint8) + (disc < 60**2)).astype(np.uint8)
    section = shapes.PlacedSection(
        lambda: labels,
        row_of(tables.SegmentationRow, spacing_um=SPACING_UM, full_spacing_um=SPACING_UM),
        row_of(tables.StackRow, angle_rad=0.1, x_um=300.0, y_um=-200.0, z_um=0.0, image_right="R"),
    )
    grid = shapes.Grid((200, 3, 200), 0.3, np.array([-10.0, 0.0, -50.0]))
    params = PARAMS.model_copy(update={"voxel_mm": grid.voxel_mm})
    planes = shapes.section_planes([section], grid, params, "B1")
    ras = np.zeros((200, 200, 3))
    ras[..., 0], ras[..., 2] = grid.axis_mm(0)[:, None], grid.axis_mm(2)[None]
    column, row = np.moveaxis(section.ras_to_pixels(ras), -1, 0)
    away_mm = np.hypot(row - 260, column - 380) * SPACING_UM / 1000
    far = PARAMS.farthest_mm
    for plane, radius_px in ((planes.tissue[0], 120), (planes.white[0], 60)):
        true_mm = np.clip(radius_px * SPACING_UM / 1000 - away_mm, -far, far)
        # smoothing rounds off the peak at the disc's middle
        assert np.abs(plane - true_mm)[away_mm > 1].max() < 0.1
    assert (planes.tissue[0] == -far).any()


def test_the_median_of_three_equals_that_of_numpy() -> None:
    three = np.random.default_rng(1).normal(size=(3, 40, 50)).astype(np.float32)
    three[1, :20] = three[0, :20]
    median = repair._median(*three)
    assert np.array_equal(median, np.median(three, axis=0)) and median.dtype == np.float32


def test_narrow_sulci_stay_open() -> None:
    """A slit of 0.4 voxels between banks is background, wherever the grid lies."""
    slit = shapes.signed_distance(np.abs(np.arange(401) - 200)[None] > 2)
    slit = np.repeat(slit, 50, axis=0)  # 5 px wide, voxels of 12 px
    widened = shapes.widen_sulci(slit, 6.5)
    for offset in range(12):
        assert (slit[25, offset::12] < 0).sum() <= 1
        assert (widened[25, offset::12] < 0).sum() == pytest.approx(1, abs=1)
        assert (widened[25, offset::12] < 0).any()
    assert np.array_equal(widened[:, :180], np.minimum(slit, widened)[:, :180])
    wide = shapes.signed_distance(np.abs(np.indices((50, 401))[1] - 200) > 20)
    assert np.array_equal(shapes.widen_sulci(wide, 6.5), wide)
