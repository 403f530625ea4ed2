"""Which pairs of sections are accepted.

The status of a pair is ACCEPTED; UNCERTAIN, if it is used but a person should look at it; or the
reason why it is not used. `judge_pair` decides by what the pair itself shows, `judge_in_stack` by
what only the whole brain shows.
"""

from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np

from cytopipe.alignment.links import PERSON, Link
from cytopipe.formats.tables import ACCEPTED, UNCERTAIN, PairRow

LITTLE_OVERLAP = "too little overlap"
CONFLICT = "handedness conflict"


def judge_pair(confirmed: bool, overlap: float, min_overlap: float, method: str) -> str:
    """The status of a pair by its own evidence.

    A transform is accepted if separate parts of the tissue have `confirmed` it (`pairwise.parts`),
    or if a person gave it. If the overlap of tissue, a Dice coefficient, is too small, a transform
    by a person becomes uncertain, and any other is not used.
    """
    if overlap < min_overlap:
        return UNCERTAIN if method == PERSON else LITTLE_OVERLAP
    return ACCEPTED if confirmed or method == PERSON else UNCERTAIN


def judge_in_stack(pairs: list[PairRow], mirrored: dict[int, bool]) -> list[PairRow]:
    """The pairs with their final statuses.

    A transform that contradicts the handedness of its two sections cannot be used.
    """
    final = []
    for pair in pairs:
        differ = mirrored[pair.fixed] != mirrored[pair.moving]
        is_against = pair.rigid is not None and pair.mirrored != differ
        final.append(replace(pair, status=CONFLICT if is_against else pair.status))
    return final


def contradicted(
    links: list[Link], sizes_um: dict[int, tuple[float, float]], tolerance_um: float
) -> set[tuple[int, int]]:
    """The certain pairs (fixed, moving) that triangles of certain pairs speak against.

    Going from a section over a second to a third must lead to the same place as going there
    directly. The pair in most triangles that do not close is dropped first, because the others in
    these triangles may be right. A pair is kept if a triangle with it closes, or if it is in none.

    Parameters
    ----------
    tolerance_um : a triangle closes if no point is off by more, or by more than three standard
        deviations of its pairs.
    """
    between = {link.sections: link for link in links if link.certain}
    partners: dict[int, set[int]] = {}
    for one, other in between:
        partners.setdefault(one, set()).add(other)
        partners.setdefault(other, set()).add(one)
    triangles = {
        tuple(sorted((one, other, third)))
        for one, other in between
        for third in partners[one] & partners[other]
    }
    closes = {
        triangle: _closes(
            [between[pair] for pair in combinations(triangle, 2)], sizes_um, tolerance_um
        )
        for triangle in triangles
    }
    dropped: set[tuple[int, int]] = set()
    while True:
        open_, closed = Counter[tuple[int, int]](), Counter[tuple[int, int]]()
        for triangle, is_closed in closes.items():
            own = list(combinations(triangle, 2))
            if not dropped & set(own):
                (closed if is_closed else open_).update(own)
        suspects = {pair: count for pair, count in open_.items() if not closed[pair]}
        if not suspects:
            return {
                (between[pair].fixed, between[pair].moving)
                for pair in dropped
                if not between[pair].manual
            }
        most = max(suspects.values())
        # of equally suspect pairs, nothing says which is wrong
        dropped |= {pair for pair, count in suspects.items() if count == most}


def _closes(
    links: list[Link], sizes_um: dict[int, tuple[float, float]], tolerance_um: float
) -> bool:
    """Whether the pairs first-second, first-third, second-third of three sections agree."""
    near, across, far = links
    first, second = near.sections
    start_um = np.array([[0.25, 0.25], [0.75, 0.75]]) * sizes_um[first]
    around_um = far.to(across.sections[1])(near.to(second)(start_um))
    off_um = np.linalg.norm(around_um - across.to(across.sections[1])(start_um), axis=1)
    sigma_um = np.linalg.norm([link.sigma_um for link in links])
    return bool(off_um.max() <= max(tolerance_um, 3 * sigma_um))
