"""Which sections were scanned face down, from evidence that is weighed, not counted.

A pair shows at most whether its two sections differ, and a nearly symmetric brain hardly that. Its
evidence is a log likelihood ratio. The evidence of all pairs, and how rare mirrored sections are,
give the probability that a section is mirrored. If that is near neither 0 nor 1, the answer is
CANNOT_TELL: the section is kept as scanned, and a person is asked.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from cytopipe.formats.tables import CANNOT_TELL, MIRRORED, PLAIN, PairRow
from cytopipe.numerics.geometry import Floats

# the most that one pair counts. With it and one section in twenty mirrored, a single pair calls no
# section mirrored: two have to agree
_MOST = 5.0
# share of brains of which most sections lie face down; chosen: only a person's decision shows it
_TURNED_SHARE = 0.001
# a person's decision, as log odds
_CERTAIN = 100.0
# places along the stack over which pairs are weighed; the time doubles with each
_REACH = 6


def log_odds_of_pair(by_features: float, by_texture: float) -> float:
    """Log odds that two sections differ in handedness, before the usual share of such pairs.

    The mean of the two, not their sum, because both see the same pixels.
    """
    return float(np.clip((by_features + by_texture) / 2, -_MOST, _MOST))


def log_odds_of_counts(plain_um: Floats, mirrored_um: Floats, centre_um: Floats) -> float:
    """Log odds that a section has more inliers mirrored than as scanned.

    A difference of counts has the variance of their sum (Poisson), and more if the quadrants of the
    section disagree (see `log_odds_of_parts`).

    Parameters
    ----------
    plain_um, mirrored_um : (n, 2) places of the inliers in the fixed section.
    centre_um : (2,) of its tissue.
    """
    plain, mirrored = (
        np.bincount(quadrants(points, centre_um), minlength=4) for points in (plain_um, mirrored_um)
    )
    z = (mirrored - plain).sum() / np.sqrt((mirrored + plain).sum() + 1)
    by_quadrant = (mirrored - plain) / np.sqrt(mirrored + plain + 1)
    return _log_odds(float(z / max(by_quadrant.std(ddof=1), 1.0)), 3)


def log_odds_of_parts(differences: Floats, centres_um: Floats, centre_um: Floats) -> float:
    """Log odds that the parts of a section fit better mirrored; 0 if there are too few of them.

    In a brain that is cut askew, one half of a section resembles the other half of the next section
    more than its own, and the rest resembles it less: half of the evidence is then strong and
    wrong. So the four quadrants have to agree. This is a t-test with a flat prior, whose error is
    that of the parts or that of the quadrants, whichever is larger.

    Parameters
    ----------
    differences : (n,) of the parts' correlations, mirrored minus as scanned.
    centres_um, centre_um : (n, 2) places of the parts; (2,) centre of the tissue.
    """
    quadrant = quadrants(centres_um, centre_um)
    means = np.array([differences[quadrant == q].mean() for q in np.unique(quadrant)])
    if len(means) < 3:
        return 0.0
    error = max(
        differences.std(ddof=1) / np.sqrt(len(differences)),
        means.std(ddof=1) / np.sqrt(len(means)),
    )
    return _log_odds(float(means.mean() / max(error, 1e-9)), len(means) - 1)


def quadrants(points_um: Floats, centre_um: Floats) -> NDArray[np.int64]:
    """(n,) 0 to 3: in which quadrant about the centre points (n, 2) lie."""
    right, below = (np.reshape(points_um, (-1, 2)) > centre_um).T
    return np.asarray(right + 2 * below, np.int64)


def _log_odds(t: float, freedoms: int) -> float:
    """Log odds that the mean behind a Student's t is positive."""
    positive, negative = np.maximum(stdtr(freedoms, [t, -t]), 1e-300)
    return float(np.log(positive) - np.log(negative))


def usual_log_odds(mirrored_share: float) -> float:
    """Log odds that any two sections differ in handedness."""
    differ = 2 * mirrored_share * (1 - mirrored_share)
    return float(np.log(differ / (1 - differ)))


