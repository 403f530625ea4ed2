"""SpatialNCE: patches from nearby places of the cortex shall have similar features."""

import torch
from torch import Tensor

from cytopipe.learning.losses.contrastive import contrast
from cytopipe.learning.losses.rows import Rows, at_least_float32


def spatialnce(
    features: Tensor,
    distances_mm: Tensor,
    *,
    temperature: float,
    sigma_mm: float,
    own: Tensor | None = None,
) -> Rows:
    """The SpatialNCE losses of patches (CytoNet section 1.1, equations 1 and 2).

    Others weigh exp(-d^2 / 2 sigma^2) at a distance d, see `contrast`.

    Parameters
    ----------
    features : (m, d) projected features of all patches of the batch.
    distances_mm : (n, m) from the n patches whose losses are wanted, see `losses.distances`;
        infinite where two can never be similar.
    temperature : tau of the paper, 0.07.
    sigma_mm : bandwidth of the weights, 10 mm.
    own : (n,) which of the m patches the n are; all if not given.

    Returns
    -------
    Rows of n. A patch with nothing within some 13 sigma has no target.
    """
    with torch.autocast(features.device.type, enabled=False):
        weights = torch.exp(-(at_least_float32(distances_mm) ** 2) / (2 * sigma_mm**2))
        return contrast(features, weights, temperature=temperature, own=own)
