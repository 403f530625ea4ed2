"""The ISBI paper's baseline: where a patch lies, and how far two patches are apart."""

import torch
from torch import Tensor

from cytopipe.learning.losses.rows import Rows, at_least_float32

LOCATION = 3
EMBEDDING = 32
OUTPUTS = LOCATION + EMBEDDING  # of the head `distance`
# a cortex reaches some 90 mm from the template's origin: in this unit targets are of order one, as
# the outputs of a fresh linear layer are, and location and distance weigh alike
UNIT_MM = 100.0


def distance(
    outputs: Tensor, positions_mm: Tensor, apart_mm: Tensor, *, own: Tensor | None = None
) -> Rows:
    """Squared errors of location and distance (task of Spitzer et al. 2018; ISBI 2021, section 1).

    The first three outputs are the location in units of 100 mm. The others embed the patch so that
    the Euclidean distance of two embeddings is the distance of the patches in the same unit. The
    pairs are each patch with the next one of the batch, the last one with the first. The loss of a
    patch is |location error|^2 + (distance error)^2, both weighed alike.

    Parameters
    ----------
    outputs : (m, 35) of all patches of the batch, in its order.
    positions_mm : (n, 3) in the template, of the n patches whose losses are wanted.
    apart_mm : (n,) distance of each of them to the next patch, see `losses.distances`; where
        it is infinite, the pair has no target and the location counts alone.
    own : (n,) which of the m patches these are; all if not given.

    Returns
    -------
    Rows of n.
    """
    with torch.autocast(outputs.device.type, enabled=False):
        values = at_least_float32(outputs)
        own = torch.arange(len(values), device=values.device) if own is None else own
        place, embedding = values[own, :LOCATION], values[:, LOCATION:]
        away = ((place - positions_mm.to(values.dtype) / UNIT_MM) ** 2).sum(1)
        # vector_norm: its gradient is 0, not NaN, where two embeddings agree
        apart = torch.linalg.vector_norm(
            embedding[own] - embedding[following(own, len(values))], dim=1
        )
        known = torch.isfinite(apart_mm)
        target = apart_mm.to(values.dtype).where(known, torch.zeros_like(apart)) / UNIT_MM
        wrong = ((apart - target) ** 2).where(known, torch.zeros_like(apart))
        return Rows(away + wrong, torch.ones_like(known))


def following(own: Tensor, count: int) -> Tensor:
    """The next patch of a batch of `count`, cyclic: the other one of each pair."""
    return (own + 1) % count
