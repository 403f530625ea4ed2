"""Which pairs of sections are accepted.

The status of a pair is ACCEPTED; UNCERTAIN, if it is used but a person should look at it; or the
reason why it is not used. `judge_pair` decides by what the pair itself shows, `judge_in_stack` by
what only the whole brain shows.
"""

from dataclasses import replace

from cytopipe.formats.tables import ACCEPTED, UNCERTAIN, PairRow

# method of a pair whose transform a person gave
PERSON = "person"
LITTLE_OVERLAP = "too little overlap"
CONFLICT = "handedness conflict"


def judge_pair(clear: bool, overlap: float, min_overlap: float, method: str) -> str:
    """The status of a pair by its own evidence.

    The transform is `clear` if it is better than that of the other handedness (`pairs.align_pair`
    defines this for each method). If the overlap of tissue, a Dice coefficient, is too small, a
    transform by a person becomes uncertain, and any other is not used.
    """
    if overlap < min_overlap:
        return UNCERTAIN if method == PERSON else LITTLE_OVERLAP
    return ACCEPTED if clear else UNCERTAIN


def judge_in_stack(
    pairs: list[PairRow], mirrored: dict[int, bool], largest_mm2: float, min_tissue_share: float
) -> list[PairRow]:
    """The pairs with their final statuses.

    An accepted pair becomes uncertain if it has less tissue than a share of the brain's largest
    section, unless a person gave the transform. A transform that contradicts the handedness of its
    two sections cannot be used.
    """
    final = []
    for pair in pairs:
        status = pair.status
        has_little_tissue = pair.tissue_mm2 < min_tissue_share * largest_mm2
        if status == ACCEPTED and has_little_tissue and pair.method != PERSON:
            status = UNCERTAIN
        differ = mirrored[pair.fixed] != mirrored[pair.moving]
        if pair.rigid is not None and pair.mirrored != differ:
            status = CONFLICT
        final.append(replace(pair, status=status))
    return final
