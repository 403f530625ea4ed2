"""Synchronised batch norm: over the patches of all processes (CytoNet section 3.9)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cytopipe.learning import distributed
from cytopipe.learning.distributed import World


def synchronise(model: nn.Module, world: World) -> None:
    """Make the batch norm layers of a model synchronise over all processes.

    Weights, buffers and their names stay the same. GPUs use torch's SyncBatchNorm, which does not
    support the CPU.
    """
    if world.size == 1:
        return
    if world.device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return
    for name, child in list(model.named_children()):
        if isinstance(child, _BatchNorm):
            model.add_module(name, SharedBatchNorm(child, world))
        else:
            synchronise(child, world)


class SharedBatchNorm(_BatchNorm):
    """Batch norm over all processes, each of which has the same number of patches."""

    def __init__(self, layer: _BatchNorm, world: World) -> None:
        super().__init__(layer.num_features, layer.eps, layer.momentum, affine=layer.affine)
        self.weight, self.bias = layer.weight, layer.bias
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(layer, name))
        self._world = world
        self.train(layer.training)

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept any number of dimensions after the channels."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        values = input.to(torch.promote_types(input.dtype, torch.float32))
        axes = [axis for axis in range(values.ndim) if axis != 1]
        shape = [1, -1] + [1] * (values.ndim - 2)
        count = self._world.size * values.numel() / values.shape[1]
        mean = distributed.total(values.sum(axes), self._world) / count
        centred = values - mean.view(shape)
        variance = distributed.total((centred**2).sum(axes), self._world) / count
        self._update(mean.detach(), variance.detach() * count / (count - 1))
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return (centred * scale.view(shape) + self.bias.view(shape)).to(input.dtype)

    def _update(self, mean: Tensor, variance: Tensor) -> None:
        """Update the running statistics as torch's layers do."""
        buffers: Any = self
        buffers.num_batches_tracked += 1
        buffers.running_mean.lerp_(mean.to(buffers.running_mean.dtype), self.momentum)
        buffers.running_var.lerp_(variance.to(buffers.running_var.dtype), self.momentum)
