"""All pairs of a brain solved together: a pose graph.

The paper composes neighbours one after the other (section 3.2), so one wrong pair moves all
sections behind it. Pairs that reach across a section make the system redundant: the places that
contradict all pairs least outvote a wrong pair, and what remains shows how exact each place is.
"""

from collections.abc import Set
from dataclasses import replace

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu
from scipy.special import chdtr, chdtrc  # scipy.stats takes a second to load

from cytopipe.alignment.links import Link
from cytopipe.alignment.stack import Place
from cytopipe.numerics.geometry import Floats

# most steps with each kind of weights, and the step at which they end; chosen, not measured
_ROUNDS = 30
_CONVERGED_UM = 0.01
# degrees of freedom of a pair's residual: those of a rigid transform in the plane
_FREEDOMS = 3
# the residual, in standard deviations, from which a pair counts less; one in ten good pairs exceeds
# it (chi-squared with 3 degrees of freedom)
_LARGE = 2.5
# the median of fewer pairs may be chance. Chosen
_ENOUGH_PAIRS = 10
# standard deviation of a pair by a person, relative to its own: it overrules all others
_MANUAL_FACTOR = 1e-3


def relax(
    still: Set[int],
    places: dict[int, Place],
    links: list[Link],
    sizes_um: dict[int, tuple[float, float]],
) -> tuple[dict[int, Place], dict[int, float]]:
    """Move the places of `compose` to where all pairs contradict them least.

    The residual of a pair is its disagreement with the two places at two points of the moving
    section, a quarter and three quarters along its diagonal. Its standard deviation is assumed to
    grow with the distance of the sections, because the anatomy changes. Huber's weights estimate
    the common scale; with that scale, Cauchy's suppress wrong pairs (an MM estimate).

    Parameters
    ----------
    still : sections that are not moved: the base, and those that a person placed in the stack.
    links : `stack.links_of` the pairs.
    sizes_um : width and height of every section.

    Returns
    -------
    places : of the same sections.
    sigma_um : standard deviation of each section's middle, in x and in y, relative to `still`; NaN
        if no pair is redundant. An error that all pairs share bends the whole stack and is not
        included; see `bend_per_um`.
    """
    free = [section for section in places if section not in still]
    pairs = [(link, {link.fixed, link.moving}) for link in links]
    links = [link for link, pair in pairs if pair <= set(places) and not pair <= still]
    if not free:
        return dict(places), dict.fromkeys(still, 0.0)
    column = {section: 3 * index for index, section in enumerate(free)}
    state = {
        section: np.array([place.rigid.angle_rad, place.rigid.x_um, place.rigid.y_um])
        for section, place in places.items()
    }
    manual = np.array([link.manual for link in links])
    spread = np.array([link.sigma_um for link in links]) * np.where(manual, _MANUAL_FACTOR, 1.0)
    moving_sizes_um = np.array([sizes_um[link.moving] for link in links])
    points = np.array([[0.25], [0.75]]) * moving_sizes_um[:, None]
    targets = np.array([link.rigid(p) for link, p in zip(links, points, strict=True)])
    ends = np.stack([points, targets], axis=1)
    scale = np.inf
    for kind in ("huber", "cauchy"):
        for _ in range(_ROUNDS):
            residuals, jacobian = _linearised(links, ends, state, column)
            off = np.linalg.norm(residuals, axis=(1, 2)) / spread
            if kind == "huber":
                scale = _scale(off, scale, len(links) - len(free))
            weights = np.where(manual, 1.0, _weights(off, scale, kind)) / spread**2
            row_weights = np.repeat(weights, 4)
            normal = (jacobian.T @ sparse.diags(row_weights) @ jacobian).tocsc()
            step = -splu(normal).solve(jacobian.T @ (row_weights * residuals.ravel()))
            for section, start in column.items():
                state[section] = state[section] + step[start : start + 3]
            if np.abs(step.reshape(-1, 3)[:, 1:]).max() < _CONVERGED_UM:
                break
    # pairs that share an error agree better than they are exact
    covariance = (1.0 if np.isnan(scale) else max(scale, 1.0)) ** 2 * np.linalg.inv(
        normal.toarray()
    )
    moved, sigma_um = {}, dict.fromkeys(still, 0.0)
    for section, place in places.items():
        angle, x, y = (float(value) for value in state[section])
        moved[section] = replace(place, rigid=replace(place.rigid, angle_rad=angle, x_um=x, y_um=y))
        if section in column:
            own = slice(column[section], column[section] + 3)
            _, derivatives = _placed(state[section], np.array([sizes_um[section]]) / 2)
            variances = derivatives[0] @ covariance[own, own] @ derivatives[0].T
            sigma_um[section] = float(np.sqrt(np.trace(variances) / 2))
    return moved, sigma_um


