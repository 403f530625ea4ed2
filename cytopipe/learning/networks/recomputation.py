"""Gradient checkpointing (CytoNet section 3.9): activations are computed anew in the backward pass.

It costs a second forward pass of the blocks that it is switched on for, of which the inputs alone
are kept.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cytopipe.files import InputError


class Recomputing(nn.Module):
    """A module whose blocks can be computed anew; `checkpoint_activations` switches it on.

    Attributes
    ----------
    recompute : computes a block's output so; None while that is switched off.
    """

    recompute: Callable[[nn.Module, Tensor], Tensor] | None = None

    def through(self, block: nn.Module, features: Tensor) -> Tensor:
        """The block's output, computed anew in the backward pass if that is switched on."""
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
        context_fn=partial(_contexts, block),
    )
    return output


def checkpoint_activations(network: nn.Module) -> None:
    """Compute activations anew in the backward pass, as CytoNet section 3.9 does for R50-ViT.

    All residual blocks but the first and all transformer layers (of `unet_encoder`, all blocks but
    the first). Outputs, gradients and buffers stay the same: batch norm sees a batch once. Under
    torch.compile these blocks run as they are, uncompiled.

    Parameters
    ----------
    network : an encoder or a backbone; changed in place.

    Raises
    ------
    InputError
        If it has no such blocks.
    """
    found = [module for module in network.modules() if isinstance(module, Recomputing)]
    if not found:
        name = type(getattr(network, "backbone", network)).__name__
        raise InputError(
            f"gradient checkpointing: {name} has neither residual blocks nor transformer layers; "
            "switch it off for this architecture"
        )
    # torch.compile takes no context_fn, and where it gives up on a block it would silently update
    # batch norm twice: it leaves these blocks alone. Not a decorator: that takes seconds to import
    recompute = torch.compiler.disable(_recomputed)  # type: ignore[no-untyped-call]
    for module in found:
        module.recompute = recompute


def _contexts(
    block: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """What surrounds the block in the forward pass, and when it is computed anew."""
    return nullcontext(), _buffers_spared(block)


@contextmanager
def _buffers_spared(block: nn.Module) -> Iterator[None]:
    """Let the block work on copies of its buffers (batch norm's statistics), then discard them.

    Copies rather than track_running_stats = False: autograd would then save fewer tensors than in
    the forward pass, which torch refuses. It works for any batch norm that keeps its state in
    buffers.
    """
    kept = [
        (module, name, buffer)
        for module in block.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    for module, name, buffer in kept:
        setattr(module, name, buffer.clone())
    try:
        yield
    finally:
        for module, name, buffer in kept:
            setattr(module, name, buffer)
