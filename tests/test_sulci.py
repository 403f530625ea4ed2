"""Separation of fused banks, on folds whose borders and depth are formulas."""

import numpy as np
import pytest
from scipy.spatial import cKDTree
from test_midsurface import PARAMS

from cytopipe import logs
from cytopipe.formats import volumes
from cytopipe.midsurface import hemisphere_depth
from cytopipe.midsurface.surface import midsurface
from cytopipe.numerics import laplace, meshes, sulci

THICK = 4.0


def opened_at_fused_banks(labels):
    fused = sulci.fused_banks(labels, share=0.65, fall=0.4, around_voxels=20)
    return np.where(fused, laplace.SHEET, labels).astype(labels.dtype)


def fold(gap: float, offset: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A straight fold along k: labels, and the depth of its flat banks (NaN elsewhere).

    The depth is known in the middle of k: beyond the array lies background, which opens the ends.
    White matter on both sides and below, `THICK` voxels of cortex on each bank, `gap` voxels of
    fluid between them at `offset` from the middle; the top is open.
    """
    i, j, k = np.meshgrid(*(np.arange(n, dtype=float) for n in (41, 40, 61)), indexing="ij")
    wall = np.abs(i - 20 - offset)  # from the middle of the fluid
    wide = gap / 2 + THICK
    # the white matter of the walls ends at row 8, the cortex covers it; the fundus is at row 30
    white = ((wall > wide) & (j > 8)) | (j > 30 + THICK)
    outside = ((wall < gap / 2) & (j < 30)) | (j < 9 - THICK)
    labels = np.where(outside, 0, np.where(white, 2, 1)).astype(np.uint8)
    depth = (wall - gap / 2) / THICK
    banks = (labels == 1) & (j > 12) & (j < 27) & (depth > 0) & (abs(k - 30) < 6)
    return labels, np.where(banks, depth, np.nan)


def error(labels: np.ndarray, depth: np.ndarray) -> float:
    known = np.isfinite(depth)
    return float(np.abs(laplace.laplace_depth(labels) - depth)[known].mean())


def test_distance_from_a_plane_is_exact() -> None:
    labels = np.ones((12, 7, 7), np.uint8)
    labels[:4] = 2
    labels[-2:] = 0
    distance = sulci.distance_from_white(labels)
    expected = np.broadcast_to((np.arange(4, 10) - 3.5)[:, None, None], (6, 7, 7))
    np.testing.assert_allclose(distance[4:10], expected, atol=1e-5)
    assert (distance[:4] == 0).all()
    assert (distance[-2:] == sulci.FARTHEST).all()


def winding(legs: int, length: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Labels with a winding path of cortex, one voxel wide, and the voxels of the path."""
    way = []
    for leg in range(legs):
        along = range(length) if leg % 2 == 0 else range(length)[::-1]
        way += [(2 * leg, k) for k in along]
        way.append((2 * leg + 1, way[-1][1]))
    cells = np.array(way[:-1])
    labels = np.zeros((2 * legs, 3, length), np.uint8)
    labels[cells[:, 0], 1, cells[:, 1]] = 1
    labels[0, 1, 0] = 2
    return labels, cells


def test_distance_along_a_winding_way_is_its_length(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, cells = winding(40)
    steps = np.arange(1, len(cells)) - 0.5
    monkeypatch.setattr(logs.logger, "propagate", True)
    with caplog.at_level("INFO", logs.logger.name):
        distance = sulci.distance_from_white(labels)
        np.testing.assert_allclose(distance[cells[1:, 0], 1, cells[1:, 1]], steps)
        assert not caplog.text
        monkeypatch.setattr(sulci, "MOST_ROUNDS", 6)
        distance = sulci.distance_from_white(labels)
    assert distance[cells[-1, 0], 1, cells[-1, 1]] == sulci.FARTHEST
    assert "warning: the distance from the white matter still changes" in caplog.text
    assert "after 6 rounds" in caplog.text


@pytest.mark.parametrize("gap", [0.3, 0.8])
def test_a_fused_fold_is_opened_and_its_depth_is_right(gap: float) -> None:
    labels, depth = fold(gap, offset=0.5)
    opened = opened_at_fused_banks(labels)
    assert (labels[:, 13:27] > 0).all()  # fused
    assert set(np.unique(labels[opened != labels])) == {1}
    # one voxel wide in every row of the banks
    assert ((opened != labels)[:, 13:27].sum(0) == 1).all()
    assert error(labels, depth) > 0.4
    # half a voxel of the slit lies off the sheet: an eighth of the depth in the banks
    assert error(opened, depth) < 0.1


def test_the_sheet_ends_at_the_fundus() -> None:
    """Below row 30 lies the cortex of the fundus: a sheet would push the middle into the depth."""
    labels, _ = fold(0.3, offset=0.5)
    rows = {
        evidence: np.flatnonzero(sulci.fused_banks(labels, 0.65, 0.4, 20, evidence).any((0, 2)))
        for evidence in (0.0, 1.15)
    }
    # to within a voxel
    assert rows[0.0].max() >= 32 and rows[1.15].max() <= 31
    assert rows[1.15].min() == rows[0.0].min()


VOXEL_MM, RADIUS_MM, CORTEX_MM, FUNDUS_MM = 0.5, 14.0, 3.0, -2.0


def slit_ball() -> volumes.Volume:
    """A ball cut from above to `FUNDUS_MM` by a slit of 0.15 mm; within 3 mm of the air is cortex.

    No voxel's centre lies in the slit: the banks are fused, and 3 mm of cortex on each is true.
    """
    affine = volumes.regular_affine(VOXEL_MM, np.full(3, -15.75))
    points = volumes.Volume(np.zeros((64, 64, 64)), affine).to_mm(
        np.moveaxis(np.indices((64, 64, 64)), 0, -1)
    )
    below = np.maximum(FUNDUS_MM - points[..., 2], 0)
    to_slit = np.hypot(points[..., 0] - VOXEL_MM / 4, below) - 0.075
    to_air = np.minimum(RADIUS_MM - np.linalg.norm(points, axis=-1), to_slit)
    labels = np.where(to_air <= 0, 0, np.where(to_air < CORTEX_MM, 1, 2)).astype(np.uint8)
    return volumes.Volume(labels, affine)


def test_the_midsurface_enters_a_fused_sulcus_once_it_is_open() -> None:
    fused = slit_ball()
    at = np.linspace(-8, 8, 33)
    y, z = (grid.ravel() for grid in np.meshgrid(at, at[at > 0]))
    deep = np.hypot(y, z) < RADIUS_MM - CORTEX_MM - 2
    middles = np.concatenate(
        [
            np.column_stack([np.full(deep.sum(), x), y[deep], z[deep]])
            for x in (VOXEL_MM / 4 - 1.575, VOXEL_MM / 4 + 1.575)
        ]
    )
    apart = {}
    for name, open_sulci in (("fused", False), ("open", True)):
        params = PARAMS.model_copy(update={"open_sulci": open_sulci})
        depth, *_ = hemisphere_depth(fused, fused.data > 0, fused.data > 9, params)
        surface = midsurface(depth, params)
        assert surface.status == "ok" and meshes.euler_number(surface.faces) == 2
        apart[name] = float(cKDTree(surface.vertices).query(middles)[0].mean())
    # to the nearest vertex: edges of 0.5 mm alone cost up to 0.25
    assert apart["fused"] > 4
    assert apart["open"] < 0.4


def test_an_open_sulcus_and_a_gyrus_stay() -> None:
    labels, _ = fold(3.0)
    np.testing.assert_array_equal(opened_at_fused_banks(labels), labels)
    i, j, k = np.indices((30, 30, 30)) - 14.5
    radius = np.sqrt(i**2 + j**2 + k**2)
    crown = np.where(radius < 8, 2, np.where(radius < 12, 1, 0)).astype(np.uint8)
    np.testing.assert_array_equal(opened_at_fused_banks(crown), crown)
