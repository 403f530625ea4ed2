"""SupCon: patches of the same brain area should have similar embeddings."""

from torch import Tensor

from cytopipe.learning.losses.infonce import infonce
from cytopipe.learning.losses.patch_losses import PatchLosses


def supcon(
    embeddings: Tensor, labels: Tensor, *, temperature: float, own: Tensor | None = None
) -> PatchLosses:
    """Supervised contrastive loss of each patch (Schiffer et al., ISBI 2021, section 2).

    `infonce` with weight 1 for patches of the same label and 0 for all others. Every patch is seen
    in one view only.

    Parameters
    ----------
    embeddings : (m, d) outputs of the projection head for all patches of the batch.
    labels : (m,) of all patches.
    temperature : tau; 0.07 in the paper.
    own : (n,) indices of the patches whose losses are wanted; all if omitted.

    Returns
    -------
    PatchLosses of n. A patch without another one of its label has no target.
    """
    same = (labels if own is None else labels[own])[:, None] == labels
    return infonce(embeddings, same, temperature=temperature, own=own)
