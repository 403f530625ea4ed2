"""The core of the contrastive losses: each says by weights which other patches are similar."""

import torch
from torch import Tensor
from torch.nn import functional

from cytopipe.learning.losses.rows import Rows, at_least_float32


def contrast(
    features: Tensor, weights: Tensor, *, temperature: float, own: Tensor | None = None
) -> Rows:
    """Cross-entropy between similarities of features and weights, for each patch.

    Patch i has softmax probabilities p_ij over all j but i, by the cosine similarity of features
    divided by the temperature. Its loss is -sum_j w_ij log p_ij / sum_j w_ij over all j but i.

    Parameters
    ----------
    features : (m, d) of all patches of the batch, of any scale; normalised here.
    weights : (n, m), not negative, of the n patches whose losses are wanted; what a patch weighs
        for itself is ignored.
    temperature : tau.
    own : (n,) which of the m patches these are; all if not given.

    Returns
    -------
    Rows of n. A patch whose weights all vanish in float32 has no target.
    """
    # float32: exp(1 / 0.07) overflows float16, and bfloat16 has no digits left for the differences
    with torch.autocast(features.device.type, enabled=False):
        z = functional.normalize(at_least_float32(features), dim=1)
        everyone = torch.arange(len(z), device=z.device)
        own = everyone if own is None else own
        itself = own[:, None] == everyone
        similarity = (z[own] @ z.T / temperature).masked_fill(itself, float("-inf"))
        log_probability = functional.log_softmax(similarity, dim=1).masked_fill(itself, 0)
        weights = weights.to(z.dtype).masked_fill(itself, 0)
        total = weights.sum(1)
        valid = total >= torch.finfo(torch.float32).tiny
        losses = -(weights * log_probability).sum(1) / total.where(valid, torch.ones_like(total))
        return Rows(losses.where(valid, torch.zeros_like(losses)), valid)
