"""InfoNCE with soft targets: the common core of SpatialNCE, SupCon and SimCLR."""

import torch
from torch import Tensor
from torch.nn import functional

from cytopipe.learning.losses.patch_losses import PatchLosses, at_least_float32


def infonce(
    embeddings: Tensor, weights: Tensor, *, temperature: float, own: Tensor | None = None
) -> PatchLosses:
    """Contrastive loss of each patch for any similarity weights (CytoNet section 1.1, equation 1).

        L_i = - sum_{j != i} w_ij log p_ij / sum_{j != i} w_ij
        p_ij = exp(z_i . z_j / tau) / sum_{k != i} exp(z_i . z_k / tau)

    Parameters
    ----------
    embeddings : (m, d) of all patches of the batch; z in the formula after scaling to unit length.
    weights : (n, m) non-negative, one row per patch whose loss is wanted. The weight of a patch
        for itself is ignored.
    temperature : tau.
    own : (n,) indices of those n patches among the m; all if omitted.

    Returns
    -------
    PatchLosses of n. A patch whose weights are all zero in float32 has no target.
    """
    # float32: exp(1 / 0.07) overflows float16, and bfloat16 is too coarse for the differences
    with torch.autocast(embeddings.device.type, enabled=False):
        z = functional.normalize(at_least_float32(embeddings), dim=1)
        everyone = torch.arange(len(z), device=z.device)
        own = everyone if own is None else own
        itself = own[:, None] == everyone
        similarity = (z[own] @ z.T / temperature).masked_fill(itself, float("-inf"))
        log_p = functional.log_softmax(similarity, dim=1).masked_fill(itself, 0)
        weights = weights.to(z.dtype).masked_fill(itself, 0)
        total = weights.sum(1)
        valid = total >= torch.finfo(torch.float32).tiny
        losses = -(weights * log_p).sum(1) / total.where(valid, torch.ones_like(total))
        return PatchLosses(losses.where(valid, torch.zeros_like(losses)), valid)
