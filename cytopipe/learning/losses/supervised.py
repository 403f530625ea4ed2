"""Classification: what networks trained from scratch learn."""

import torch
from torch import Tensor
from torch.nn import functional

from cytopipe.learning.losses.rows import Rows, at_least_float32


def supervised(logits: Tensor, labels: Tensor) -> Rows:
    """The cross-entropies of patches (CytoNet section 3.5), of logits (n, classes), labels (n,)."""
    with torch.autocast(logits.device.type, enabled=False):
        losses = functional.cross_entropy(at_least_float32(logits), labels, reduction="none")
        return Rows(losses, torch.ones_like(labels, dtype=torch.bool))
