"""The baseline of the ISBI paper: where a patch lies, and how far apart two patches are."""

import torch
from torch import Tensor

from cytopipe.learning.losses.patch_losses import PatchLosses, at_least_float32

LOCATION = 3
OUTPUTS = LOCATION + 32  # of the head `distance`: a location and an embedding
# the cortex extends about 90 mm from the template's origin: in this unit the targets are of order
# one, as the outputs of a fresh linear layer are, and location and distance have equal weight
UNIT_MM = 100.0


def distance(
    outputs: Tensor, positions_mm: Tensor, next_mm: Tensor, *, own: Tensor | None = None
) -> PatchLosses:
    """Squared errors of location and distance (task of Spitzer et al. 2018; ISBI 2021, section 1).

    The first three outputs are the location in units of 100 mm. The others embed the patch so that
    the Euclidean distance of two embeddings is the distance of the patches in the same unit. Each
    patch is paired with the next one of the batch, the last one with the first. The loss of a patch
    is |location error|^2 + (distance error)^2.

    Parameters
    ----------
    outputs : (m, 35) of all patches of the batch, in its order.
    positions_mm : (n, 3) in the template, of the n patches whose losses are wanted.
    next_mm : (n,) distance of each of them to the next patch, see `learning.distances`. Where it is
        infinite, only the location counts.
    own : (n,) indices of those n patches among the m; all if omitted.

    Returns
    -------
    PatchLosses of n; all have a target.
    """
    values = at_least_float32(outputs)
    own = torch.arange(len(values), device=values.device) if own is None else own
    location, embedding = values[own, :LOCATION], values[:, LOCATION:]
    location_error = ((location - positions_mm.to(values.dtype) / UNIT_MM) ** 2).sum(1)
    # vector_norm: its gradient is 0, not NaN, where two embeddings are equal
    predicted = torch.linalg.vector_norm(
        embedding[own] - embedding[next_patch(own, len(values))], dim=1
    )
    known = torch.isfinite(next_mm)
    zero = torch.zeros_like(predicted)
    target = next_mm.to(values.dtype).where(known, zero) / UNIT_MM
    distance_error = ((predicted - target) ** 2).where(known, zero)
    return PatchLosses(location_error + distance_error, torch.ones_like(known))


def next_patch(own: Tensor, count: int) -> Tensor:
    """Indices of the next patches in a batch of `count`; the first one follows the last."""
    return (own + 1) % count
