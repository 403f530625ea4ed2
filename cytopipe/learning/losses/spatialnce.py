"""SpatialNCE: patches from nearby places of the cortex should have similar embeddings."""

import torch
from torch import Tensor

from cytopipe.learning.losses.infonce import infonce
from cytopipe.learning.losses.patch_losses import PatchLosses


def spatialnce(
    embeddings: Tensor,
    distances_mm: Tensor,
    *,
    temperature: float,
    sigma_mm: float,
    own: Tensor | None = None,
) -> PatchLosses:
    """SpatialNCE loss of each patch (Schiffer et al., CytoNet, section 1.1, equations 1 and 2).

        L_i = - 1 / sum_{j != i} w_ij  sum_{j != i} w_ij log p_ij                     (1)
        p_ij = exp(z_i . z_j / tau) / sum_{k != i} exp(z_i . z_k / tau)
        w_ij = exp(- |p_i - p_j|^2 / (2 sigma^2))                                     (2)

    z are the embeddings scaled to unit length, |p_i - p_j| the distances.

    Parameters
    ----------
    embeddings : (m, d) outputs of the projection head for all patches of the batch.
    distances_mm : (n, m) from the n patches whose losses are wanted to all m, see
        `learning.distances`; infinite between patches that are never similar.
    temperature : tau; 0.07 in the paper (section 3.4).
    sigma_mm : bandwidth of the weights; 10 mm in the paper (section 3.4).
    own : (n,) indices of those n patches among the m; all if omitted.

    Returns
    -------
    PatchLosses of n. A patch with no other patch within about 13 sigma has no target.
    """
    weights = torch.exp(-(distances_mm**2) / (2 * sigma_mm**2))  # equation 2
    return infonce(embeddings, weights, temperature=temperature, own=own)  # equation 1
