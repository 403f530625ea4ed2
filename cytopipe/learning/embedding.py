"""Outputs of a network on patches that are not augmented, computed by one process or shared."""

from collections.abc import Iterator

import torch
from torch import Tensor

from cytopipe.learning import augmentation, distributed, networks
from cytopipe.learning.distributed import World
from cytopipe.learning.loading import Key, Patches, load
from cytopipe.learning.step import mixed_precision


def outputs_of(
    encoder: networks.Encoder,
    patches: Patches,
    batches: list[list[Key]],
    precision: str,
    workers: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Backbone features (n, width) and head outputs (n, outputs) of each batch, float32.

    They stay on the encoder's device: nothing here waits for a GPU. Batch norm uses its running
    statistics; afterwards, the encoder is in evaluation mode.
    """
    encoder.eval()
    device = next(encoder.parameters()).device
    for batch in load(patches, batches, workers, pinned=device.type == "cuda"):
        windows = batch.windows.to(device, non_blocking=True)
        images = augmentation.centre_crop(windows, encoder.plan.patch_px)
        with torch.inference_mode(), mixed_precision(device, precision):
            features, outputs = encoder(images)
        yield features.float(), outputs.float()


def batches_of(rows: list[int], batch_size: int, world: World) -> list[list[Key]]:
    """The batches of this process, of its share of `batch_size`.

    The last row is repeated so that all processes have equally many; `gathered` leaves it out.
    """
    missing = -len(rows) % world.size
    own = [(0, row) for row in (rows + rows[-1:] * missing)[world.rank :: world.size]]
    size = max(1, batch_size // world.size)
    return [own[start : start + size] for start in range(0, len(own), size)]


def gathered(parts: list[Tensor], count: int, world: World) -> Tensor:
    """The outputs (count, ...) of all processes in order, from the batches of this one."""
    return distributed.gather(torch.cat(parts), world)[:count]
