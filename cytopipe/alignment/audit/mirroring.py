"""Which sections are mirrored, from pairs of sections and from how each of them is cut.

A pair tells equal from different hands, as far as it agrees better as scanned than mirrored. And a
stack cut askew shows more of what lies ahead in the same half of every section; a mirrored one in
the other half.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cytopipe.numerics.geometry import Floats

# log likelihood by which hands must explain the stack better to be preferred
_CLEARLY = 3.0
# places on either side that tell how the stack is cut there
_AROUND = 6


def hands(advantages: Floats, leans: Floats, share: float) -> tuple[NDArray[np.bool_], Floats]:
    """Which sections are mirrored, and how sure that is (the probability of what is said).

    Each pair votes for equal or different hands; `marginals` weighs all votes at once. What a vote
    at a distance weighs is estimated from the stack, in turns with the hands. What the halves of a
    section say weighs as much as it agrees with the hands that the pairs alone tell: by hands that
    it has a part in, it would confirm itself.

    Parameters
    ----------
    advantages : (sections, reach); row i, column d: evidence that sections i and i + d + 1 are of
        the same hand, NaN where there is none.
    leans : (sections, 2); by how much the left half of a section looks further on than its right
        one, by the next sections and by the previous ones; NaN where there are none.
    """
    # from no section mirrored, and as if all pairs agreed: from the first alone, votes may stay too
    # cautious, since the mirrored sections themselves widen the spread
    cautious, bold = (_settled(advantages, share, bold) for bold in (False, True))
    gain = _plausible(advantages, bold[1], share) - _plausible(advantages, cautious[1], share)
    votes, flags = bold if gain > _CLEARLY else cautious
    chance = marginals(votes, _own_votes(leans, np.where(flags, -1.0, 1.0)), share)
    flags = chance > 0.5
    return flags, np.where(flags, chance, 1 - chance)


def _settled(advantages: Floats, share: float, bold: bool) -> tuple[Floats, NDArray[np.bool_]]:
    """Votes of the pairs and which sections are mirrored by them, by votes and weights in turns."""
    sections, reach = advantages.shape
    signs = np.ones(sections)
    votes = np.zeros_like(advantages)
    for turn in range(5):
        votes = np.zeros_like(advantages)
        for step in range(1, reach + 1):
            column = advantages[: sections - step, step - 1]
            agreeing = column * signs[:-step] * signs[step:]
            agreeing = np.abs(column) if bold and turn == 0 else agreeing
            agreeing = agreeing[np.isfinite(agreeing)]
            # a pair that shares a tear must not outvote all others
            most = 2 * max(float(np.median(agreeing)), 0.0) if len(agreeing) else 0.0
            votes[: sections - step, step - 1] = (
                2 * np.nan_to_num(np.clip(column, -most, most)) * weight(agreeing)
            )
        chance = marginals(votes, np.zeros(sections), share)
        signs = np.where(chance > 0.5, -1.0, 1.0)
    return votes, signs < 0


def _own_votes(leans: Floats, signs: Floats) -> Floats:
    """Log odds that each section is as scanned, from the half that looks further on.

    What is usual is that of the sections around, without the section itself, by their hands: tissue
    bends, and a stack of large pieces may be cut anew. What of it could be chance is taken off, so
    that a stack cut straight says nothing.
    """
    sections = len(signs)
    both = np.isfinite(leans).all(axis=1)
    own = np.where(both, leans.mean(axis=1), np.nan_to_num(leans).sum(axis=1))
    place = np.arange(sections)
    apart = np.abs(place[:, None] - place)
    around = (apart > 0) & (apart <= _AROUND) & both
    usual = np.array([np.median((own * signs)[some]) if some.any() else 0.0 for some in around])
    off = leans * signs[:, None] - usual[:, None]
    # one side alone strays further than the mean of both
    single = _spread(off[np.isfinite(off)])
    spread = np.where(both, _spread(off[both].mean(axis=1)), single)
    # a spread of nothing would make everything certain
    variance = np.maximum(spread, np.maximum(0.1 * np.abs(usual), 1e-9)) ** 2
    # of a median of so many
    chance = 0.5 * np.pi * _spread(off[both].mean(axis=1)) ** 2 / np.maximum(around.sum(axis=1), 1)
    known = np.maximum(1 - chance / np.maximum(usual**2, 1e-18), 0.0)
    most = 2 * np.abs(usual)
    return np.asarray(2 * np.clip(own, -most, most) * usual * known / variance)


def _plausible(advantages: Floats, flags: NDArray[np.bool_], share: float) -> float:
    """Log likelihood of hands, each distance with the mean that fits it best, and of their number.

    Up to a constant; evidence is clipped at three times its median size.
    """
    signs = np.where(flags, -1.0, 1.0)
    total = float(flags.sum() * np.log(share) + (~flags).sum() * np.log(1 - share))
    for step in range(1, advantages.shape[1] + 1):
        column = advantages[: len(flags) - step, step - 1] * signs[:-step] * signs[step:]
        column = column[np.isfinite(column)]
        if len(column) and (most := 3 * float(np.median(np.abs(column)))) > 0:
            column = np.clip(column, -most, most)
            unlike = 1 - max(float(column.mean()), 0.0) ** 2 / float((column**2).mean())
            total -= 0.5 * len(column) * float(np.log(max(unlike, 1e-6)))
    return total


def marginals(votes: Floats, own: Floats, share: float) -> Floats:
    """Probability that each section is mirrored: exact, by sums along the stack.

    Parameters
    ----------
    votes : (sections, reach), log odds that sections i and i + d + 1 are of the same hand.
    own : (sections,), log odds that each section is as scanned.
    share : of mirrored sections beforehand.
    """
    sections, reach = votes.shape
    states = np.arange(2**reach)
    # bit d of a state: hand of the section d places back
    bits = (states[:, None] >> np.arange(reach)) & 1
    field_ = np.log([1 - share, share])
    following = ((states << 1) & (2**reach - 1))[:, None] | np.array([0, 1])
    steps = np.zeros((sections, 2**reach, 2))
    for place in range(sections):
        for hand in (0, 1):
            total = np.full(2**reach, field_[hand] + (-0.5 if hand else 0.5) * own[place])
            for step in range(1, min(reach, place) + 1):
                same = bits[:, step - 1] == hand
                total += np.where(same, 0.5, -0.5) * votes[place - step, step - 1]
            steps[place, :, hand] = total
    ahead = np.full((sections + 1, 2**reach), -np.inf)
    ahead[0, 0] = 0.0
    for place in range(sections):
        for hand in (0, 1):
            reached = ahead[place] + steps[place, :, hand]
            np.logaddexp.at(ahead[place + 1], following[:, hand], reached)
    back = np.zeros(2**reach)
    chance = np.zeros(sections)
    for place in reversed(range(sections)):
        whole = ahead[place][:, None] + steps[place] + back[following]
        by_hand = np.logaddexp.reduce(whole, axis=0)
        chance[place] = np.exp(by_hand[1] - np.logaddexp.reduce(by_hand))
        back = np.logaddexp.reduce(steps[place] + back[following], axis=1)
    return chance


def weight(values: Sequence[float] | Floats) -> float:
    """Mean over variance, robustly; 0 where the usual value may as well be none."""
    if not len(values):
        return 0.0
    middle = float(np.median(values))
    # a spread of nothing would make everything certain
    spread = max(_spread(np.asarray(values) - middle), 0.1 * abs(middle), 1e-9)
    return max(middle, 0.0) / spread**2


def _spread(off: Floats) -> float:
    """Standard deviation of differences from what is usual, robustly; 0 for none."""
    if not len(off):
        return 0.0
    # values are heavy-tailed: the median deviation alone, or a plain one, would be wrong by far
    most = 4 * 1.4826 * float(np.median(np.abs(off)))
    return float(np.sqrt(np.mean(np.clip(off, -most, most) ** 2)))
