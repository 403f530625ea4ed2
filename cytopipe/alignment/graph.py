"""All pairs of a brain solved together: a pose graph.

The paper composes neighbours one after the other (section 3.2), so that one wrong pair moves all
sections behind it. Pairs that reach across a section say the same a second time: the places that
contradict all pairs least, robustly, spread an error over its neighbourhood and outvote a wrong
pair. What is left of the contradictions tells how far each place can be trusted.
"""

from collections.abc import Set
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu
from scipy.special import chdtr, chdtrc  # scipy.stats takes a second to load

from cytopipe.alignment.stack import Link, Place

Floats = NDArray[np.float64]
ROUNDS = 30
SETTLED_UM = 0.01
# a pair's residual over its standard deviation has the freedoms of a rigid transform in the plane
FREEDOMS = 3
# residuals, in standard deviations, from which a pair counts less: one in ten of good pairs
HUBER, CAUCHY = 2.5, 2.5
# an uncertain pair counts as much less as its variance is larger: 25 times
UNCERTAIN_FACTOR = 5.0
# a pair that a person laid onto one another holds against all others
GIVEN_FACTOR = 1e-3


def relax(
    still: Set[int],
    places: dict[int, Place],
    links: list[Link],
    sizes_um: dict[int, tuple[float, float]],
) -> tuple[dict[int, Place], dict[int, float]]:
    """Move the places of `compose` to where all pairs contradict them least.

    The residual of a pair is how far it and the two places disagree at two points of the moving
    section, a quarter and three quarters along its diagonal. Its standard deviation is taken to
    grow with the distance of the two sections, as the anatomy changes; the common scale is
    estimated with Huber's weights; Cauchy's, from there, take a wrong pair's say (an MM estimate).

    Parameters
    ----------
    still : sections whose place stays: the base, and those that a person placed in the stack.
    links : usable pairs between unmirrored sections, `stack.links_of`.
    sizes_um : width and height of every section.

    Returns
    -------
    places : of the same sections; those of `still` have not moved.
    sigma_um : standard deviation of each section's middle, in x and in y, against `still`, as the
        contradictions between pairs tell; NaN if there are none to tell. An error that all pairs
        share (a bend of the whole stack) contradicts nothing and is not in it.
    """
    free = [section for section in places if section not in still]
    links = [
        link
        for link in links
        if {link.fixed, link.moving} <= set(places) and not {link.fixed, link.moving} <= still
    ]
    if not free:
        return dict(places), dict.fromkeys(still, 0.0)
    column = {section: 3 * index for index, section in enumerate(free)}
    state = {
        section: np.array([place.rigid.angle_rad, place.rigid.x_um, place.rigid.y_um])
        for section, place in places.items()
    }
    spread = _spread(links)
    given = np.array([link.given for link in links])
    points = np.array([_points(sizes_um[link.moving]) for link in links])
    targets = np.array([link.rigid(p) for link, p in zip(links, points, strict=True)])
    scale_um = np.inf
    for weigh in (_huber, _cauchy):
        for _ in range(ROUNDS):
            residuals, jacobian = _linearised(links, points, targets, state, column)
            off_um = np.linalg.norm(residuals, axis=(1, 2)) / spread
            if weigh is _huber:  # the last rounds keep its scale
                scale_um = _scale(off_um, scale_um, len(links) - len(free))
            weights = np.where(given, 1.0, weigh(off_um, scale_um)) / spread**2
            row_weights = np.repeat(weights, 4)
            normal = (jacobian.T @ sparse.diags(row_weights) @ jacobian).tocsc()
            step = -splu(normal).solve(jacobian.T @ (row_weights * residuals.ravel()))
            for section, start in column.items():
                state[section] = state[section] + step[start : start + 3]
            if np.abs(step.reshape(-1, 3)[:, 1:]).max() < SETTLED_UM:
                break
    moved = {}
    for section, place in places.items():
        angle, x, y = (float(value) for value in state[section])
        moved[section] = replace(place, rigid=replace(place.rigid, angle_rad=angle, x_um=x, y_um=y))
    return moved, {
        **dict.fromkeys(still, 0.0),
        **_sigma(normal, scale_um, column, moved, sizes_um),
    }