def handedness_of(
    sections: list[int],
    pairs: Iterable[PairRow],
    confirmed: Mapping[int, bool],
    mirrored_share: float,
    min_confidence: float,
) -> dict[int, str]:
    """PLAIN, MIRRORED or CANNOT_TELL for every section.

    Parameters
    ----------
    sections : numbers of the usable sections, in order.
    confirmed : flags of the sections that a person looked at.
    mirrored_share : expected share of mirrored sections. It also decides which of two handednesses
        is the mirrored one, which pairs cannot show: that of fewer sections, unless a person
        confirmed otherwise.
    min_confidence : the smallest probability of an answer.
    """
    rank = {section: index for index, section in enumerate(sections)}
    usable = [pair for pair in pairs if np.isfinite(pair.log_odds_mirrored)]
    steps = [abs(rank[pair.moving] - rank[pair.fixed]) for pair in usable]
    reach = min(max(steps, default=1), _REACH)
    votes = np.zeros((len(sections), reach))
    for pair, step in zip(usable, steps, strict=True):
        if step <= reach:
            first = min(rank[pair.moving], rank[pair.fixed])
            votes[first, step - 1] -= pair.log_odds_mirrored
    own = np.zeros(len(sections))
    for section, flag in confirmed.items():
        own[rank[section]] = -_CERTAIN if flag else _CERTAIN
    # either few sections lie face down, or few do not; no pair shows which
    usual, usual_total = _sums_along(votes, own, mirrored_share)
    turned, turned_total = _sums_along(votes, own, 1 - mirrored_share)
    log_odds_turned = turned_total - usual_total + np.log(_TURNED_SHARE / (1 - _TURNED_SHARE))
    weight = 1 / (1 + np.exp(-np.clip(log_odds_turned, -50, 50)))
    chances = (1 - weight) * usual + weight * turned
    answers = {}
    for section, chance in zip(sections, chances, strict=True):
        if max(chance, 1 - chance) < min_confidence:
            answers[section] = CANNOT_TELL
        else:
            answers[section] = MIRRORED if chance > 0.5 else PLAIN
    return answers


def marginals(votes: Floats, own: Floats, share: float) -> Floats:
    """The probability that each section is mirrored, exactly, by sums along the stack.

    Parameters
    ----------
    votes : (sections, reach), log odds that sections i and i + d + 1 have the same handedness.
    own : (sections,), log odds that each section is as scanned.
    """
    return _sums_along(votes, own, share)[0]


def _sums_along(votes: Floats, own: Floats, share: float) -> tuple[Floats, float]:
    """The `marginals`, and the logarithm of the sum over all assignments."""
    sections, reach = votes.shape
    states = np.arange(2**reach)
    # bit d of a state: whether the section d places back is mirrored
    bits = (states[:, None] >> np.arange(reach)) & 1
    same = bits[:, None] == np.array([[0], [1]])  # (states, flags, reach)
    following = ((states << 1) & (2**reach - 1))[:, None] | np.array([0, 1])
    steps = np.zeros((sections, 2**reach, 2))
    ahead = np.full((sections + 1, 2**reach), -np.inf)
    ahead[0, 0] = 0.0
    for place in range(sections):
        steps[place] = np.log([1 - share, share]) + np.array([0.5, -0.5]) * own[place]
        for step in range(1, min(reach, place) + 1):
            agreement = np.where(same[..., step - 1], 0.5, -0.5)
            steps[place] += agreement * votes[place - step, step - 1]
        np.logaddexp.at(ahead[place + 1], following, ahead[place][:, None] + steps[place])
    back = np.zeros(2**reach)
    chance = np.zeros(sections)
    for place in reversed(range(sections)):
        total = ahead[place][:, None] + steps[place] + back[following]
        by_flag = np.logaddexp.reduce(total, axis=0)
        chance[place] = np.exp(by_flag[1] - np.logaddexp.reduce(by_flag))
        back = np.logaddexp.reduce(steps[place] + back[following], axis=1)
    return chance, float(np.logaddexp.reduce(ahead[sections]))
