"""Gradient checkpointing (CytoNet section 3.9): the backward pass recomputes activations.

Only the inputs of the checkpointed blocks are kept in memory, at the cost of a second forward pass.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cytopipe.files import InputError


class Recomputing(nn.Module):
    """A module that can checkpoint its blocks; `checkpoint_activations` switches this on.

    Attributes
    ----------
    recompute : runs a block with checkpointing; None while it is switched off.
    """

    recompute: Callable[[nn.Module, Tensor], Tensor] | None = None

    def through(self, block: nn.Module, features: Tensor) -> Tensor:
        """Run a block, with checkpointing if it is switched on."""
        if self.recompute is None or not torch.is_grad_enabled():
            output: Tensor = block(features)
            return output
        return self.recompute(block, features)


def _recomputed(block: nn.Module, features: Tensor) -> Tensor:
    output: Tensor = checkpoint(
        block,
        features,
        use_reentrant=False,
        preserve_rng_state=False,  # no dropout anywhere
        context_fn=lambda: (nullcontext(), buffers_restored(block)),  # forward, recomputation
    )
    return output


def checkpoint_activations(network: nn.Module) -> None:
    """Switch gradient checkpointing on, as CytoNet section 3.9 does for R50-ViT.

    It applies to all residual blocks but the first and to all transformer layers; in
    `unet_encoder`, to all blocks but the first. Outputs, gradients and buffers stay the same: batch
    norm is updated once per batch. torch.compile does not compile these blocks.

    Parameters
    ----------
    network : an encoder or a backbone; changed in place.

    Raises
    ------
    InputError
        If it has no such blocks.
    """
    modules = [module for module in network.modules() if isinstance(module, Recomputing)]
    if not modules:
        name = type(getattr(network, "backbone", network)).__name__
        raise InputError(
            f"gradient checkpointing: {name} has neither residual blocks nor transformer layers; "
            "switch checkpointing off for this architecture"
        )
    # torch.compile does not support context_fn, and would silently update batch norm twice
    # where it cannot compile a block. Not as a decorator, which would take seconds to import
    recompute = torch.compiler.disable(_recomputed)  # type: ignore[no-untyped-call]
    for module in modules:
        module.recompute = recompute


@contextmanager
def buffers_restored(block: nn.Module) -> Iterator[None]:
    """Run the block on copies of its buffers (batch norm statistics), then restore them.

    Setting track_running_stats = False instead would make autograd save fewer tensors than in the
    forward pass, which torch refuses.
    """
    buffers = [
        (module, name, buffer)
        for module in block.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    for module, name, buffer in buffers:
        setattr(module, name, buffer.clone())
    try:
        yield
    finally:
        for module, name, buffer in buffers:
            setattr(module, name, buffer)
