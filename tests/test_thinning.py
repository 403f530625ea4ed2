import numpy as np
import pytest
from scipy import ndimage
from skimage.morphology import thin as library

from cytopipe.numerics.thinning import thin


@pytest.mark.parametrize("sigma", [0, 0.7, 2, 5, 12])
@pytest.mark.parametrize("shape", [(1, 30), (30, 1), (61, 80), (150, 117)])
def test_equals_scikit_image(shape, sigma):
    """Noise, ribbons and lumps, up to the border of the image."""
    rng = np.random.default_rng([*shape, int(10 * sigma)])
    mask = ndimage.gaussian_filter(rng.normal(size=shape), sigma) > 0
    assert np.array_equal(thin(mask), library(mask))
    assert np.array_equal(thin(~mask), library(~mask))


@pytest.mark.parametrize("mask", [np.zeros((5, 6), bool), np.ones((40, 70), bool)])
def test_equals_scikit_image_where_nothing_and_where_all_is_set(mask):
    assert np.array_equal(thin(mask), library(mask))


def test_a_skeleton_is_connected_as_its_mask():
    mask = ndimage.gaussian_filter(np.random.default_rng(4).normal(size=(200, 200)), 4) > 0
    mask = np.pad(mask, 1)
    eight = np.ones((3, 3))
    pieces, count = ndimage.label(mask, eight)
    skeleton = thin(mask)
    assert ndimage.label(skeleton, eight)[1] == count
    assert set(np.unique(pieces[skeleton])) == set(range(1, count + 1))
    # holes stay, and none is made
    assert ndimage.label(~skeleton)[1] == ndimage.label(~mask)[1]
