"""The training loop, from where a run stands to its last epoch."""

import math
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from cytopipe.cluster import launching
from cytopipe.files import InputError
from cytopipe.learning import checkpoints, distributed, networks, optimisers
from cytopipe.learning.distributed import World
from cytopipe.learning.loading import Field, Patches, batches_of_epoch, load
from cytopipe.learning.objectives import Objective
from cytopipe.logs import say
from cytopipe.pretraining.step import prepare, step
from cytopipe.study.config import PretrainingRun


@dataclass
class State:
    """How far a run has come: with weights and optimiser, all that it takes to continue.

    Order and augmentation follow from (seed, epoch, index, view), so that no random state is kept;
    bfloat16 needs no scaler, so that there is none either.
    """

    epoch: int
    step: int  # in this epoch
    loss_sum: Tensor  # over the steps of this epoch; stays on the device, the same in each process
    seconds: float  # of this epoch
    metrics: list[dict[str, float]]  # a row for each epoch done


def train(
    encoder: networks.Encoder,
    objective: Objective,
    table: pd.DataFrame,
    checkpoint: Path,
    identity: str,
    world: World,
    params: PretrainingRun,
) -> State:
    """Train an encoder in place, or continue where the checkpoint of the same identity stands.

    Raises
    ------
    InputError
        If batches do not fit the data set or the processes, or the loss is no number.
    SystemExit
        With `launching.INTERRUPTED`, after a checkpoint, if a signal asked any process to stop.
    """
    steps = len(table) // params.batch_size
    if params.epochs and steps == 0:
        raise InputError(
            f"pretraining: {len(table)} patches are fewer than a batch of {params.batch_size}; "
            "lower pretraining.common.batch_size in config/config.yaml"
        )
    if params.batch_size % world.size:
        raise InputError(
            f"pretraining: batches of {params.batch_size} patches cannot be shared by {world.size} "
            "processes; change batch_size in config/config.yaml or the number of processes"
        )
    network = prepare(encoder, world, params)
    settings = params.optimiser
    optimiser = optimisers.build(encoder, settings, params.batch_size)
    state = _resume(checkpoint, identity, encoder, optimiser, world)
    if state.epoch == params.epochs:
        return state
    changes = params.augmentation
    field = Field(params.patch_px, params.spacing_um, params.margin, changes.shift_mm)
    data = Patches(table, field, changes, params.seed, params.cache_mb, objective.views)
    encoder.train()
    with checkpoints.stop_signals() as stop:
        while state.epoch < params.epochs:
            start = time.monotonic() - state.seconds
            keys = batches_of_epoch(
                len(data), params.batch_size, params.seed, state.epoch, state.step, world
            )
            for batch in load(data, keys, params.workers, pinned=world.device.type == "cuda"):
                done = (state.epoch + state.step / steps) / params.epochs
                optimisers.set_rate(optimiser, settings, params.batch_size, done)
                state.loss_sum += step(network, optimiser, objective, batch, world, params)
                state.step += 1
                # all processes stop after the same step, whichever was asked to
                if distributed.any_of(stop.requested, world):
                    state.seconds = time.monotonic() - start
                    _save(checkpoint, identity, encoder, optimiser, state, world)
                    _say(
                        world, f"interrupted at epoch {state.epoch}, step {state.step}; start again"
                    )
                    raise SystemExit(launching.INTERRUPTED)
            mean_loss = float(state.loss_sum) / steps
            if not math.isfinite(mean_loss):
                raise InputError(
                    f"pretraining: the loss is {mean_loss} in epoch {state.epoch}; "
                    "lower optimiser.learning_rate in config/config.yaml"
                )
            row = {"epoch": state.epoch, "step": (state.epoch + 1) * steps, "loss": mean_loss}
            state.metrics.append(row)
            seconds = time.monotonic() - start
            speed = steps * params.batch_size / seconds
            state.epoch, state.step, state.seconds = state.epoch + 1, 0, 0.0
            state.loss_sum.zero_()
            _say(
                world,
                f"epoch {state.epoch} of {params.epochs}: loss {mean_loss:.3f}, {speed:.0f} "
                f"patches/s, about {(params.epochs - state.epoch) * seconds:.0f} s left",
            )
            _save(checkpoint, identity, encoder, optimiser, state, world)
    return state


def _save(
    checkpoint: Path,
    identity: str,
    encoder: networks.Encoder,
    optimiser: torch.optim.Optimizer,
    state: State,
    world: World,
) -> None:
    if world.first:
        content = {
            "identity": identity,
            "processes": world.size,
            "weights": encoder.state_dict(),
            "optimiser": optimiser.state_dict(),
            "state": vars(state),
        }
        checkpoints.save(content, checkpoint)
    distributed.wait(world)


def _resume(
    checkpoint: Path,
    identity: str,
    encoder: networks.Encoder,
    optimiser: torch.optim.Optimizer,
    world: World,
) -> State:
    state = State(0, 0, torch.zeros((), device=world.device), 0.0, [])
    if checkpoint.exists():
        content = checkpoints.load(checkpoint)
        if content["identity"] == identity:
            encoder.load_state_dict(content["weights"])
            optimiser.load_state_dict(content["optimiser"])
            state = State(**content["state"])
            state.loss_sum = state.loss_sum.to(world.device)
            _say(world, f"continues at epoch {state.epoch}, step {state.step} ({checkpoint})")
            before = content["processes"]
            if before != world.size:
                _say(
                    world,
                    f"it was saved by {before} processes and goes on with {world.size}: batches, "
                    "order and augmentation stay, each process takes another share of a batch, and "
                    "sums are rounded differently",
                )
        else:
            _say(world, f"{checkpoint} is of other params or patches: starts from the beginning")
    if not distributed.alike([state.epoch, state.step], world):
        raise InputError(
            f"{checkpoint}: not all processes see the same file; put the study's results on a "
            "file system that all hosts share"
        )
    return state


def _say(world: World, message: str) -> None:
    if world.first:
        say(message)
