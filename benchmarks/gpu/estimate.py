"""What a training step should take on a card, from tensors without values: no GPU is needed.

    python -m benchmarks.gpu.estimate        # an H200; others by --teraflops and --terabytes

Each operation takes its floating-point work at what the card reaches in bfloat16, or its bytes
(inputs and outputs) at what the memory reaches, whichever is longer. `fused` leaves out the bytes
of element-wise operations, as if a compiler hid all of them: the least that compilation can reach.
`held` is what the forward pass keeps for the backward pass.
"""

import argparse
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from benchmarks.gpu import training_setup
from benchmarks.gpu.settings import FULL
from cytopipe.learning import augmentation, networks, optimisers

REACHED = 0.6  # of the card's peaks: what large convolutions and copies reach elsewhere
LAUNCH_US = 5.0  # to start a kernel from Python
PCIE_GB = 40.0  # per second from pinned memory; PCIe 5 x16 has 63
# operations that a compiler cannot fuse away
HEAVY = ("convolution", "mm", "bmm", "attention", "batch_norm", "layer_norm", "max_pool", "grid")


def flash_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The kernel that a GPU takes; without values torch would write out all weights."""
    output: Tensor = torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[0]
    return output


class Cost(TorchDispatchMode):
    """Adds up the time of all operations."""

    def __init__(self, flops_per_s: float, bytes_per_s: float) -> None:
        super().__init__()
        self.flops_per_s, self.bytes_per_s = flops_per_s, bytes_per_s
        self.seconds = self.fused_s = self.flops = 0.0
        self.kernels = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves((args, kwargs, result)) if isinstance(x, Tensor)]
        if func.is_view or not tensors:
            return result
        count = flop_registry.get(func.overloadpacket)
        flops = count(*args, **(kwargs or {}), out_val=result) if count else 0
        moved = sum(x.numel() * x.element_size() for x in tensors)
        took = max(flops / self.flops_per_s, moved / self.bytes_per_s)
        self.kernels += 1
        self.flops += flops
        self.seconds += took
        if any(word in str(func) for word in HEAVY):
            self.fused_s += took
        return result


def held_bytes(forward: Callable[[], Any]) -> int:
    """Bytes that the forward pass keeps, each tensor once."""
    held: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        held[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = forward()
    del output
    return sum(tensor.untyped_storage().nbytes() for tensor in held.values())


def main() -> None:
    """One line for each network and each part of a step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teraflops", type=float, default=989, help="dense bfloat16, published")
    parser.add_argument("--terabytes", type=float, default=4.8, help="per second, published")
    parser.add_argument("--batch", type=int, default=FULL.batch)
    options = parser.parse_args()
    functional.scaled_dot_product_attention = flash_attention
    rates = (REACHED * options.teraflops * 1e12, REACHED * options.terabytes * 1e12)
    patch_px, batch = FULL.patch_px, options.batch
    window_px = training_setup.field_of(patch_px).window_px
    print("| work | GFLOP per patch | ms per patch | fused | held GB per patch | kernels |")
    print("|---|---|---|---|---|---|")
    with torch.device("meta"):
        images = torch.empty(batch, 1, patch_px, patch_px, dtype=torch.bfloat16)
        windows = torch.empty(batch, 1, window_px, window_px, dtype=torch.uint8)
        draws = torch.empty(batch, 1, augmentation.DRAWS)
    copied_ms = 1000 * window_px**2 / (1e9 * PCIE_GB)
    print(f"| copy to the device | 0.0 | {copied_ms:.3f} | {copied_ms:.3f} | 0.00 | 3 |")
    spent = Cost(*rates)
    with spent:
        augmentation.apply(windows, draws, patch_px, training_setup.field_of(patch_px).spacing_um)
    row("augmentation", spent, batch)
    for architecture in ("r50", "r50_vit"):
        plan = networks.Plan(architecture, patch_px, "projection", networks.PROJECTED)
        with torch.device("meta"):
            encoder = networks.Encoder(plan).train()
        steps = optimisers.build(encoder, training_setup.OPTIMISER, batch)
        for weight in encoder.parameters():
            weight.grad = torch.empty_like(weight)
        spent = Cost(*rates)
        with spent:
            steps.step()
        row(f"{architecture}, optimiser", spent, batch)
        encoder.bfloat16()
        held = held_bytes(lambda network=encoder: network(images))
        spent = Cost(*rates)
        with spent:
            _, outputs = encoder(images)
            outputs.sum().backward()
        row(f"{architecture}, forward and backward", spent, batch, held)


def row(name: str, spent: Cost, batch: int, held: int = 0) -> None:
    """Print a line of the table; an operation takes at least its launch."""
    least_s = spent.kernels * LAUNCH_US / 1e6
    cells = [
        name,
        f"{spent.flops / batch / 1e9:.1f}",
        f"{1000 * max(spent.seconds, least_s) / batch:.3f}",
        f"{1000 * spent.fused_s / batch:.3f}",
        f"{held / batch / 1e9:.2f}",
        str(spent.kernels),
    ]
    print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
