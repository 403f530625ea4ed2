"""The rigid transform that most matches agree on."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cytopipe.numerics.geometry import Floats, Rigid, fit_rigid


def rigid_consensus(
    points_um: Floats,
    targets_um: Floats,
    around_rad: float,
    within_rad: float,
    inlier_um: float,
    trials: int,
    seed: int,
) -> tuple[Rigid | None, NDArray[np.bool_]]:
    """RANSAC (Fischler and Bolles 1981) for a rotation and a shift, then Kabsch on the inliers.

    Parameters
    ----------
    points_um, targets_um : (n, 2) matched points; some matches are wrong.
    around_rad, within_rad : the rotation lies within this distance of this angle.
    inlier_um : the largest error of an inlier.
    trials : number of samples of two matches; all are tried if there are no more.

    Returns
    -------
    The transform "moving" to "fixed", or None without two inliers; and the mask (n,) of inliers.
    """
    count = len(points_um)
    if count * (count - 1) // 2 <= trials:
        samples = np.stack(np.triu_indices(count, 1), axis=1)
    else:
        rng = np.random.default_rng(seed)
        first = rng.integers(0, count, trials)
        # never the first again; all others are equally likely
        second = (first + rng.integers(1, count, trials)) % count
        samples = np.stack([first, second], axis=1)
    angle, x, y, support = _best_sample(
        points_um, targets_um, samples, around_rad, within_rad, inlier_um
    )
    if support < 2:
        return None, np.zeros(count, bool)
    return refit(points_um, targets_um, Rigid(angle, x, y, "moving", "fixed"), inlier_um)


def refit(
    points_um: Floats, targets_um: Floats, start: Rigid, inlier_um: float
) -> tuple[Rigid | None, NDArray[np.bool_]]:
    """Alternate between inliers and closed-form fit until the inliers stay the same."""
    rigid, inliers = start, np.zeros(len(points_um), bool)
    for _ in range(20):
        off = np.linalg.norm(rigid(points_um) - targets_um, axis=1)
        agreed = off <= inlier_um
        if np.array_equal(agreed, inliers):
            break
        inliers = agreed
        if np.count_nonzero(inliers) < 2:
            return None, np.zeros(len(points_um), bool)
        rigid = fit_rigid(points_um[inliers], targets_um[inliers], "moving", "fixed")
    return rigid, inliers


@njit(cache=True)
def _best_sample(
    points: Floats,
    targets: Floats,
    samples: NDArray[np.int64],
    around: float,
    within: float,
    inlier: float,
) -> tuple[float, float, float, int]:
    best, best_angle, best_x, best_y = 0, 0.0, 0.0, 0.0
    for k in range(len(samples)):
        i, j = samples[k, 0], samples[k, 1]
        px, py = points[j, 0] - points[i, 0], points[j, 1] - points[i, 1]
        qx, qy = targets[j, 0] - targets[i, 0], targets[j, 1] - targets[i, 1]
        length, length_target = np.hypot(px, py), np.hypot(qx, qy)
        # matches close together determine no rotation, and different distances are not rigid
        if length < 4 * inlier or abs(length - length_target) > 2 * inlier:
            continue
        angle = np.arctan2(px * qy - py * qx, px * qx + py * qy)
        difference = (angle - around + np.pi) % (2 * np.pi) - np.pi
        if abs(difference) > within:
            continue
        c, s = np.cos(angle), np.sin(angle)
        mx, my = (points[i, 0] + points[j, 0]) / 2, (points[i, 1] + points[j, 1]) / 2
        x = (targets[i, 0] + targets[j, 0]) / 2 - (c * mx - s * my)
        y = (targets[i, 1] + targets[j, 1]) / 2 - (s * mx + c * my)
        support = 0
        for m in range(len(points)):
            dx = c * points[m, 0] - s * points[m, 1] + x - targets[m, 0]
            dy = s * points[m, 0] + c * points[m, 1] + y - targets[m, 1]
            if dx * dx + dy * dy <= inlier * inlier:
                support += 1
        if support > best:
            best, best_angle, best_x, best_y = support, angle, x, y
    return best_angle, best_x, best_y, best
