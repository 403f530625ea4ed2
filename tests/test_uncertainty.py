"""Errors of template coordinates, on a ball with a formula for its mid-surface."""

from functools import partial

import numpy as np
import pytest

from cytopipe.coordinates.uncertainty import off_middle_mm
from cytopipe.coordinates.uncertainty import sigma_mm as estimate
from cytopipe.formats.volumes import Volume, regular_affine

ALONG_CORTEX = 3.0
sigma_mm = partial(estimate, around=200, along_cortex=ALONG_CORTEX)
PIAL_MM, WHITE_MM = 20.0, 16.0
MIDDLE_MM = (PIAL_MM + WHITE_MM) / 2


@pytest.fixture(scope="module")
def ball() -> Volume:
    affine = regular_affine(0.5, np.full(3, -24.0))
    radius = np.linalg.norm(np.moveaxis(np.indices((97, 97, 97)), 0, -1) * 0.5 - 24, axis=-1)
    labels = np.where(radius < WHITE_MM, 2, np.where(radius < PIAL_MM, 1, 0))
    return Volume(labels.astype(np.uint8), affine)


def directions(count: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("off", [-3.0, -1.0, 0.0, 1.5, 4.0])
def test_the_distance_from_the_middle_is_a_difference_of_radii(ball: Volume, off: float) -> None:
    points = directions(500, 0) * (MIDDLE_MM - off)
    measured = off_middle_mm(points, ball)
    # the two boundaries are known to half a voxel
    assert abs(measured.mean() - off) < 0.25
    assert np.abs(measured - off).max() < 0.5


def test_sigma_is_the_spread_about_the_middle(ball: Volume) -> None:
    rng = np.random.default_rng(1)
    points = directions(4000, 2) * (MIDDLE_MM + rng.normal(0, 0.8, (4000, 1)))
    sigma = sigma_mm(points, np.full(4000, "L"), ball, np.zeros(4000))
    assert abs(np.median(sigma) / (ALONG_CORTEX * 0.8) - 1) < 0.15


def test_hemispheres_are_judged_separately_and_the_error_of_the_section_is_added(
    ball: Volume,
) -> None:
    points = directions(4000, 3)
    right = points[:, 0] > 0
    points *= np.where(right, MIDDLE_MM + 1.5, MIDDLE_MM)[:, None]
    sides = np.where(right, "R", "L")
    section_sigma = np.where(points[:, 1] > 0, 2.0, 0.0)
    sigma = sigma_mm(points, sides, ball, section_sigma)
    alone = sigma_mm(points, sides, ball, np.zeros(4000))
    np.testing.assert_allclose(sigma, np.hypot(alone, section_sigma))
    assert alone[right].min() > 3 * alone[~right].max()


def test_an_unknown_error_is_nan(ball: Volume) -> None:
    points = directions(1000, 4) * MIDDLE_MM
    points[0] = np.nan
    section_sigma = np.zeros(1000)
    section_sigma[1] = np.nan
    sigma = sigma_mm(points, np.full(1000, "L"), ball, section_sigma)
    assert np.isnan(sigma[:2]).all()
    assert np.isfinite(sigma[2:]).all()