def _spread(links: list[Link]) -> Floats:
    """Relative standard deviation of each pair: 1 for a certain one of the usual distance."""
    apart = np.array([abs(link.moving - link.fixed) for link in links], np.float64)
    certain = np.array([link.certain for link in links])
    given = np.array([link.given for link in links])
    trusted = np.where(given, GIVEN_FACTOR, np.where(certain, 1.0, UNCERTAIN_FACTOR))
    return apart / np.median(apart) * trusted


def _points(size_um: tuple[float, float]) -> Floats:
    return np.array([[0.25, 0.25], [0.75, 0.75]]) * size_um


def _placed(state: Floats, points_um: Floats) -> tuple[Floats, Floats]:
    """Points (n, 2) in the stack, and their derivative (n, 2, 3) by angle, x and y."""
    cosine, sine = np.cos(state[0]), np.sin(state[0])
    turned = points_um @ np.array([[cosine, sine], [-sine, cosine]])
    derivative = np.zeros((len(points_um), 2, 3))
    derivative[:, 0, 0], derivative[:, 1, 0] = -turned[:, 1], turned[:, 0]
    derivative[:, 0, 1] = derivative[:, 1, 2] = 1.0
    return turned + state[1:], derivative


def _linearised(
    links: list[Link],
    points: Floats,
    targets: Floats,
    state: dict[int, Floats],
    column: dict[int, int],
) -> tuple[Floats, sparse.csr_matrix]:
    """Residuals (links, 2 points, 2) um and their derivative (4 links, 3 free sections)."""
    residuals = np.empty((len(links), 2, 2))
    rows, columns, values = [], [], []
    for index, link in enumerate(links):
        for section, where, sign in (
            (link.moving, points[index], 1.0),
            (link.fixed, targets[index], -1.0),
        ):
            at, derivative = _placed(state[section], where)
            residuals[index] = at if sign > 0 else residuals[index] - at
            if section in column:
                rows.append(np.repeat(4 * index + np.arange(4), 3))
                columns.append(np.tile(column[section] + np.arange(3), 4))
                values.append(sign * derivative.ravel())
    shape = (4 * len(links), 3 * len(column))
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return residuals, sparse.csr_matrix(entries, shape=shape)


def _scale(off_um: Floats, last_um: float, spare: int) -> float:
    """Standard deviation of a pair, an axis (Huber's proposal 2); NaN where nothing is said twice.

    A median would not do: half of the pairs can be met exactly where each section has two.
    """
    if spare < 1:
        return float("nan")
    if np.isinf(last_um):
        return float(np.sqrt((off_um**2).sum() / (FREEDOMS * spare)))
    bounded = np.minimum(off_um, HUBER * last_um) ** 2
    inside = FREEDOMS * chdtr(FREEDOMS + 2, HUBER**2)
    expected = inside + HUBER**2 * chdtrc(FREEDOMS, HUBER**2)
    return float(np.sqrt(bounded.sum() / (expected * spare)))


def _huber(off_um: Floats, scale_um: float) -> Floats:
    """Weights in (0, 1]; all 1 where pairs agree exactly or none contradicts another."""
    if not scale_um > 0:
        return np.ones_like(off_um)
    return np.asarray(np.minimum(1, HUBER * scale_um / np.maximum(off_um, 1e-9)))


def _cauchy(off_um: Floats, scale_um: float) -> Floats:
    """The same, falling faster: a wrong pair ends without a say."""
    if not scale_um > 0:
        return np.ones_like(off_um)
    return np.asarray(1 / (1 + (off_um / (CAUCHY * scale_um)) ** 2))


def _sigma(
    normal: sparse.csc_matrix,
    scale_um: float,
    column: dict[int, int],
    places: dict[int, Place],
    sizes_um: dict[int, tuple[float, float]],
) -> dict[int, float]:
    covariance = scale_um**2 * np.linalg.inv(normal.toarray())
    sigma = {}
    for section, start in column.items():
        rigid = places[section].rigid
        middle = np.array([sizes_um[section]]) / 2
        _, derivative = _placed(np.array([rigid.angle_rad, rigid.x_um, rigid.y_um]), middle)
        own = covariance[start : start + 3, start : start + 3]
        sigma[section] = float(np.sqrt(np.trace(derivative[0] @ own @ derivative[0].T) / 2))
    return sigma
