"""Findings of the audit, and the fewest of them that describe a new order."""

from dataclasses import dataclass

MIRRORED, SWAPPED, ELSEWHERE, NEITHER = "mirrored", "swapped", "elsewhere", "matches neither"


@dataclass(frozen=True)
class AuditFinding:
    """What looks wrong with one section, by its index in the table.

    `others` are indices: for SWAPPED the other section; for ELSEWHERE the sections that it belongs
    between, -1 beyond an end of the stack; for NEITHER its two neighbours.
    """

    index: int
    kind: str
    others: tuple[int, ...]
    confidence: float


def order_findings(
    order: list[int], swaps: list[tuple[int, ...]], confidences: dict[int, float]
) -> list[AuditFinding]:
    """Describe a new order by exchanges of two sections and the fewest sections to move.

    `swaps` are the exchanges that led to it, `confidences` those of the sections that were moved.
    """
    findings = []
    partner: dict[int, int] = {}
    exchanged = [
        (i, at)
        for i, at in enumerate(order)
        if i < at and order[at] == i and i in confidences and at in confidences
    ]
    for pair in dict.fromkeys([*exchanged, *(tuple(sorted(pair)) for pair in swaps)]):
        if pair[0] in partner or pair[1] in partner:
            continue
        # a section that moved twice was not part of a simple exchange
        once = sum(index in other for index in pair for other in swaps) == 2
        if pair in exchanged or once:
            confidence = min(confidences[index] for index in pair)
            for index, other in (pair, pair[::-1]):
                partner[index] = other
                findings.append(AuditFinding(index, SWAPPED, (other,), confidence))
    # once the exchanges are undone, what is still out of order was moved
    unswapped = [partner.get(index, index) for index in order]
    in_order = _longest_increasing(unswapped)
    for place, (index, label) in enumerate(zip(order, unswapped, strict=True)):
        if label not in in_order and index not in partner:
            before = order[place - 1] if place else -1
            after = order[place + 1] if place + 1 < len(order) else -1
            confidence = confidences.get(index, 0.5)
            findings.append(AuditFinding(index, ELSEWHERE, (before, after), confidence))
    return findings


def _longest_increasing(values: list[int]) -> set[int]:
    """The values of a longest increasing subsequence."""
    chains: list[list[int]] = [[]]
    for value in values:
        shorter = [chain for chain in chains if not chain or chain[-1] < value]
        chains.append([*max(shorter, key=lambda chain: len(chain)), value])
    longest: list[int] = max(chains, key=lambda chain: len(chain))
    return set(longest)
