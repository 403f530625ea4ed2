"""The training loop of pretraining and fine-tuning: from a batch to its loss and the next weights.

`train` iterates over epochs and batches, `learning.step` does the work of a batch:

    batch -> augmentation -> network (backbone, head) -> objective (loss) -> backward -> optimiser

The loss of SpatialNCE is `learning.losses.spatialnce`, which `learning.objectives.SpatialNCE` calls
with the distances of the patches.
"""

import math
import time
from typing import TYPE_CHECKING

from cytopipe.cluster import launching
from cytopipe.files import InputError
from cytopipe.learning import distributed, monitoring, networks, optimisers
from cytopipe.learning.loading import Field, Patches, batches_of_epoch, in_parts, load
from cytopipe.learning.objectives import Objective
from cytopipe.learning.resuming import Checkpoint, State
from cytopipe.learning.step import prepare, step, step_in_parts
from cytopipe.logs import info

if TYPE_CHECKING:  # so that importing this needs neither pandas nor pydantic
    import pandas as pd

    from cytopipe.study.config import PretrainingRun


def train(
    encoder: networks.Encoder,
    objective: Objective,
    table: "pd.DataFrame",
    checkpoint: Checkpoint,
    params: "PretrainingRun",
    section: str,
) -> State:
    """Train an encoder in place, from its checkpoint if there is one.

    Parameters
    ----------
    table : the patches that the objective was built for (PatchRow).
    section : the section of the config that holds the params, for messages.

    Raises
    ------
    InputError
        If the data set is smaller than a batch, a batch cannot be divided among the processes, or
        the loss is NaN or infinite.
    SystemExit
        With `launching.INTERRUPTED`, after saving, if a signal asked any process to stop.
    """
    world = checkpoint.world
    steps = len(table) // params.batch_size
    if params.epochs and steps == 0:
        raise InputError(
            f"{section}: {len(table)} patches are fewer than a batch of {params.batch_size}; lower "
            f"{section}.batch_size in config/config.yaml"
        )
    if params.batch_size % (world.size * params.batch_parts):
        raise InputError(
            f"{section}: a batch of {params.batch_size} patches cannot be divided among "
            f"{world.size} processes into {params.batch_parts} parts each; change "
            f"{section}.batch_size or batch_parts in config/config.yaml, or the number of processes"
        )
    network = prepare(encoder, world, params)
    optimiser = optimisers.build(encoder, params.optimiser, params.batch_size)
    state = checkpoint.resume(encoder, optimiser)
    if state.epoch == params.epochs:
        return state
    field = Field(params.patch_px, params.spacing_um, params.margin, params.augmentation.shift_mm)
    patches = Patches(
        table, field, params.augmentation, params.seed, params.cache_mb, objective.views
    )
    rows = monitoring.probe_rows(table, params)
    loss_copy = monitoring.DelayedCopy(world.device)

    def add_gradient(*_: object) -> None:
        state.gradient_sum += monitoring.gradient_norm(encoder)

    optimiser.register_step_pre_hook(add_gradient)
    while state.epoch < params.epochs:
        encoder.train()
        start = time.monotonic() - state.seconds
        keys = batches_of_epoch(
            len(patches), params.batch_size, params.seed, state.epoch, state.step, world
        )
        keys = in_parts(keys, params.batch_parts)
        loaded = iter(load(patches, keys, params.workers, pinned=world.device.type == "cuda"))
        for parts in zip(*[loaded] * params.batch_parts, strict=True):
            done = (state.epoch + state.step / steps) / params.epochs
            optimisers.set_rate(optimiser, params.optimiser, params.batch_size, done)
            if params.batch_parts == 1:
                loss = step(network, optimiser, objective, parts[0], world, params)
            else:
                loss = step_in_parts(encoder, optimiser, objective, parts, world, params)
            state.loss_sum += loss
            state.step += 1
            if state.step % monitoring.CHECK_EVERY == 0:
                refuse_infinite(loss_copy.read(), state, section)
                loss_copy.put(state.loss_sum)
            # all processes stop after the same step, whichever of them got the signal
            if distributed.any_process(bool(checkpoint.signals), world):
                state.seconds = time.monotonic() - start
                checkpoint.save(encoder, optimiser, state)
                info(f"interrupted at epoch {state.epoch}, step {state.step}; start again")
                raise SystemExit(launching.INTERRUPTED)
        mean_loss = float(state.loss_sum) / steps
        refuse_infinite(mean_loss, state, section)
        seconds = time.monotonic() - start
        knn, rank = monitoring.probe(encoder, patches, table, rows, world, params)
        row = {
            "epoch": state.epoch,
            "step": (state.epoch + 1) * steps,
            "loss": mean_loss,
            "learning_rate": optimiser.param_groups[0]["lr"],
            "gradient_norm": float(state.gradient_sum) / steps,
            "knn_accuracy": knn,
            "effective_rank": rank,
        }
        state.metrics.append(row)
        state.epoch, state.step, state.seconds = state.epoch + 1, 0, 0.0
        state.loss_sum.zero_()
        state.gradient_sum.zero_()
        speed = steps * params.batch_size / seconds
        left_s = (params.epochs - state.epoch) * seconds
        info(
            f"epoch {state.epoch} of {params.epochs}: loss {mean_loss:.3f}, {speed:.1f} patches/s, "
            f"about {left_s:.0f} s left"
        )
        checkpoint.save(encoder, optimiser, state)
    return state


def refuse_infinite(loss: float, state: State, section: str) -> None:
    """Stop the training if its loss is NaN or infinite."""
    if not math.isfinite(loss):
        raise InputError(
            f"{section}: the loss is {loss} in epoch {state.epoch}; lower "
            f"{section}.optimiser.learning_rate in config/config.yaml"
        )
