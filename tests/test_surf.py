"""The SURF detector, its descriptors and RANSAC, compared with mahotas and known points."""

import numpy as np
import pytest
from mahotas.features import surf as mahotas_surf
from slice_pairs import (
    WIDTH_UM,
    about_centre,
    brain_slice,
    worst_px,
)

from cytopipe.alignment.pairwise import surf
from cytopipe.alignment.pairwise.ransac import rigid_consensus


@pytest.mark.parametrize("size", [3.0, 5.0, 8.0])
def test_blob_is_found_where_it_is(size: float) -> None:
    x, y = 101.3, 95.7
    row, column = np.mgrid[:200, :210]
    blob = 255 * np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * size**2))
    points = surf.detect(blob.astype(np.float32), 4, 10)
    near = points[np.hypot(points[:, 0] - x, points[:, 1] - y) < 2]
    assert len(near) > 0
    assert np.hypot(near[0, 0] - x, near[0, 1] - y) < 0.1
    assert near[0, 4] == -1  # bright: negative Laplacian


def test_detector_finds_what_mahotas_finds() -> None:
    image, _ = brain_slice(3)
    theirs = mahotas_surf.surf(image.astype(np.float64), 4, 6, 1, threshold=1.0, max_points=150)
    ours = surf.detect(image, 4, 2000)
    apart = np.linalg.norm(theirs[:, None, [1, 0]] - ours[None, :, :2], axis=2)
    # mahotas is off by up to a step of the octave (its interpolation has the wrong sign)
    assert (apart.min(1) < 4).mean() > 0.9


def test_descriptor_ignores_brightness_and_contrast() -> None:
    image, _ = brain_slice(4)
    points = surf.detect(image, 4, 100)
    plain = surf.describe(image, points)
    paler = surf.describe(image * 0.5 + 60, points)
    np.testing.assert_allclose(plain, paler, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(plain, axis=1), 1, atol=1e-5)


def test_consensus_survives_wrong_matches() -> None:
    rng = np.random.default_rng(0)
    true = about_centre(8, 900, -400)
    points = rng.uniform(0, WIDTH_UM, (120, 2))
    targets = true(points)
    targets[:80] = rng.uniform(0, WIDTH_UM, (80, 2))
    rigid, inliers = rigid_consensus(points, targets, 0.0, 0.5, 50.0, 2000, 1)
    assert inliers[80:].all()
    assert inliers[:80].sum() <= 1
    assert worst_px(rigid, true) < 0.05


def test_consensus_of_nothing_is_none() -> None:
    points = np.zeros((1, 2))
    assert rigid_consensus(points, points, 0.0, 1.0, 10.0, 10, 0)[0] is None
    twins = np.zeros((5, 2))
    assert rigid_consensus(twins, twins, 0.0, 1.0, 10.0, 10, 0)[0] is None
