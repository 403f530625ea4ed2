"""SimCLR: two views of the same patch should have similar embeddings."""

from torch import Tensor

from cytopipe.learning.losses.infonce import infonce
from cytopipe.learning.losses.patch_losses import PatchLosses


def simclr(
    embeddings: Tensor, patches: Tensor, *, temperature: float, own: Tensor | None = None
) -> PatchLosses:
    """NT-Xent loss of each view (Chen et al. 2020, equation 1; CytoNet section 3.5).

    `infonce` with weight 1 for the other view of the same patch and 0 for all others.

    Parameters
    ----------
    embeddings : (m, d) outputs of the projection head for all views of the batch.
    patches : (m,) which patch each view shows.
    temperature : tau; 0.07 in the paper.
    own : (n,) indices of the views whose losses are wanted; all if omitted.

    Returns
    -------
    PatchLosses of n.
    """
    same = (patches if own is None else patches[own])[:, None] == patches
    return infonce(embeddings, same, temperature=temperature, own=own)
