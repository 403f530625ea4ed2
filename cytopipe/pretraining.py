"""Pretraining of a network on patches, with nothing but their positions (CytoNet section 3.4)."""

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
import yaml
from torch import Tensor

from cytopipe.files import InputError, whole
from cytopipe.formats import tables
from cytopipe.learning import augmentation, checkpoints, distributed, networks, optimisers
from cytopipe.learning.loading import Batch, Field, Patches, batches_of_epoch, load
from cytopipe.learning.losses import spatialnce
from cytopipe.logs import say

VERSION = 1

Loss = Callable[[Tensor, Batch], Tensor]


@dataclass(frozen=True)
class Params:
    """One run of the config: `pretraining.common`, changed by `pretraining.runs.{run}`.

    Attributes
    ----------
    architecture : `r50` or `small`.
    dataset : name in `patches.datasets`.
    loss : `spatialnce`.
    temperature, sigma_mm : tau and sigma of SpatialNCE.
    epochs : passes over the data set; 0 keeps the random weights (the untrained baseline).
    batch_size : patches a step.
    optimiser : see `learning.optimisers.Optimiser`.
    patch_px, spacing_um, margin : see `learning.loading.Field`.
    augmentation : see `learning.augmentation.Augmentation`.
    precision : `float32`, or `bfloat16` for the network's forward and backward pass.
    workers : processes that read patches; 0 reads them in the training process.
    cache_mb : windows are held in memory if all of them fit into this.
    seed : of weights, order and augmentation.
    """

    architecture: Literal["r50", "small"]
    dataset: str
    loss: Literal["spatialnce"]
    temperature: float
    sigma_mm: float
    epochs: int
    batch_size: int
    optimiser: Mapping[str, Any]
    patch_px: int
    spacing_um: float
    margin: Literal["exact", "reflect"]
    augmentation: Mapping[str, Any]
    precision: Literal["float32", "bfloat16"]
    workers: int
    cache_mb: float
    seed: int


def loss_of(params: Params) -> Loss:
    """The objective of a run, from projected features and their batch."""

    def of_positions(projected: Tensor, batch: Batch) -> Tensor:
        return spatialnce(
            projected,
            batch.positions_mm,
            temperature=params.temperature,
            sigma_mm=params.sigma_mm,
        )

    return {"spatialnce": of_positions}[params.loss]


@dataclass
class State:
    """How far a run has come: everything that a resumed run needs to continue bit for bit.

    Order and augmentation follow from (seed, epoch, index), so that no random state is kept.
    """

    epoch: int
    step: int  # in this epoch
    loss_sum: Tensor  # over the steps of this epoch; stays on the device
    seconds: float  # of this epoch
    metrics: list[dict[str, float]]  # a row for each epoch done


def run(
    *, patches: Path, final: Path, metrics: Path, record: Path, threads: int, params: Params
) -> None:
    """Train a network, or continue an interrupted training.

    A checkpoint lies beside `final` after each epoch until the run is complete. SIGTERM and SIGUSR1
    save one after the step at hand and leave with status 85; the same call then continues and ends
    with the same weights, bit for bit on the CPU.

    Parameters
    ----------
    patches : the data set (PATCHES), all of whose rows are used.
    final : weights and params, for `learning.checkpoints.load_encoder`.
    metrics : a row an epoch (METRICS).
    record : the params, with versions and size of the data set, as YAML.
    threads : CPU threads for torch.

    Raises
    ------
    InputError
        If the data set is smaller than a batch, a patch cannot be read, or the loss is no number.
    """
    torch.set_num_threads(threads)
    world = distributed.world()
    table = tables.read(tables.PATCHES, patches)
    plan = networks.Plan(params.architecture, params.patch_px, "projection", networks.PROJECTED)
    encoder = networks.build(plan, params.seed).to(world.device)
    settings = optimisers.Optimiser(**params.optimiser)
    optimiser = optimisers.build(encoder, settings, params.batch_size)
    checkpoint = final.with_name("checkpoint.pt")
    identity = _identity(patches, params)
    state = _resume(checkpoint, identity, encoder, optimiser)
    if state.epoch < params.epochs:
        changes = augmentation.Augmentation(**params.augmentation)
        field = Field(params.patch_px, params.spacing_um, params.margin, changes.shift_mm)
        data = Patches(table, field, changes, params.seed, params.cache_mb)
        with checkpoints.stop_signals() as stop:
            save = partial(_save, checkpoint, identity, encoder, optimiser, state)
            _train(encoder, optimiser, data, state, world, params, stop, save)
    rows = pd.DataFrame(state.metrics, columns=tables.METRICS.names)
    described = {
        **asdict(params),
        "version": VERSION,
        "patches": len(table),
        "torch": str(torch.__version__),
    }
    checkpoints.save(
        {
            "params": asdict(params),
            "version": VERSION,
            "plan": asdict(plan),
            "weights": encoder.state_dict(),
        },
        final,
    )
    tables.write(tables.METRICS, rows, metrics)
    with whole(record) as beside:
        beside.write_text(yaml.safe_dump(described, sort_keys=False))
    # kept, it would turn a deliberate rerun into a copy of this one
    checkpoint.unlink(missing_ok=True)


