"""What the audit says of sections, and how a new order is told in as few words as can be."""

from collections.abc import Sequence
from dataclasses import dataclass

MIRRORED, SWAPPED, ELSEWHERE, NEITHER = "mirrored", "swapped", "elsewhere", "matches neither"


@dataclass(frozen=True)
class Finding:
    """What was found about one section.

    Attributes
    ----------
    index : of the section in the stack as the table has it.
    kind : MIRRORED, SWAPPED, ELSEWHERE or NEITHER.
    others : indices: the section it is swapped with; those that it belongs between, -1 for none
        (an end); or its two neighbours.
    confidence : 0.5 to 1.
    """

    index: int
    kind: str
    others: tuple[int, ...]
    confidence: float


def findings_of(
    order: list[int], swaps: list[tuple[int, ...]], sure: dict[int, float]
) -> list[Finding]:
    """What has to be said of a new order: exchanges of two, and the fewest sections to move."""
    findings = []
    partner: dict[int, int] = {}
    exchanged = [
        (i, at)
        for i, at in enumerate(order)
        if i < at and order[at] == i and i in sure and at in sure
    ]
    for pair in dict.fromkeys([*exchanged, *(tuple(sorted(pair)) for pair in swaps)]):
        if pair[0] in partner or pair[1] in partner:
            continue
        # a section that moved twice was part of no simple exchange
        once = sum(index in other for index in pair for other in swaps) == 2
        if pair in exchanged or once:
            for index, other in (pair, pair[::-1]):
                partner[index] = other
                findings.append(Finding(index, SWAPPED, (other,), min(sure[index], sure[other])))
    # with the exchanges undone, what is still out of order was moved
    settled = [partner.get(index, index) for index in order]
    staying = _longest_rise(settled)
    for place, (index, label) in enumerate(zip(order, settled, strict=True)):
        if label not in staying and index not in partner:
            before = order[place - 1] if place else -1
            after = order[place + 1] if place + 1 < len(order) else -1
            findings.append(Finding(index, ELSEWHERE, (before, after), sure.get(index, 0.5)))
    return findings


def _longest_rise(values: Sequence[int]) -> set[int]:
    """The values of a longest increasing subsequence."""
    chains: list[list[int]] = []
    longest: list[int] = []
    for value in values:
        best: list[int] = []
        for chain in chains:
            if chain[-1] < value and len(chain) > len(best):
                best = chain
        chains.append([*best, value])
        longest = chains[-1] if len(chains[-1]) > len(longest) else longest
    return set(longest)
