import library_laplace2d as library
import numpy as np
import pytest
from scipy import ndimage

from cytopipe.numerics.laplace2d import LIMIT, REACHED, WALL, interpolate, solve_laplace, walk


def strip(pixels):
    """A gray strip of `pixels` rows between background above and white matter below."""
    labels = np.full((pixels + 8, 30), 0)
    labels[4 : 4 + pixels] = 1
    labels[4 + pixels :] = 2
    return labels


def solved(labels):
    values = np.where(labels == 1, np.nan, np.where(labels == 2, 1.0, 0.0))
    return solve_laplace(labels == 1, values, np.zeros(labels.shape, bool), tolerance=1e-7)


@pytest.mark.parametrize("pixels", [1, 2, 7, 10])
def test_a_strip_is_linear_between_the_faces_of_its_border(pixels):
    field = solved(strip(pixels))
    centres = (np.arange(pixels) + 0.5) / pixels
    np.testing.assert_allclose(field[4 : 4 + pixels], centres[:, None] * np.ones(30), atol=1e-4)
    # the value on the border itself, half a pixel out
    on_border = np.array([[10.0, 3.5], [10.0, 3.5 + pixels]])
    np.testing.assert_allclose(interpolate(field, on_border), [0, 1], atol=1e-4)


def test_an_annulus_has_the_logarithmic_potential():
    inner, outer = 30.0, 60.0
    y, x = np.mgrid[:141, :141] - 70.0
    radius = np.hypot(x, y)
    field = solved(np.where(radius < inner, 2, np.where(radius < outer, 1, 0)))
    inside = (radius > inner + 1) & (radius < outer - 1)
    expected = np.log(outer / radius[inside]) / np.log(outer / inner)
    assert np.abs(field[inside] - expected).max() < 0.02


def test_the_solution_meets_the_discrete_equation():
    rng = np.random.default_rng(0)
    unknown = rng.random((20, 25)) < 0.7
    values = rng.random((20, 25))
    field = solve_laplace(unknown, values, np.ones((20, 25), bool), tolerance=1e-8)
    known = np.where(unknown, field, values).astype(np.float64)
    padded = np.pad(known, 1, mode="edge")  # no flux through the image's border
    around = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    np.testing.assert_allclose(around[unknown], 4 * known[unknown], atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 40), (37, 1), (50, 63), (64, 31), (90, 128)])
def test_equals_a_direct_solver(shape):
    """Masks of many pieces, with both kinds of boundaries, insulation and the image border."""
    rng = np.random.default_rng(shape)
    unknown = ndimage.gaussian_filter(rng.normal(size=shape), 2) > -0.05
    values = rng.choice([0.0, 1.0, 0.3, np.nan], shape)
    centred = rng.random(shape) < 0.3
    expected = library.solve_laplace(unknown, values, centred)
    field = solve_laplace(unknown, values, centred, tolerance=1e-7)
    assert np.array_equal(np.isnan(field[unknown]), np.isnan(expected[unknown]))
    np.testing.assert_allclose(field[unknown], expected[unknown], atol=1e-5)
    # the usual tolerance: what the points are moved by
    usual = solve_laplace(unknown, values, centred)
    np.testing.assert_allclose(usual[unknown], expected[unknown], atol=1e-3)


def test_the_value_beyond_a_border_puts_the_given_one_on_the_face():
    rng = np.random.default_rng(5)
    unknown = ndimage.gaussian_filter(rng.normal(size=(40, 50)), 2) > 0
    values, centred = rng.random((40, 50)), rng.random((40, 50)) < 0.3
    field = solve_laplace(unknown, values, centred)
    inside = np.pad(np.where(unknown, field, np.nan), 1, constant_values=np.nan)
    around = np.stack([inside[:-2, 1:-1], inside[2:, 1:-1], inside[1:-1, :-2], inside[1:-1, 2:]])
    beside = ~unknown & ~np.isnan(around).all(axis=0)
    mean = np.nanmean(around[:, beside], axis=0)
    np.testing.assert_allclose(
        field[beside], np.where(centred, values, 2 * values)[beside] - mean * ~centred[beside], 1e-5
    )
    assert np.isnan(field[~unknown & ~beside]).all()


def test_a_piece_without_a_border_is_unknown():
    field = solve_laplace(np.ones((6, 6), bool), np.full((6, 6), np.nan), np.zeros((6, 6), bool))
    assert np.isnan(field).all()


def test_a_walk_arrives_stops_at_its_limit_and_at_walls():
    labels = strip(10)
    field, gray = solved(labels), labels == 1
    start = np.array([[10.2, 5.1], [10.2, 12.9], [10.2, 5.1]])
    ends, how = walk(field, gray, start, 0.5, np.array([20.0, 20.0, 1.0]))
    np.testing.assert_array_equal(how, [REACHED, REACHED, LIMIT])
    np.testing.assert_allclose(ends, [[10.2, 8.5], [10.2, 8.5], [10.2, 6.1]], atol=0.01)
    fenced = gray.copy()
    fenced[7] = False
    ends, how = walk(field, fenced, start[:1], 0.5, np.array([20.0]))
    assert how[0] == WALL
    assert ends[0, 1] < 6.5


@pytest.mark.parametrize("tolerance, most", [(1e-6, 5e-4), (3e-5, 6e-3)])
def test_narrow_cortex_beside_lumps_is_solved_from_coarser_images(tolerance, most):
    """Ribbons of 6 px and lumps of 60 px, in an image whose coarser images have odd sides."""
    rng = np.random.default_rng(3)
    shape = (421, 503)
    narrow = np.abs(ndimage.gaussian_filter(rng.normal(size=shape), 10)) < 0.006
    unknown = narrow | (ndimage.gaussian_filter(rng.normal(size=shape), 20) > 0.015)
    values = np.where(ndimage.gaussian_filter(rng.normal(size=shape), 10) > 0, 1.0, 0.0)
    centred = np.zeros(shape, bool)
    expected = library.solve_laplace(unknown, values, centred)
    field = solve_laplace(unknown, values, centred, tolerance)
    off = np.abs(field - expected)[unknown]
    assert np.nanmax(off) < most
    assert np.nanmean(off) < most / 10
