"""Which sections are out of order or scanned face down, from how similar sections are.

Neighbours of the same stack show how much a contradiction weighs. A measure of agreement is
positive if the stack is as its table says. With its robust mean m and standard deviation s over the
stack, a value v gives log odds of 2 m v / s^2 for the table against the contradiction, which would
have given -v. With the prior odds, this is the confidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from cytopipe import logs
from cytopipe.alignment.audit.comparison import Compare, Comparison
from cytopipe.alignment.audit.findings import MIRRORED, NEITHER, AuditFinding, order_findings
from cytopipe.alignment.audit.mirroring import mirrored_sections, weight
from cytopipe.numerics.geometry import Floats
from cytopipe.study.config import Audit

# with fewer sections, too little is known of what is usual; chosen, not measured
_MIN_SECTIONS = 8
# for all sections, exchanges with a section at most this many places away are tried; chosen, not
# measured
_STEPS = 3


@dataclass
class _Stack:
    """Indices of the sections in the order determined so far; compared when first needed."""

    order: list[int]
    compare: Compare
    params: Audit
    comparisons: dict[tuple[int, int], Comparison] = field(default_factory=dict)
    searched: set[int] = field(default_factory=set)  # sections compared with all others
    left_out: set[int] = field(default_factory=set)  # sections that look odd, not searched

    def comparison(self, one: int, other: int) -> Comparison:
        key = (min(one, other), max(one, other))
        if key not in self.comparisons:
            self.comparisons[key] = self.compare(*key)
        return self.comparisons[key] if one < other else self.comparisons[key].swapped()

    def similarity(self, one: int, other: int) -> float:
        """Similarity of two sections in the better handedness."""
        return max(self.comparison(one, other)[:2])


def audit(count: int, compare: Compare, params: Audit) -> list[AuditFinding]:
    """All findings in a stack of `count` sections, by index.

    Neighbours up to a reach are compared with each other. Of the sections that look odd, the worst
    `max_searched` are compared with all others; the log says how many were left out.
    """
    if count < _MIN_SECTIONS:
        return []
    stack = _Stack(list(range(count)), compare, params)
    for one in logs.progress(range(count), count, "comparing neighbouring sections"):
        for other in range(one + 1, min(count, one + 1 + params.hand_reach)):
            stack.comparison(one, other)
    findings = _find_order(stack)
    advantages, leans = _handedness_evidence(stack)
    flags, confidences = mirrored_sections(advantages, leans, params.mirrored_share)
    for place, index in enumerate(stack.order):
        if flags[place] and confidences[place] >= params.min_confidence:
            findings.append(AuditFinding(index, MIRRORED, (), float(confidences[place])))
    return sorted(findings, key=lambda finding: (finding.index, finding.kind))


def _handedness_evidence(stack: _Stack) -> tuple[Floats, Floats]:
    """Advantages (places, reach) and leans (places, 2), as in `mirrored_sections`.

    If the left halves of a stack show t steps more than the right ones, the left half of a section
    is |k - t| steps from the right half of the k-th next section, its right half is k + t from the
    left one, and halves of the same side are k apart. Left meets right in the mirrored image if the
    handedness is equal, otherwise in that as scanned, with the sign of the first section's
    handedness. So the sum of the two shows the handedness of the first section, and their
    difference that of the second. A poor half counts one way with the next sections and the other
    way with the previous ones.
    """
    count, reach = len(stack.order), stack.params.hand_reach
    advantages, leans = np.full((count, reach), np.nan), np.full((count, 2, reach), np.nan)
    for place in range(count):
        for step in range(1, min(reach, count - 1 - place) + 1):
            pair = stack.comparison(stack.order[place], stack.order[place + step])
            advantages[place, step - 1] = pair.plain - pair.mirrored
            leans[place, 0, step - 1] = pair.mirrored_left + pair.plain_left
            leans[place + step, 1, step - 1] = pair.mirrored_left - pair.plain_left
    known = np.isfinite(leans)
    total = np.where(known, leans, 0).sum(axis=2)
    means = np.where(known.any(axis=2), total / np.maximum(known.sum(axis=2), 1), np.nan)
    return advantages, means


def _find_order(stack: _Stack) -> list[AuditFinding]:
    """Put the stack into the best order; return what was moved and what fits nowhere."""
    params = stack.params
    confidences: dict[int, float] = {}
    swaps: list[tuple[int, ...]] = []
    for _ in range(len(stack.order)):
        move = _best_swap(stack) or _best_move(stack)
        if move is None:
            break
        order, moved, confidence = move
        for index in moved:
            confidences[index] = min(confidence, confidences.get(index, 1.0))
        if len(moved) == 2:
            swaps.append(moved)
        stack.order = order
    if left_out := stack.left_out - stack.searched:
        logs.info(
            f"{len(left_out)} more sections look odd and were compared with their neighbours only"
        )
    findings = order_findings(stack.order, swaps, confidences)
    named = {finding.index for finding in findings}
    # the worst section first, then again without it, so that its neighbours are not blamed
    rest = list(stack.order)
    while len(rest) > params.hand_reach:
        fits = _fits_to_neighbours(stack, rest)
        place = int(np.argmin(fits)) + 1
        confidence = _probability(_log_odds(fits[place - 1], fits, params))
        if confidence < params.min_confidence:
            break
        index = rest.pop(place)
        if index not in named:
            neighbours = (rest[place - 1], rest[place])
            findings.append(AuditFinding(index, NEITHER, neighbours, confidence))
    return findings


# the new order, the sections that moved, the confidence
_Move = tuple[list[int], tuple[int, ...], float]


def _fits_to_neighbours(stack: _Stack, order: list[int]) -> Floats:
    """Similarity of each section but the ends to its neighbours, less halfway to strangers.

    Strangers are sections at the reach of the handedness, so a stranger has minus the usual value.
    """
    reach = stack.params.hand_reach
    near = np.array([stack.similarity(one, other) for one, other in pairwise(order)])
    far = [stack.similarity(one, other) for one, other in zip(order, order[reach:], strict=False)]
    return 0.5 * (near[1:] + near[:-1]) - 0.5 * (np.median(near) + np.median(far))


def _suspects(stack: _Stack) -> list[int]:
    """Places of sections that look odd: ends, and those whose neighbours are more like each other.

    The worst are the first to be compared with all others, up to `max_searched` of them.
    """
    order = stack.order
    fits = np.full(len(order), -np.inf)
    for place in range(1, len(order) - 1):
        before, here, after = order[place - 1 : place + 2]
        to_neighbours = 0.5 * (stack.similarity(before, here) + stack.similarity(here, after))
        fits[place] = to_neighbours - stack.similarity(before, after)
    odd = [order[place] for place in np.argsort(fits, kind="stable") if not fits[place] > 0]
    new = [index for index in odd if index not in stack.searched]
    # if many sections look odd, the reason is noise
    room = stack.params.max_searched - len(stack.searched)
    stack.left_out.update(new[room:])
    if new := new[:room]:
        for index in logs.progress(new, len(new), "comparing sections that look odd with all"):
            for other in order:
                if other != index:
                    stack.comparison(index, other)
        stack.searched.update(new)
    return [place for place, index in enumerate(order) if index in stack.searched & set(odd)]


def _swap_votes(stack: _Stack, one: int, other: int) -> list[float]:
    """Mean votes for leaving two places as they are, of the sections nearer to either of them.

    There is only one if the other side lies beyond the end of the stack.
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
        vote = stack.similarity(index, order[near]) - stack.similarity(index, order[far])
        votes[near].append(vote)
    return [float(np.mean(side)) for side in votes.values() if side]


