"""One training step, and how a network is made ready for it; the benchmark measures these."""

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cytopipe.learning import augmentation, batchnorm, networks
from cytopipe.learning.distributed import World
from cytopipe.learning.loading import Batch
from cytopipe.learning.objectives import Objective
from cytopipe.study.config import PretrainingRun


def prepare(encoder: networks.Encoder, world: World, params: PretrainingRun) -> nn.Module:
    """What a step calls; it shares the encoder's weights, whose names stay.

    Build the optimiser after this.
    """
    low = params.precision == "bfloat16"
    batchnorm.synchronise(encoder, world)
    if params.checkpointing:
        networks.checkpoint_activations(encoder)
    if world.device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        if low:  # in float32, and on the CPU, this layout is slower
            encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if params.compile:
        encoder.compile()
    if world.size == 1:
        return encoder
    on_cpu = world.device.type == "cpu"
    return DistributedDataParallel(
        encoder,
        device_ids=None if on_cpu else [world.device],
        forward_sync_buffers=False,  # shared batch norm keeps them equal
        gradient_as_bucket_view=True,
        # otherwise gradients are sorted anew after the first step, which changes the order in which
        # four processes sum them: a resumed run would not end with the same bits
        find_unused_parameters=on_cpu,
    )


def step(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    objective: Objective,
    batch: Batch,
    world: World,
    params: PretrainingRun,
) -> Tensor:
    """Move the weights by one batch, of which this process has its share.

    Returns
    -------
    The mean loss of the whole batch, still on the device: nothing here waits for it.
    """
    windows, draws, rows = batch.to(world.device)
    images = augmentation.apply(windows, draws, params.patch_px, params.spacing_um)
    with torch.autocast(world.device.type, torch.bfloat16, enabled=params.precision == "bfloat16"):
        _, projected = network(images)
    loss, mean_loss = objective.loss(projected, rows, world)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return mean_loss
