"""SURF features of a section: points with a descriptor that looks alike in neighbouring sections.

The detector sits behind `features_of`; nothing else knows which one it is.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from cytopipe.alignment.pairwise import surf
from cytopipe.alignment.pairwise.prepared_section import PreparedSection, oriented
from cytopipe.numerics.geometry import Floats

# SURF's smallest filters span 9 pixels and its largest descriptors some hundred: room for both
MARGIN_PX = 16


@dataclass(frozen=True)
class Features:
    """Interest points of one section, as scanned or flipped.

    Attributes
    ----------
    points_um : (n, 2) section frame; of the flipped section (`geometry.mirror`) if it was flipped.
    scales_um : (n,) size of the structure.
    signs : (n,) sign of the Laplacian: a bright or a dark blob.
    descriptors : (n, 64) float32 of unit length, in the frame of the turned image.
    """

    points_um: Floats
    scales_um: Floats
    signs: Floats
    descriptors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.points_um)


def features_of(
    view: PreparedSection, flipped: bool, turn_rad: float, octaves: int, most: int
) -> Features:
    """Features inside the tissue of a section, flipped if asked and then turned by `turn_rad`.

    Descriptors match best between images of the same orientation, hence the turn; the points are
    carried back, so that they lie in the (flipped) section frame whatever the turn.
    """
    image, mask = oriented(view.image, flipped), oriented(view.mask, flipped)
    to_turned, size = _turn(mask, turn_rad)
    turned = cv2.warpAffine(image, to_turned, size, flags=cv2.INTER_CUBIC)
    inside = cv2.warpAffine(mask.astype(np.uint8), to_turned, size, flags=cv2.INTER_NEAREST)
    turned = np.clip(turned, 0, 255)
    found = surf.detect(turned, octaves, 2 * most)
    column = np.clip(np.rint(found[:, 0]).astype(int), 0, size[0] - 1)
    row = np.clip(np.rint(found[:, 1]).astype(int), 0, size[1] - 1)
    found = found[inside[row, column] > 0][:most]
    back = np.linalg.inv(to_turned[:, :2])
    pixels = (found[:, :2] - to_turned[:, 2]) @ back.T
    frame = view.frame(flipped)
    points = pixels @ frame[:2, :2].T + frame[:2, 2]
    descriptors = surf.describe(turned, found)
    return Features(points, found[:, 2] * view.spacing_um, found[:, 4], descriptors)


def _turn(mask: NDArray[np.bool_], turn_rad: float) -> tuple[Floats, tuple[int, int]]:
    """Affine (2, 3) of array pixels to the turned image that just holds the tissue, and its size.

    The turn is that of `geometry.Rigid`: positive from x (right) to y (down).
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x = np.array([columns[0], columns[-1], columns[-1], columns[0]], np.float64)
    y = np.array([rows[0], rows[0], rows[-1], rows[-1]], np.float64)
    c, s = np.cos(turn_rad), np.sin(turn_rad)
    turn = np.array([[c, -s], [s, c]])
    corners = np.stack([x, y], 1) @ turn.T
    low = np.floor(corners.min(0)) - MARGIN_PX
    width, height = (np.ceil(corners.max(0)) + MARGIN_PX - low + 1).astype(int)
    return np.concatenate([turn, -low[:, None]], axis=1), (int(width), int(height))


def match(fixed: Features, moving: Features, max_ratio: float) -> NDArray[np.int64]:
    """Mutual nearest neighbours of the descriptors that pass the ratio test.

    Only features of the same sign and, within a factor of 1.5, the same scale are compared: a
    rigid transform changes neither.

    Returns
    -------
    (m, 2) indices into `fixed` and `moving`; every feature occurs at most once.
    """
    return _matches(fixed, moving, fixed.points_um[:1], np.inf, max_ratio)


def match_near(
    fixed: Features, moving: Features, expected_um: Floats, radius_um: float
) -> NDArray[np.int64]:
    """Mutual nearest neighbours among the features of `fixed` near where each one is expected.

    Parameters
    ----------
    expected_um : (n, 2) points of `moving` carried into the frame of `fixed`.

    Returns
    -------
    (m, 2) indices into `fixed` and `moving`.
    """
    return _matches(fixed, moving, expected_um, radius_um, 1.0)


def _matches(
    fixed: Features, moving: Features, expected_um: Floats, radius_um: float, max_ratio: float
) -> NDArray[np.int64]:
    if not len(fixed) or not len(moving):
        return np.zeros((0, 2), np.int64)
    found = _mutual(
        moving.descriptors @ fixed.descriptors.T,
        np.log(moving.scales_um),
        np.log(fixed.scales_um),
        moving.signs,
        fixed.signs,
        expected_um,
        fixed.points_um,
        radius_um,
        max_ratio,
    )
    return np.asarray(found)


@njit(cache=True)
def _mutual(
    cosines: NDArray[np.float32],
    log_scales: Floats,
    log_scales_fixed: Floats,
    signs: Floats,
    signs_fixed: Floats,
    expected: Floats,
    points_fixed: Floats,
    radius: float,
    max_ratio: float,
) -> NDArray[np.int64]:
    """Pairs (fixed, moving) that are each other's best by cosine, (moving, fixed)."""
    rows, columns = cosines.shape
    best_row, best_of_column = np.full(columns, -1), np.full(columns, np.float32(-2))
    best_column = np.full(rows, -1)
    everywhere = np.isinf(radius)
    for i in range(rows):
        first, second = np.float32(-2), np.float32(-2)
        for j in range(columns):
            # cheap tests first; most pairs fail one of them
            if signs[i] != signs_fixed[j] or abs(log_scales[i] - log_scales_fixed[j]) > np.log(1.5):
                continue
            if not everywhere:
                dx = expected[i, 0] - points_fixed[j, 0]
                dy = expected[i, 1] - points_fixed[j, 1]
                if dx * dx + dy * dy > radius * radius:
                    continue
            cosine = cosines[i, j]
            if cosine > best_of_column[j]:
                best_of_column[j], best_row[j] = cosine, i
            if cosine > first:
                first, second = cosine, first
                best_column[i] = j
            elif cosine > second:
                second = cosine
        # squared distances of unit vectors
        if 2 - 2 * first > max_ratio**2 * (2 - 2 * second):
            best_column[i] = -1
    pairs = np.empty((rows, 2), np.int64)
    count = 0
    for i in range(rows):
        if best_column[i] >= 0 and best_row[best_column[i]] == i:
            pairs[count, 0], pairs[count, 1] = best_column[i], i
            count += 1
    return pairs[:count]
