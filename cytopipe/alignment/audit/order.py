"""Which sections are out of order, and which are scanned face down, from how alike sections are.

Nothing is taken from a truth or from other brains: what is usual between neighbours of this very
stack says how much a contradiction weighs. A measure of agreement is positive where the stack is
as its table says; its mean m and standard deviation s over the stack (robust: median and median
absolute deviation) make a value v a log odds of 2 m v / s^2 for the table against the
contradiction, which would have given -v. With the odds beforehand this is the confidence.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from cytopipe import logs
from cytopipe.alignment.audit.findings import MIRRORED, NEITHER, Finding, findings_of
from cytopipe.alignment.audit.mirroring import hands, weight
from cytopipe.numerics.geometry import Floats
from cytopipe.study.config import Audit


class Pair(NamedTuple):
    """Likeness of two sections as scanned and with the second mirrored, and of their halves.

    Attributes
    ----------
    plain, mirrored : of the whole sections.
    plain_left, mirrored_left : likeness in the image's left half of the first less that in its
        right half, the second section as scanned and mirrored.
    """

    plain: float
    mirrored: float
    plain_left: float
    mirrored_left: float

    def turned(self) -> "Pair":
        """The same with the second section as the first."""
        return self._replace(mirrored_left=-self.mirrored_left)


# of two sections, by their indices, the smaller first
Compare = Callable[[int, int], Pair]

# places; exchanges of sections so far apart are tried throughout, others where one looks foreign
_STEPS = 3
# sections that are compared with the whole stack, at most: where many look odd it is the noise, and
# four cost as much as all neighbours do
MOST_SEARCHED = 24


@dataclass
class _Stack:
    """Sections in the order found so far, and their likeness, compared when first asked for."""

    order: list[int]
    compare: Compare
    params: Audit
    known: dict[tuple[int, int], Pair] = field(default_factory=dict)
    searched: set[int] = field(default_factory=set)
    left_out: set[int] = field(default_factory=set)

    def pair(self, one: int, other: int) -> Pair:
        key = (min(one, other), max(one, other))
        if key not in self.known:
            self.known[key] = self.compare(*key)
        return self.known[key] if one < other else self.known[key].turned()

    def alike(self, one: int, other: int) -> float:
        return max(self.pair(one, other)[:2])


def audit(count: int, compare: Compare, params: Audit) -> list[Finding]:
    """All findings on a stack of `count` sections, by index; order first, then hands.

    Neighbours up to a reach are compared with one another; of the sections that match neither
    neighbour the worst `MOST_SEARCHED` with all others, and the log says how many were left out.
    Fewer than 8 sections say too little of what is usual: no findings.
    """
    if count < 8:
        return []
    stack = _Stack(list(range(count)), compare, params)
    findings = _order(stack)
    flags, confidences = hands(_advantages(stack), _leans(stack), params.mirrored_share)
    for place, index in enumerate(stack.order):
        if flags[place] and confidences[place] >= params.min_confidence:
            findings.append(Finding(index, MIRRORED, (), float(confidences[place])))
    return sorted(findings, key=lambda finding: (finding.index, finding.kind))


# --- hands


def _advantages(stack: _Stack) -> Floats:
    """(places, reach): likeness as scanned less that mirrored, with the 1st, 2nd, ... next."""
    count, reach = len(stack.order), stack.params.hand_reach
    table = np.full((count, reach), np.nan)
    for place in range(count):
        for step in range(1, min(reach, count - 1 - place) + 1):
            pair = stack.pair(stack.order[place], stack.order[place + step])
            table[place, step - 1] = pair.plain - pair.mirrored
    return table


def _leans(stack: _Stack) -> Floats:
    """(places, 2): by how much a section's left half looks further on; by the next, the previous.

    Let the left halves of a stack show t steps more than the right ones. Then the left half of a
    section is |k - t| steps from the right half of the k-th next, its right half k + t from the
    left one, and like halves are k apart. Unlike halves meet in the mirrored picture where hands
    are equal, and otherwise in that as scanned, with the sign of the first section's hand: the sum
    of the two tells the hand of the first section, their difference that of the second. A half
    that is poor counts one way with the next and the other way with the previous sections.
    """
    count, reach = len(stack.order), stack.params.hand_reach
    leans = np.full((count, 2, reach), np.nan)
    for place in range(count):
        for step in range(1, min(reach, count - 1 - place) + 1):
            pair = stack.pair(stack.order[place], stack.order[place + step])
            leans[place, 0, step - 1] = pair.mirrored_left + pair.plain_left
            leans[place + step, 1, step - 1] = pair.mirrored_left - pair.plain_left
    some = np.isfinite(leans)
    total = np.where(some, leans, 0).sum(axis=2)
    return np.where(some.any(axis=2), total / np.maximum(some.sum(axis=2), 1), np.nan)


# --- order


def _order(stack: _Stack) -> list[Finding]:
    """Put the stack into the order that fits, and say what was moved."""
    params = stack.params
    sure: dict[int, float] = {}
    swaps: list[tuple[int, ...]] = []
    for _ in range(len(stack.order)):
        move = _best_swap(stack) or _best_move(stack)
        if move is None:
            break
        order, moved, confidence = move
        for index in moved:
            sure[index] = min(confidence, sure.get(index, 1.0))
        if len(moved) == 2:
            swaps.append(moved)
        stack.order = order
    if left_out := stack.left_out - stack.searched:
        logs.info(
            f"{len(left_out)} more sections look odd and were held against their neighbours alone"
        )
    findings = findings_of(stack.order, swaps, sure)
    named = {finding.index for finding in findings}
    # the worst first, and without it again: its neighbours are not to blame
    rest = list(stack.order)
    while len(rest) > params.hand_reach:
        usual = _belonging(stack, rest)
        place = int(np.argmin(usual)) + 1
        confidence = _probability(_log_odds(usual[place - 1], usual, params))
        if confidence < params.min_confidence:
            break
        index = rest.pop(place)
        if index not in named:
            around = (rest[place - 1], rest[place])
            findings.append(Finding(index, NEITHER, around, confidence))
    return findings


_Move = tuple[list[int], tuple[int, ...], float]


def _fits(stack: _Stack) -> Floats:
    """How much more alike a section is to its neighbours than they to each other; NaN at ends."""
    fits = np.full(len(stack.order), np.nan)
    for place in range(1, len(fits) - 1):
        before, here, after = stack.order[place - 1 : place + 2]
        across = stack.alike(before, after)
        fits[place] = 0.5 * (stack.alike(before, here) + stack.alike(here, after)) - across
    return fits


def _belonging(stack: _Stack, order: list[int]) -> Floats:
    """Likeness of every section but the ends to its neighbours, less halfway to that of strangers.

    Strangers are sections of this stack at the reach of the hands; halfway, so that a stranger
    comes to minus the usual value.
    """
    reach = stack.params.hand_reach
    next_ = np.array([stack.alike(one, other) for one, other in pairwise(order)])
    apart = [stack.alike(one, far) for one, far in zip(order, order[reach:], strict=False)]
    return 0.5 * (next_[1:] + next_[:-1]) - 0.5 * (np.median(next_) + np.median(apart))


def _suspects(stack: _Stack) -> list[int]:
    """Places of sections less alike to their neighbours than those to each other; and both ends.

    The worst come first to the comparison with all others, until `MOST_SEARCHED` had it.
    """
    fits = np.nan_to_num(_fits(stack), nan=-np.inf)
    odd = [stack.order[place] for place in np.argsort(fits, kind="stable") if not fits[place] > 0]
    new = [index for index in odd if index not in stack.searched]
    room = MOST_SEARCHED - len(stack.searched)
    stack.left_out.update(new[room:])
    if new := new[:room]:
        for index in logs.progress(new, len(new), "comparing sections that look odd with all"):
            for other in stack.order:
                if other != index:
                    stack.pair(index, other)
        stack.searched.update(new)
    return [place for place, index in enumerate(stack.order) if index in stack.searched & set(odd)]


def _swap_votes(stack: _Stack, one: int, other: int) -> list[float]:
    """What the sections around two places vote for leaving them as they are.

    The mean vote of those nearer to the first, and of those nearer to the other; one number where
    the stack's end leaves one side.
    """
    order, reach, step = stack.order, stack.params.order_reach, abs(one - other)
    votes: dict[int, list[float]] = {one: [], other: []}
    near_both = {at + off for at in (one, other) for off in range(-reach, reach + 1)}
    for place in sorted(p for p in near_both if 0 <= p < len(order)):
        index = order[place]
        apart = abs(place - one), abs(place - other)
        if 0 in apart or apart[0] == apart[1]:
            continue
        if step <= _STEPS and max(apart) >= reach + step:
            continue
        near, far = (one, other) if apart[0] < apart[1] else (other, one)
        votes[near].append(stack.alike(index, order[near]) - stack.alike(index, order[far]))
    return [float(np.mean(side)) for side in votes.values() if side]


def _best_swap(stack: _Stack) -> _Move | None:
    """The exchange of two sections that the sections around them want most."""
    count, params = len(stack.order), stack.params
    tried = {
        (place, place + step): _swap_votes(stack, place, place + step)
        for step in range(1, _STEPS + 1)
        for place in range(count - step)
    }
    usual: dict[int, list[list[float]]] = {step: [] for step in range(1, _STEPS + 1)}
    for (one, other), votes in tried.items():
        usual[other - one].append(votes)
    for place in _suspects(stack):
        target = _best_place(stack, place)
        for other in range(max(0, target - 1), min(count, target + 2)):
            if abs(other - place) > _STEPS:
                pair = (min(place, other), max(place, other))
                tried[pair] = _swap_votes(stack, *pair)
    odds = {}
    for (one, other), votes in tried.items():
        # the largest step stands for more: sections further apart differ no less
        like = usual[min(other - one, _STEPS)]
        # one side alone weighs as much as single sides do
        means = [v for vs in like for v in (vs if len(votes) == 1 else [float(np.mean(vs))])]
        mean = float(np.mean(votes))
        # where the sides disagree by more, a section is foreign or poor, not exchanged
        if max(votes) < abs(mean):
            odds[one, other] = _log_odds(mean, means, params)
    if not odds:
        return None
    one, other = max(odds, key=lambda pair: odds[pair])
    confidence = _probability(odds[one, other])
    if confidence < params.min_confidence:
        return None
    order = list(stack.order)
    order[one], order[other] = order[other], order[one]
    return order, (stack.order[one], stack.order[other]), confidence


def _best_place(stack: _Stack, place: int) -> int:
    """The place between whose neighbours the section at `place` would fit best.

    Whatever lies there itself does not count: it may be the other of two exchanged sections.
    """
    index, last = stack.order[place], len(stack.order) - 1
    likeness = []
    for other in range(last + 1):
        around = [stack.order[i] for i in (other - 1, other + 1) if 0 <= i <= last]
        values = [stack.alike(index, i) for i in around if i != index]
        likeness.append(float(np.mean(values)) if other != place and values else -np.inf)
    return int(np.argmax(likeness))


def _best_move(stack: _Stack) -> _Move | None:
    """The section that fits best between two others, far from where it is.

    Its likeness to the two on either side of the gap is held against that to its neighbours; what
    is usual is the likeness of neighbours less that of sections at the reach.
    """
    order, params = stack.order, stack.params
    reach = params.order_reach
    usual = [
        stack.alike(one, next_) - stack.alike(one, far)
        for one, next_, far in zip(order, order[1:], order[reach:], strict=False)
    ]
    best: tuple[float, float, int, int] | None = None
    for place in _suspects(stack):
        index = order[place]
        rest = order[:place] + order[place + 1 :]
        row = [stack.alike(index, i) for i in rest]
        # between two sections that are less alike to each other, as a section is where it belongs
        gaps = {
            gap: mean
            for gap in range(1, len(rest))
            if abs(gap - place) > reach
            and (mean := _at_gap(row, gap)) > stack.alike(rest[gap - 1], rest[gap])
        }
        if not gaps:
            continue
        gap = max(gaps, key=lambda at: gaps[at])
        gain = gaps[gap] - _at_gap(row, place)
        confidence = _probability(_log_odds(-gain, usual, params))
        if confidence >= params.min_confidence and (best is None or gain > best[0]):
            best = gain, confidence, place, gap
    if best is None:
        return None
    _, confidence, place, gap = best
    rest = order[:place] + order[place + 1 :]
    return rest[:gap] + [order[place]] + rest[gap:], (order[place],), confidence


def _at_gap(row: Sequence[float], gap: int) -> float:
    """Mean likeness to the sections on either side of a gap; an end has one side."""
    return float(np.mean(row[max(0, gap - 1) : gap + 1]))


# --- confidence


def _log_odds(value: float, usual: Sequence[float] | Floats, params: Audit) -> float:
    """Of the stack not being as its table says, where agreement is `value`."""
    share = params.misplaced_share
    return float(-2 * value * weight(usual) + np.log(share / (1 - share)))


def _probability(log_odds: float) -> float:
    return float(1 / (1 + np.exp(-np.clip(log_odds, -50, 50))))
