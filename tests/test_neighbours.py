"""Searches around single pixels, compared with passes over the whole image by scipy."""

import numpy as np
import pytest
from scipy import ndimage

from cytopipe.numerics.neighbours import beside, count, nearest


@pytest.mark.parametrize("seed", range(5))
def test_the_nearest_pixel_is_scipys(seed):
    """Ties included, of which a sparse mask has many."""
    mask = np.random.default_rng(seed).random((40, 33)) < 0.02
    expected = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
    rows, columns = (index.ravel() for index in np.indices(mask.shape))
    found = nearest(mask, rows, columns, 60)
    assert np.array_equal(found, expected.reshape(2, -1))


def test_nothing_in_reach():
    mask = np.zeros((30, 30), bool)
    mask[4, 5] = True
    rows, columns = np.array([4, 7, 25]), np.array([9, 1, 25])
    assert np.array_equal(nearest(mask, rows, columns, 5), [[4, 4, -1], [5, 5, -1]])
    assert np.array_equal(nearest(np.zeros((9, 9), bool), rows[:1], columns[:1], 5), [[-1], [-1]])


@pytest.mark.parametrize("reach", [0, 1, 4, 50])
def test_count_in_a_square(reach):
    mask = np.random.default_rng(1).random((25, 31)) < 0.4
    rows, columns = (index.ravel() for index in np.indices(mask.shape))
    square = np.ones((2 * reach + 1,) * 2)
    expected = ndimage.correlate(mask.astype(int), square, mode="constant")
    assert np.array_equal(count(mask, rows, columns, reach), expected.ravel())


def test_pixels_beside_a_label():
    labels = np.random.default_rng(2).integers(0, 3, (30, 41), np.uint8)
    for other in (0, 2):
        expected = (labels == 1) & ndimage.binary_dilation(labels == other)
        assert np.array_equal(beside(labels, 1, other), expected)