def bend_per_um(
    places: dict[int, Place], links: list[Link], sizes_um: dict[int, tuple[float, float]]
) -> float:
    """How far a shift that all pairs share moves the stack, x or y, over the distance along z.

    Layers that move from section to section pull pairs of near sections by about as much as those
    of distant sections, whose layers are no longer alike. A stack that follows the near ones then
    contradicts the distant ones, always to the same side: the more, the wider the pair. A shift
    that grows with the distance, like that of tissue sheared as a whole, contradicts nothing and
    stays unknown. So does any shift if all pairs are equally wide: the result is 0.
    """
    off_um: dict[int, list[Floats]] = {}
    gaps_um: dict[int, list[float]] = {}
    for link in links:
        if link.certain and not link.manual and {link.fixed, link.moving} <= set(places):
            near, far = link.sections
            middle_um = np.array([sizes_um[near]]) / 2
            to_far = link.to(far)(middle_um)
            ahead_um = places[far].rigid(to_far) - places[near].rigid(middle_um)
            off_um.setdefault(link.distance, []).append(ahead_um[0])
            gaps_um.setdefault(link.distance, []).append(link.gap_um)
    enough = [distance for distance, values in off_um.items() if len(values) >= _ENOUGH_PAIRS]
    if len(enough) < 2:
        return 0.0
    # medians, so that a wrong pair does not count
    medians_um = np.array([np.median(off_um[distance], axis=0) for distance in enough])
    slopes = np.polyfit(
        [np.mean(gaps_um[distance]) for distance in enough],
        medians_um,
        1,
        w=[np.sqrt(len(off_um[distance])) for distance in enough],
    )[0]
    return float(np.sqrt((slopes**2).mean()))


def _placed(state: Floats, points_um: Floats) -> tuple[Floats, Floats]:
    """Points (n, 2) in the stack, and their derivative (n, 2, 3) by angle, x and y."""
    cosine, sine = np.cos(state[0]), np.sin(state[0])
    turned = points_um @ np.array([[cosine, sine], [-sine, cosine]])
    derivative = np.zeros((len(points_um), 2, 3))
    derivative[:, 0, 0], derivative[:, 1, 0] = -turned[:, 1], turned[:, 0]
    derivative[:, 0, 1] = derivative[:, 1, 2] = 1.0
    return turned + state[1:], derivative


def _linearised(
    links: list[Link], ends: Floats, state: dict[int, Floats], column: dict[int, int]
) -> tuple[Floats, sparse.csr_matrix]:
    """Residuals (links, 2 points, 2) um and their derivative (4 links, 3 free sections).

    `ends` (links, moving and fixed, 2 points, 2) are the points in the sections.
    """
    residuals = np.empty((len(links), 2, 2))
    rows, columns, values = [], [], []
    for index, link in enumerate(links):
        for end, (section, sign) in enumerate(((link.moving, 1.0), (link.fixed, -1.0))):
            at, derivative = _placed(state[section], ends[index, end])
            residuals[index] = at if sign > 0 else residuals[index] - at
            if section in column:
                rows.append(np.repeat(4 * index + np.arange(4), 3))
                columns.append(np.tile(column[section] + np.arange(3), 4))
                values.append(sign * derivative.ravel())
    shape = (4 * len(links), 3 * len(column))
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return residuals, sparse.csr_matrix(entries, shape=shape)


def _scale(off_um: Floats, last: float, spare: int) -> float:
    """Standard deviation of a pair along an axis (Huber's proposal 2); NaN without redundancy.

    A median would not work: if each section has two pairs, half of them can be met exactly.
    """
    if spare < 1:
        return float("nan")
    if np.isinf(last):
        return float(np.sqrt((off_um**2).sum() / (_FREEDOMS * spare)))
    bounded = np.minimum(off_um, _LARGE * last) ** 2
    inside = _FREEDOMS * chdtr(_FREEDOMS + 2, _LARGE**2)
    expected = inside + _LARGE**2 * chdtrc(_FREEDOMS, _LARGE**2)
    return float(np.sqrt(bounded.sum() / (expected * spare)))


def _weights(off_um: Floats, scale: float, kind: str) -> Floats:
    """Weights in (0, 1]; all are 1 if the pairs agree exactly or are not redundant."""
    if not scale > 0:
        return np.ones_like(off_um)
    if kind == "huber":
        return np.asarray(np.minimum(1, _LARGE * scale / np.maximum(off_um, 1e-9)))
    return np.asarray(1 / (1 + (off_um / (_LARGE * scale)) ** 2))
