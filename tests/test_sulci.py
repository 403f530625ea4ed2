"""Fused banks carved open, against folds whose borders and depth are formulas."""

import numpy as np
import pytest

from cytopipe.numerics import laplace, sulci

THICK = 4.0


def fold(gap: float, offset: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A straight fold along k: labels, and the depth of its flat banks (NaN elsewhere).

    White matter on both sides and below, `THICK` voxels of cortex on each bank, `gap` voxels of
    fluid between them at `offset` from the middle; the top is open.
    """
    i, j, _ = np.meshgrid(*(np.arange(n, dtype=float) for n in (41, 40, 9)), indexing="ij")
    wall = np.abs(i - 20 - offset)  # from the middle of the fluid
    wide = gap / 2 + THICK
    # the white matter of the walls ends at row 8, the cortex covers it; the fundus is at row 30
    white = ((wall > wide) & (j > 8)) | (j > 30 + THICK)
    outside = ((wall < gap / 2) & (j < 30)) | (j < 9 - THICK)
    labels = np.where(outside, 0, np.where(white, 2, 1)).astype(np.uint8)
    depth = (wall - gap / 2) / THICK
    banks = (labels == 1) & (j > 12) & (j < 27) & (depth > 0)
    return labels, np.where(banks, depth, np.nan)


def error(labels: np.ndarray, depth: np.ndarray) -> float:
    known = np.isfinite(depth) & (labels == 1)
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


@pytest.mark.parametrize("gap", [0.3, 0.8])
def test_a_fused_fold_is_opened_and_its_depth_is_right(gap: float) -> None:
    labels, depth = fold(gap, offset=0.5)
    opened = sulci.open_sulci(labels)
    assert (labels[:, 13:27] > 0).all()  # fused
    assert set(np.unique(labels[opened != labels])) == {1}
    # one voxel wide in every row of the banks
    assert ((opened != labels)[:, 13:27].sum(0) == 1).all()
    assert error(opened, depth) < 0.75 * error(labels, depth)


def test_an_open_sulcus_and_a_gyrus_stay() -> None:
    labels, _ = fold(3.0)
    np.testing.assert_array_equal(sulci.open_sulci(labels), labels)
    i, j, k = np.indices((30, 30, 30)) - 14.5
    radius = np.sqrt(i**2 + j**2 + k**2)
    crown = np.where(radius < 8, 2, np.where(radius < 12, 1, 0)).astype(np.uint8)
    np.testing.assert_array_equal(sulci.open_sulci(crown), crown)
