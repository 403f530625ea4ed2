"""Which sections were scanned face down, from evidence that is weighed, not counted.

A pair shows at most whether its two sections differ, and a nearly symmetric brain hardly that. Its
evidence is a log likelihood ratio. The evidence of all pairs, and how rare mirrored sections are,
give the probability that a section is mirrored. If that is near neither 0 nor 1, the answer is
CANNOT_TELL: the section is kept as scanned, and a person is asked.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from scipy.special import log_ndtr

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


def log_odds_of_pair(inliers_plain: int, inliers_mirrored: int, by_texture: float) -> float:
    """Log odds that two sections differ in handedness, before the usual share of such pairs.

    The mean of the evidence from features and from texture, not their sum, because both see the
    same pixels. Measured on 35 sections of a mouse brain, which is nearly symmetric: half of what
    either says is about right.

    Parameters
    ----------
    inliers_plain, inliers_mirrored : counts of features. A difference of counts has the variance of
        their sum (Poisson).
    by_texture : `parts.log_odds_better`, mirrored against as scanned.
    """
    z = (inliers_mirrored - inliers_plain) / np.sqrt(inliers_mirrored + inliers_plain + 1)
    by_features = float(log_ndtr(z) - log_ndtr(-z))
    return float(np.clip((by_features + by_texture) / 2, -_MOST, _MOST))


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