def _best_swap(stack: _Stack) -> _Move | None:
    """The exchange of two sections that the sections around them support most."""
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
        # larger steps use the votes of the largest one, since such sections differ no less
        peers = usual[min(other - one, _STEPS)]
        # a vote of one side is compared with those of single sides
        single = len(votes) == 1
        usual_votes = [v for sides in peers for v in (sides if single else [float(np.mean(sides))])]
        mean = float(np.mean(votes))
        # if the sides disagree by more, a section is foreign or poor, not exchanged
        if max(votes) < abs(mean):
            odds[one, other] = _log_odds(mean, usual_votes, params)
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
    """The place where the section at `place` would fit best, whatever section is there now."""
    index, last = stack.order[place], len(stack.order) - 1
    similarities = []
    for other in range(last + 1):
        around = [stack.order[i] for i in (other - 1, other + 1) if 0 <= i <= last]
        values = [stack.similarity(index, i) for i in around if i != index]
        similarities.append(float(np.mean(values)) if other != place and values else -np.inf)
    return int(np.argmax(similarities))


def _best_move(stack: _Stack) -> _Move | None:
    """The section that fits best between two others, far from where it is.

    The usual agreement is the similarity of neighbours less that of sections at the reach.
    """
    order, params = stack.order, stack.params
    reach = params.order_reach
    usual = [
        stack.similarity(one, near) - stack.similarity(one, far)
        for one, near, far in zip(order, order[1:], order[reach:], strict=False)
    ]
    best: tuple[float, float, int, int] | None = None
    for place in _suspects(stack):
        index = order[place]
        rest = order[:place] + order[place + 1 :]
        row = [stack.similarity(index, i) for i in rest]
        # a section belongs between two others if these are less similar to each other
        gaps = {
            gap: mean
            for gap in range(1, len(rest))
            if abs(gap - place) > reach
            and (mean := _at_gap(row, gap)) > stack.similarity(rest[gap - 1], rest[gap])
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
    """Mean similarity to the sections beside a gap; there is only one at an end."""
    return float(np.mean(row[max(0, gap - 1) : gap + 1]))


def _log_odds(value: float, usual: Sequence[float] | Floats, params: Audit) -> float:
    """Log odds that the stack is not as its table says, if the agreement is `value`."""
    share = params.misplaced_share
    return float(-2 * value * weight(usual) + np.log(share / (1 - share)))


def _probability(log_odds: float) -> float:
    return float(1 / (1 + np.exp(-np.clip(log_odds, -50, 50))))
