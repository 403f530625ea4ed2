"""The areas of the phantom, shared by all brains or varied per brain."""

import numpy as np

from cytopipe.phantom.cytoarchitecture import (
    LAYERS,
    MEAN_COVERAGE,
    Areas,
    individual_areas,
    make_areas,
)


def mean_coverage(areas: Areas) -> np.ndarray:
    return (np.diff(areas.border) * areas.coverage).sum(1)


def test_areas_have_six_layers_and_the_same_mean_coverage() -> None:
    areas = make_areas(1, 12, 1.0)
    assert areas.border.shape == (25, LAYERS + 1)
    assert (np.diff(areas.border) > 0).all()
    np.testing.assert_allclose(areas.border[:, [0, -1]], np.tile([0, 1], (25, 1)))
    np.testing.assert_allclose(mean_coverage(areas)[1:], MEAN_COVERAGE, rtol=1e-5)


def test_brains_are_alike_where_nothing_is_individual() -> None:
    areas = make_areas(1, 12, 1.0)
    assert individual_areas(areas, np.random.default_rng(0), 0.0) is areas


def test_an_individual_brain_varies_by_its_share_and_stays_a_cortex() -> None:
    areas = make_areas(1, 60, 1.0)
    own = individual_areas(areas, np.random.default_rng(0), 0.1)
    other = individual_areas(areas, np.random.default_rng(1), 0.1)
    np.testing.assert_allclose(mean_coverage(own)[1:], MEAN_COVERAGE, rtol=1e-5)
    np.testing.assert_array_equal(own.coverage[1:61], own.coverage[61:])  # left as right
    # cell diameters are not scaled afterwards: their logarithms move by the share itself
    moved = np.log(own.diameter_um / areas.diameter_um)[1:61]
    assert abs(moved[:, 1:].std() - 0.1) < 0.015
    assert abs(moved[:, 0].std() - 0.03) < 0.01
    assert np.abs(np.log(own.diameter_um / other.diameter_um)).max() > 0.1
