"""Which sections are mirrored, from pairs of sections and from how each section is cut.

A pair that is more similar as scanned than mirrored suggests that its sections have the same
handedness. And in a stack that is cut askew, the same half of every section shows more of what lies
ahead; in a mirrored section it is the other half.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cytopipe.alignment.handedness import marginals
from cytopipe.numerics.geometry import Floats

# smallest difference of log likelihood that counts; chosen, not measured
_CLEARLY = 3.0
# places on either side from which a section's usual cut is estimated; chosen, not measured
_AROUND = 6


def mirrored_sections(
    advantages: Floats, leans: Floats, share: float
) -> tuple[NDArray[np.bool_], Floats]:
    """Which sections are mirrored, and the probability of each answer.

    Each pair votes for equal or different handedness, and `marginals` weighs all votes at once. The
    vote of a section's halves weighs as much as the halves agree with the handedness from pairs
    alone; if it took part in that, it would confirm itself.

    Parameters
    ----------
    advantages : (sections, reach); row i, column d: evidence that sections i and i + d + 1 have the
        same handedness, NaN without evidence.
    leans : (sections, 2); how much more a section's left half looks like what lies ahead than its
        right half, judged by the next and by the previous sections; NaN if there are none.
    share : expected share of mirrored sections.
    """
    # if no section is mirrored at the start, mirrored ones widen the spread and votes may stay weak
    cautious, bold = (_iterate(advantages, share, bold) for bold in (False, True))
    likelihoods = [_log_likelihood(advantages, flags, share) for _, flags in (cautious, bold)]
    votes, flags = bold if likelihoods[1] - likelihoods[0] > _CLEARLY else cautious
    chance = marginals(votes, _own_votes(leans, flags), share)
    flags = chance > 0.5
    return flags, np.where(flags, chance, 1 - chance)


def _iterate(advantages: Floats, share: float, bold: bool) -> tuple[Floats, NDArray[np.bool_]]:
    """Votes of the pairs, weighted by distance, and the mirrored sections, estimated in turns.

    With `bold`, the first weights assume that all pairs agree.
    """
    sections, reach = advantages.shape
    signs = np.ones(sections)
    for turn in range(5):
        votes = np.zeros_like(advantages)
        for step in range(1, reach + 1):
            column = advantages[: sections - step, step - 1]
            agreeing = column * signs[:-step] * signs[step:]
            agreeing = np.abs(column) if bold and turn == 0 else agreeing
            agreeing = agreeing[np.isfinite(agreeing)]
            # a pair that shares a tear must not outvote all others
            limit = 2 * max(float(np.median(agreeing)), 0.0) if len(agreeing) else 0.0
            votes[: sections - step, step - 1] = (
                2 * np.nan_to_num(np.clip(column, -limit, limit)) * weight(agreeing)
            )
        chance = marginals(votes, np.zeros(sections), share)
        signs = np.where(chance > 0.5, -1.0, 1.0)
    return votes, signs < 0


def _own_votes(leans: Floats, flags: NDArray[np.bool_]) -> Floats:
    """Log odds that each section is as scanned, from its halves.

    The usual lean is that of the sections around, because tissue bends, and large pieces may be cut
    anew. The share expected by chance is subtracted, so a stack cut straight gives no votes.
    """
    sections, signs = len(flags), np.where(flags, -1.0, 1.0)
    both = np.isfinite(leans).all(axis=1)
    own = np.where(both, leans.mean(axis=1), np.nan_to_num(leans).sum(axis=1))
    place = np.arange(sections)
    apart = np.abs(place[:, None] - place)
    around = (apart > 0) & (apart <= _AROUND) & both
    usual = np.array([np.median((own * signs)[some]) if some.any() else 0.0 for some in around])
    off = leans * signs[:, None] - usual[:, None]
    # the value from one side varies more than the mean of both
    both_spread = _spread(off[both].mean(axis=1))
    spread = np.where(both, both_spread, _spread(off[np.isfinite(off)]))
    # a spread of 0 would make everything certain
    variance = np.maximum(spread, np.maximum(0.1 * np.abs(usual), 1e-9)) ** 2
    # variance of a median
    chance = 0.5 * np.pi * both_spread**2 / np.maximum(around.sum(axis=1), 1)
    known = np.maximum(1 - chance / np.maximum(usual**2, 1e-18), 0.0)
    limit = 2 * np.abs(usual)
    return np.asarray(2 * np.clip(own, -limit, limit) * usual * known / variance)


def _log_likelihood(advantages: Floats, flags: NDArray[np.bool_], share: float) -> float:
    """Log likelihood of the mirrored sections, up to a constant.

    Each distance has the mean that fits it best; evidence is clipped at three times its median.
    """
    signs = np.where(flags, -1.0, 1.0)
    total = float(flags.sum() * np.log(share) + (~flags).sum() * np.log(1 - share))
    for step in range(1, advantages.shape[1] + 1):
        column = advantages[: len(flags) - step, step - 1] * signs[:-step] * signs[step:]
        column = column[np.isfinite(column)]
        if len(column) and (limit := 3 * float(np.median(np.abs(column)))) > 0:
            column = np.clip(column, -limit, limit)
            unexplained = 1 - max(float(column.mean()), 0.0) ** 2 / float((column**2).mean())
            total -= 0.5 * len(column) * float(np.log(max(unexplained, 1e-6)))
    return total


def weight(values: Sequence[float] | Floats) -> float:
    """Robust mean over variance; 0 if the mean is not positive."""
    if not len(values):
        return 0.0
    middle = float(np.median(values))
    # a spread of 0 would make everything certain
    spread = max(_spread(np.asarray(values) - middle), 0.1 * abs(middle), 1e-9)
    return max(middle, 0.0) / spread**2


def _spread(off: Floats) -> float:
    """Robust standard deviation of differences from the usual value; 0 if there are none."""
    if not len(off):
        return 0.0
    # the values are heavy-tailed: neither the median deviation nor the plain one would be right;
    # for normal values, the standard deviation is 1.4826 median absolute deviations
    limit = 4 * 1.4826 * float(np.median(np.abs(off)))
    return float(np.sqrt(np.mean(np.clip(off, -limit, limit) ** 2)))
