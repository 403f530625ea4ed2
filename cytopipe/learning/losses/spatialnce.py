"""SpatialNCE: patches from nearby places of the cortex shall have similar features."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Distance = Callable[[Tensor, Tensor], Tensor]


def euclidean_mm(a: Tensor, b: Tensor) -> Tensor:
    """Distances (n, m) of positions (n, 3) and (m, 3), in their unit.

    By differences: the expansion |a|^2 + |b|^2 - 2ab loses the small distances that matter here.
    """
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def spatialnce(
    features: Tensor,
    positions_mm: Tensor,
    *,
    temperature: float,
    sigma_mm: float,
    distance: Distance = euclidean_mm,
) -> Tensor:
    """The mean SpatialNCE loss of a batch (CytoNet section 1.1, equations 1 and 2).

    Each patch i has softmax probabilities over all others by the cosine similarity of their
    features, and the loss is their cross-entropy with the weights exp(-d_ij^2 / 2 sigma^2),
    normalised to one over all j but i.

    Parameters
    ----------
    features : (n, d) projected features of any scale; normalised here.
    positions_mm : (n, 3) positions in the template, finite.
    temperature : tau of the paper, 0.07.
    sigma_mm : bandwidth of the weights, 10 mm.
    distance : gives (n, n) distances in mm of two sets of positions.

    Returns
    -------
    Scalar. The mean over the rows that have a neighbour; a row whose weights all vanish in float32
    (nothing within some 13 sigma) has no target and contributes nothing.
    """
    # float32: exp(1 / 0.07) overflows float16, and bfloat16 has no digits left for the differences
    with torch.autocast(features.device.type, enabled=False):
        z = functional.normalize(features.float(), dim=1)
        itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
        similarity = (z @ z.T / temperature).masked_fill(itself, float("-inf"))
        log_probability = functional.log_softmax(similarity, dim=1).masked_fill(itself, 0)
        squared = distance(positions_mm.float(), positions_mm.float()) ** 2
        weights = torch.exp(-squared / (2 * sigma_mm**2)).masked_fill(itself, 0)
        total = weights.sum(1)
        valid = total >= torch.finfo(torch.float32).tiny
        rows = -(weights * log_probability).sum(1) / total.where(valid, torch.ones_like(total))
        return rows.where(valid, torch.zeros_like(rows)).sum() / valid.sum().clamp(min=1)
