"""What every loss returns: one value per patch, and which patches have one."""

from typing import NamedTuple

import torch
from torch import Tensor


class PatchLosses(NamedTuple):
    """Losses of patches, not yet averaged: `distributed.mean` averages over all processes.

    Attributes
    ----------
    values : (n,), 0 for a patch without a target.
    valid : (n,) bool, whether a patch has a target.
    """

    values: Tensor
    valid: Tensor

    def mean(self) -> Tensor:
        """Scalar: the mean over the patches that have a target, 0 if none has one."""
        return self.values.sum() / self.valid.sum().clamp(min=1)


def at_least_float32(values: Tensor) -> Tensor:
    """Convert half precision to float32; keep float64, which the tests use."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
