"""Which sections are mirrored, from how much better each pair agrees as scanned than mirrored."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cytopipe.numerics.geometry import Floats

# log likelihood by which hands must explain the stack better to be preferred
_CLEARLY = 3.0


def hands(advantages: Floats, share: float) -> tuple[NDArray[np.bool_], Floats]:
    """Which sections are mirrored, and how sure that is (the probability of what is said).

    Each pair votes for equal or different hands; `marginals` weighs all votes at once. What a vote
    at a distance weighs is estimated from the stack, in turns with the hands.

    Parameters
    ----------
    advantages : (sections, reach); row i, column d: evidence that sections i and i + d + 1 are of
        the same hand, NaN where there is none.
    """
    # from no section mirrored, and as if all pairs agreed: from the first alone, votes may stay too
    # cautious, since the mirrored sections themselves widen the spread
    cautious, bold = (_settled(advantages, share, bold) for bold in (False, True))
    gain = _plausible(advantages, bold > 0.5, share)
    gain -= _plausible(advantages, cautious > 0.5, share)
    chance = bold if gain > _CLEARLY else cautious
    flags = chance > 0.5
    return flags, np.where(flags, chance, 1 - chance)


def _settled(advantages: Floats, share: float, bold: bool) -> Floats:
    """Probability that each section is mirrored, by votes and their weights in turns."""
    sections, reach = advantages.shape
    signs = np.ones(sections)
    chance = np.zeros(sections)
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
        chance = marginals(votes, share)
        signs = np.where(chance > 0.5, -1.0, 1.0)
    return chance


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


def marginals(votes: Floats, share: float) -> Floats:
    """Probability that each section is mirrored: exact, by sums along the stack.

    Parameters
    ----------
    votes : (sections, reach), log odds that sections i and i + d + 1 are of the same hand.
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
            total = np.full(2**reach, field_[hand])
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
    off = np.asarray(values) - middle
    # values are heavy-tailed: the median deviation alone, or a plain one, would be wrong by far
    most = 4 * 1.4826 * float(np.median(np.abs(off)))
    spread = float(np.sqrt(np.mean(np.clip(off, -most, most) ** 2)))
    # a spread of nothing would make everything certain
    spread = max(spread, 0.1 * abs(middle), 1e-9)
    return max(middle, 0.0) / spread**2
