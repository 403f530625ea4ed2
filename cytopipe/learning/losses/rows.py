"""What every loss returns: a value a patch, and which patches have one."""

from typing import NamedTuple

import torch
from torch import Tensor


class Rows(NamedTuple):
    """Losses of patches; their mean is taken by whoever knows all patches of the batch.

    Attributes
    ----------
    losses : (n,), 0 for a patch that has no target.
    valid : (n,) bool, whether a patch has a target.
    """

    losses: Tensor
    valid: Tensor

    def mean(self) -> Tensor:
        """Scalar: the mean over the patches that have a target, 0 if there are none."""
        return self.losses.sum() / self.valid.sum().clamp(min=1)


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision becomes float32; float64, in which tests compare, stays."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
