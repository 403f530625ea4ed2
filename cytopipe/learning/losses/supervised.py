"""Classification of brain areas: what networks trained from scratch learn."""

import torch
from torch import Tensor
from torch.nn import functional

from cytopipe.learning.losses.patch_losses import PatchLosses, at_least_float32


def supervised(logits: Tensor, labels: Tensor) -> PatchLosses:
    """Cross-entropy of each patch (CytoNet section 3.5).

    Parameters
    ----------
    logits : (n, classes).
    labels : (n,) class numbers.
    """
    losses = functional.cross_entropy(at_least_float32(logits), labels, reduction="none")
    return PatchLosses(losses, torch.ones_like(labels, dtype=torch.bool))