def _train(
    encoder: networks.Encoder,
    optimiser: torch.optim.Optimizer,
    data: Patches,
    state: State,
    world: distributed.World,
    params: Params,
    stop: checkpoints.Stop,
    save: Callable[[], None],
) -> None:
    settings = optimisers.Optimiser(**params.optimiser)
    steps = len(data) // params.batch_size
    if steps == 0:
        raise InputError(
            f"pretraining: {len(data)} patches are fewer than a batch of {params.batch_size}; "
            "lower pretraining.common.batch_size in config/config.yaml"
        )
    loss_of_batch = loss_of(params)
    low = params.precision == "bfloat16"
    encoder.train()
    while state.epoch < params.epochs:
        start = time.monotonic() - state.seconds
        keys = batches_of_epoch(
            len(data), params.batch_size, params.seed, state.epoch, state.step, world
        )
        for loaded in load(data, keys, params.workers, pinned=world.device.type == "cuda"):
            batch = loaded.to(world.device)
            images = augmentation.apply(
                batch.windows, batch.draws, params.patch_px, params.spacing_um
            )
            with torch.autocast(world.device.type, torch.bfloat16, enabled=low):
                _, projected = encoder(images)
            loss = loss_of_batch(projected, batch)
            done = (state.epoch + state.step / steps) / params.epochs
            optimisers.set_rate(optimiser, settings, params.batch_size, done)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            state.loss_sum += loss.detach()
            state.step += 1
            if stop.requested:
                state.seconds = time.monotonic() - start
                save()
                say(f"interrupted at epoch {state.epoch}, step {state.step}; start again")
                raise SystemExit(checkpoints.INTERRUPTED)
        mean_loss = float(state.loss_sum) / steps
        if not math.isfinite(mean_loss):
            raise InputError(
                f"pretraining: the loss is {mean_loss} in epoch {state.epoch}; "
                "lower optimiser.learning_rate in config/config.yaml"
            )
        seconds = time.monotonic() - start
        state.metrics.append(
            {
                "epoch": state.epoch,
                "step": (state.epoch + 1) * steps,
                "loss": mean_loss,
                "patches_per_s": steps * params.batch_size / seconds,
                "seconds": seconds,
            }
        )
        state.epoch, state.step, state.seconds = state.epoch + 1, 0, 0.0
        state.loss_sum.zero_()
        left_s = (params.epochs - state.epoch) * seconds
        say(
            f"epoch {state.epoch} of {params.epochs}: loss {mean_loss:.3f}, "
            f"{steps * params.batch_size / seconds:.0f} patches/s, about {left_s:.0f} s left"
        )
        save()


def _identity(patches: Path, params: Params) -> str:
    """What a checkpoint must agree on to be continued: version, params and data set.

    Without what changes speed alone.
    """
    settings = asdict(params)
    for name in ("workers", "cache_mb"):
        del settings[name]
    text = yaml.safe_dump([VERSION, settings]).encode() + patches.read_bytes()
    return hashlib.sha256(text).hexdigest()


def _save(
    checkpoint: Path,
    identity: str,
    encoder: networks.Encoder,
    optimiser: torch.optim.Optimizer,
    state: State,
) -> None:
    content = {
        "identity": identity,
        "weights": encoder.state_dict(),
        "optimiser": optimiser.state_dict(),
        "state": vars(state),
    }
    checkpoints.save(content, checkpoint)


def _resume(
    checkpoint: Path, identity: str, encoder: networks.Encoder, optimiser: torch.optim.Optimizer
) -> State:
    device = next(encoder.parameters()).device
    if checkpoint.exists():
        content = checkpoints.load(checkpoint)
        if content["identity"] == identity:
            encoder.load_state_dict(content["weights"])
            optimiser.load_state_dict(content["optimiser"])
            state = State(**content["state"])
            state.loss_sum = state.loss_sum.to(device)
            say(f"continues at epoch {state.epoch}, step {state.step} ({checkpoint})")
            return state
        say(f"{checkpoint} is of other params or patches: starts from the beginning")
    return State(0, 0, torch.zeros((), device=device), 0.0, [])
