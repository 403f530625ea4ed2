"""One training step, and how a network is made ready for it; benchmarks measure the same step."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cytopipe.learning import augmentation, batchnorm, distributed, networks
from cytopipe.learning.distributed import World
from cytopipe.learning.loading import Batch
from cytopipe.learning.objectives import Objective

if TYPE_CHECKING:  # so that importing this needs no pydantic
    from cytopipe.study.config import PretrainingRun


def mixed_precision(device: torch.device, precision: str) -> torch.autocast:
    """The context of a network's passes: bfloat16 where the config says so."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def step(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    objective: Objective,
    batch: Batch,
    world: World,
    params: "PretrainingRun",
) -> Tensor:
    """Update the weights by one batch, of which this process has its share.

    Returns
    -------
    The mean loss of the whole batch, still on the device: nothing here waits for a GPU.
    """
    windows, draws, rows = batch.to(world.device)
    images = augmentation.apply(windows, draws, params.patch_px, params.spacing_um)
    with mixed_precision(world.device, params.precision):
        _, embeddings = network(images)
    losses, valid = objective(*distributed.gather_batch(embeddings, rows, world))
    loss, mean_loss = distributed.mean(losses, valid, world)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return mean_loss


def step_in_parts(
    encoder: networks.Encoder,
    optimiser: torch.optim.Optimizer,
    objective: Objective,
    parts: Sequence[Batch],
    world: World,
    params: "PretrainingRun",
) -> Tensor:
    """Update the weights by one batch that does not fit into memory (GradCache, Gao et al. 2021).

    The loss needs all patches of the batch at once, the backbone does not. First all parts pass
    through the backbone without gradients; head and loss give the gradient with respect to the
    features; then each part passes through the backbone again, and back. The result is that of
    `step`, but for the batch norm of the backbone: its means and variances are over a part (of all
    processes) instead of the batch. The head's are over the batch.

    Parameters
    ----------
    parts : the share of this process, all of one size; they stay on the device for the step.

    Returns
    -------
    The mean loss of the whole batch, still on the device.
    """
    windows, draws, rows = (list(tensors) for tensors in zip(*(p.to(world.device) for p in parts)))

    def features_of(part: int) -> Tensor:
        images = augmentation.apply(windows[part], draws[part], params.patch_px, params.spacing_um)
        with mixed_precision(world.device, params.precision):
            features: Tensor = encoder.backbone(images)
        return features

    with torch.no_grad():
        features = torch.cat([features_of(part) for part in range(len(parts))])
    features.requires_grad_()
    with mixed_precision(world.device, params.precision):
        embeddings = encoder.head(features)
    losses, valid = objective(*distributed.gather_batch(embeddings, torch.cat(rows), world))
    loss, mean_loss = distributed.mean(losses, valid, world)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    assert features.grad is not None
    # the first pass has updated the statistics of batch norm
    with networks.buffers_restored(encoder.backbone):
        for part, gradient in enumerate(features.grad.chunk(len(parts))):
            features_of(part).backward(gradient)  # type: ignore[no-untyped-call]
    distributed.average_gradients(encoder, world)
    optimiser.step()
    return mean_loss


def choose_kernels(encoder: networks.Encoder, device: torch.device, precision: str) -> None:
    """Let a GPU use its fastest convolutions for batches of one size."""
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        if precision == "bfloat16":  # slower in float32 and on the CPU
            encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def prepare(encoder: networks.Encoder, world: World, params: "PretrainingRun") -> nn.Module:
    """The network that `step` calls: it shares the encoder's weights and runs on all processes.

    If the batch has several parts, it is the encoder itself, for `step_in_parts`.

    Build the optimiser after this.
    """
    batchnorm.synchronise(encoder, world)
    if params.checkpointing:
        networks.checkpoint_activations(encoder)
    choose_kernels(encoder, world.device, params.precision)
    if params.compile:
        (encoder.backbone if params.batch_parts > 1 else encoder).compile()
    if world.size == 1 or params.batch_parts > 1:
        return encoder
    on_cpu = world.device.type == "cpu"
    return DistributedDataParallel(
        encoder,
        device_ids=None if on_cpu else [world.device],
        forward_sync_buffers=False,  # synchronised batch norm keeps them equal
        gradient_as_bucket_view=True,
        # otherwise the gradients are regrouped after the first step, which changes the order in
        # which four processes sum them: a resumed run would end with other bits
        find_unused_parameters=on_cpu,
    )
