"""SURF features of a section, and their matches in a neighbouring section."""

from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from cytopipe.alignment.pairwise import surf
from cytopipe.alignment.pairwise.prepared_section import PreparedSection
from cytopipe.numerics.geometry import Floats, Rigid
from cytopipe.study.config import Alignment

# room around the tissue, chosen, not measured; SURF's smallest filters span 9 pixels
MARGIN_PX = 16


@dataclass(frozen=True)
class Features:
    """The n interest points of one section."""

    points_um: Floats  # (n, 2)
    scales_um: Floats  # size of the structure
    signs: Floats  # of the Laplacian: a bright or a dark blob
    descriptors: NDArray[np.float32]  # (n, 64) of unit length


def features_of(section: PreparedSection, turn_rad: float, params: Alignment) -> Features:
    """The strongest features inside the tissue of a section.

    The image is rotated by `turn_rad`, because descriptors match best between images of the same
    orientation. The points are rotated back.
    """
    mask = section.mask
    to_turned, size = _turn(mask, turn_rad)
    turned = cv2.warpAffine(section.image, to_turned, size, flags=cv2.INTER_CUBIC)
    inside = cv2.warpAffine(mask.astype(np.uint8), to_turned, size, flags=cv2.INTER_NEAREST)
    turned = np.clip(turned, 0, 255)
    points = surf.detect(turned, params.octaves, 2 * params.max_features)
    column = np.clip(np.rint(points[:, 0]).astype(int), 0, size[0] - 1)
    row = np.clip(np.rint(points[:, 1]).astype(int), 0, size[1] - 1)
    points = points[inside[row, column] > 0][: params.max_features]
    back = np.linalg.inv(to_turned[:, :2])
    pixels = (points[:, :2] - to_turned[:, 2]) @ back.T
    frame = section.frame
    points_um = pixels @ frame[:2, :2].T + frame[:2, 2]
    descriptors = surf.describe(turned, points)
    return Features(points_um, points[:, 2] * section.spacing_um, points[:, 4], descriptors)


def _turn(mask: NDArray[np.bool_], turn_rad: float) -> tuple[Floats, tuple[int, int]]:
    """(2, 3) matrix from array pixels to a rotated image that just holds the tissue; its size."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x = np.array([columns[0], columns[-1], columns[-1], columns[0]], np.float64)
    y = np.array([rows[0], rows[0], rows[-1], rows[-1]], np.float64)
    c, s = np.cos(turn_rad), np.sin(turn_rad)
    turn = np.array([[c, -s], [s, c]])
    corners = np.stack([x, y], 1) @ turn.T
    low = np.floor(corners.min(0)) - MARGIN_PX
    width, height = (np.ceil(corners.max(0)) + MARGIN_PX - low + 1).astype(int)
    return np.concatenate([turn, -low[:, None]], axis=1), (int(width), int(height))


def match(
    fixed: Features,
    moving: Features,
    max_ratio: float,
    expected: Rigid | None = None,
    radius_um: float = np.inf,
) -> NDArray[np.int64]:
    """Indices (m, 2) of mutual nearest neighbours, fixed and moving, that pass the ratio test.

    Only features of the same sign and, within a factor of 1.5, the same scale are compared, because
    a rigid transform changes neither; and, with `expected`, only those that this transform brings
    within `radius_um` of each other.
    """
    if not len(fixed.points_um) or not len(moving.points_um):
        return np.zeros((0, 2), np.int64)
    matches = _mutual(
        moving.descriptors @ fixed.descriptors.T,
        np.log(moving.scales_um),
        np.log(fixed.scales_um),
        moving.signs,
        fixed.signs,
        expected(moving.points_um) if expected else moving.points_um,
        fixed.points_um,
        radius_um,
        max_ratio,
    )
    return np.asarray(matches)


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
    """Indices (fixed, moving) of mutual best features; `cosines` is (moving, fixed)."""
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
