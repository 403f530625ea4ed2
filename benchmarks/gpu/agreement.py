"""Loss and gradients of one batch on the device, compared with float64 on the CPU."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.gpu import training_setup
from benchmarks.gpu.settings import SEED, Part, Sizes
from benchmarks.gpu.training import resident_batch
from benchmarks.gpu.training_setup import Numbers
from cytopipe.learning import augmentation, distributed, networks
from cytopipe.learning.distributed import World
from cytopipe.learning.networks.r50 import Bottleneck

CPU = torch.device("cpu")


def measure(
    part: Part, sizes: Sizes, device: torch.device, save: Callable[[Numbers], None]
) -> None:
    """Compare the augmentation, then the loss and the gradients in each precision.

    The error of a gradient is |g - g64| / |g64| over all weights together. bfloat16 on the CPU
    shows how much of the error on the device belongs to bfloat16 itself.
    """
    field = training_setup.field_of(sizes.agreement_px)
    _, draws, _ = resident_batch(sizes.agreement_batch, field.window_px, CPU)
    windows = textures(sizes.agreement_batch, field.window_px)

    def images_on(place: torch.device) -> Tensor:
        changed = augmentation.apply(
            windows.to(place), draws.to(place), field.patch_px, field.spacing_um
        )
        return changed.to(CPU)

    images = images_on(CPU)
    numbers: Numbers = {"augmentation error": float((images_on(device) - images).abs().max())}
    save(numbers)
    truth = loss_and_gradient(part, sizes, images, CPU, "float64")
    cases = {
        "CPU float32": (CPU, "float32", False),
        "CPU bfloat16": (CPU, "bfloat16", False),
        "float32": (device, "float32", False),
        "float32 with TF32": (device, "float32", True),
        "bfloat16": (device, "bfloat16", True),
    }
    for name, (place, precision, tf32) in cases.items():
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
        loss, gradient = loss_and_gradient(part, sizes, images, place, precision)
        numbers[f"{name}: loss error"] = abs(loss - truth[0]) / abs(truth[0])
        away = torch.linalg.vector_norm(gradient - truth[1])
        numbers[f"{name}: gradient error"] = float(away / torch.linalg.vector_norm(truth[1]))
        save(numbers)


def textures(count: int, window_px: int) -> Tensor:
    """Windows of rings, wider from patch to patch, under noise.

    Noise alone would look the same in every patch: batch norm then divides by differences that are
    themselves little more than rounding.
    """
    random = torch.Generator().manual_seed(SEED)
    at = torch.arange(window_px) - window_px / 2
    radius = torch.sqrt(at[:, None] ** 2 + at**2)
    period = 4 * 1.5 ** torch.arange(count).view(-1, 1, 1, 1)
    noise = torch.randn(count, 1, window_px, window_px, generator=random)
    return (128 + 60 * torch.sin(2 * torch.pi * radius / period) + 10 * noise).clip(0, 255).byte()


def damp(encoder: networks.Encoder) -> None:
    """Give the branches of residual blocks a fifth of their first weight.

    As they begin, the blocks of R50 enlarge whatever rounding they get: even on the CPU, float32
    then misses the gradient by 2 %, and bfloat16 shows another one altogether.
    """
    for module in encoder.modules():
        if isinstance(module, Bottleneck):
            nn.init.constant_(module.branch[-1].weight, 0.2)


def loss_and_gradient(
    part: Part, sizes: Sizes, images: Tensor, device: torch.device, precision: str
) -> tuple[float, Tensor]:
    """The loss, and the gradient of all weights as one vector in float64 on the CPU."""
    plan = networks.Plan(part.architecture, sizes.agreement_px, "projection", networks.PROJECTED)
    kind = torch.float64 if precision == "float64" else torch.float32
    encoder = networks.build(plan, SEED).to(device, kind).train()
    damp(encoder)
    if device.type == "cuda" and precision == "bfloat16":
        encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    objective = training_setup.objective_of(len(images), device)
    rows = torch.arange(len(images), device=device)
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        _, projected = encoder(images.to(device, kind))
    world = World(0, 1, device)
    losses, valid = objective(*distributed.gather_batch(projected, rows, world))
    loss, mean_loss = distributed.mean(losses, valid, world)
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = [
        weight.grad.to(CPU, torch.float64).flatten()
        for weight in encoder.parameters()
        if weight.grad is not None
    ]
    return float(mean_loss), torch.cat(gradients)
