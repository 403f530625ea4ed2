"""The work of one process of several, for `test_distributed`."""

import faulthandler
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.distributed as group
from striped_study import params, train
from torch import Tensor

from cytopipe import logs
from cytopipe.files import InputError
from cytopipe.learning import augmentation, distributed, networks
from cytopipe.learning.distributed import World
from cytopipe.learning.step import prepare
from cytopipe.pretraining.dataset import build_objective

COUNT = 8  # patches of the batch
PATIENCE_S = 50  # then a process that hangs prints its stack and exits
LOSSES = ("spatialnce", "simclr", "supcon", "supervised", "distance")


def patches() -> pd.DataFrame:
    """Patches of which one is the only one of its area and another is far from all others."""
    random = np.random.default_rng(4)
    x_mm = random.uniform(0, 20, COUNT)
    x_mm[3] = 1e4
    columns = {"x_mm": x_mm, "y_mm": random.uniform(0, 20, COUNT), "z_mm": 0.0}
    return pd.DataFrame({**columns, "hemisphere": "L", "area": list("AABBACBA")})


def gradients(loss: str, world: World) -> dict[str, Tensor]:
    """Loss, gradients and buffers after one batch, in float64."""
    objective = build_objective(patches(), params(loss=loss), None, world.device)
    plan = networks.Plan("small", 16, objective.head, objective.outputs)
    encoder = networks.build(plan, seed=0).double()
    network = prepare(encoder, world, params())
    random = torch.Generator().manual_seed(1)
    images = torch.rand(COUNT, objective.views, 1, 16, 16, generator=random, dtype=torch.float64)
    rows = torch.randperm(COUNT, generator=random)
    _, embeddings = network(distributed.share(images, world).flatten(0, 1))
    batch = distributed.gather_batch(embeddings, distributed.share(rows, world), world)
    loss_of_process, mean = distributed.mean(*objective(*batch), world)
    loss_of_process.backward()
    results = {"loss": mean}
    for name, weight in encoder.named_parameters():
        assert weight.grad is not None
        results[f"gradient {name}"] = weight.grad.clone()
    return {**results, **dict(encoder.named_buffers())}


def own_slice_alone(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    """The gather of much public code: it loses the gradients of the other processes' losses."""
    return distributed.share(gradient, ctx.world), None


def mean_over_processes(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    """The gather of other public code: too small, because DDP averages as well."""
    gradient = gradient.contiguous()
    group.all_reduce(gradient)
    return distributed.share(gradient, ctx.world) / ctx.world.size, None


def write_gradients(folder: Path) -> None:
    with distributed.joined() as world:
        results: dict[str, Any] = {loss: gradients(loss, world) for loss in LOSSES}
        wrong: dict[str, Callable[..., Any]] = {
            "slice": own_slice_alone,
            "mean": mean_over_processes,
        }
        for name, backward in wrong.items():
            distributed._Gather.backward = staticmethod(backward)  # type: ignore[assignment]
            results[name] = gradients("spatialnce", world)
        if world.first:
            torch.save(results, folder / f"{world.size}.pt")


def write_training(folder: Path, study: Path, kill_at: int, fails: bool = False) -> None:
    """Train; in step `kill_at` the last process gets a signal to stop, or fails."""
    here = distributed.world()
    logs.configure(folder / f"log-{here.size}-{here.rank}.txt")
    kill_last(kill_at, fails)
    train(study, folder, params())


def kill_last(kill_at: int, fails: bool = False) -> None:
    """Make the last process get a signal to stop in step `kill_at`, or fail."""
    here = distributed.world()
    apply, steps = augmentation.apply, 0

    def killed(*arguments: Any) -> Tensor:
        nonlocal steps
        steps += 1
        if steps == kill_at and here.rank == here.size - 1:
            if fails:
                raise InputError("patch 7 cannot be read")
            os.kill(os.getpid(), signal.SIGTERM)
        return apply(*arguments)

    augmentation.apply = killed


def write_finetuning(folder: Path, study: Path, kill_at: int) -> None:
    """Fine-tune, with and without the projection head; in step `kill_at` the last process stops."""
    import test_finetuning

    kill_last(kill_at)
    test_finetuning.run(study, folder, projected=True)


def write_parts(folder: Path, study: Path) -> None:
    train(study, folder, params(batch_parts=2, epochs=1))


def main(environment: dict[str, str], task: str, *arguments: Any) -> None:
    """The entry point of a process."""
    faulthandler.dump_traceback_later(PATIENCE_S, exit=True)
    os.environ.update(environment)
    torch.set_num_threads(1)
    tasks: dict[str, Callable[..., None]] = {
        "gradients": write_gradients,
        "train": write_training,
        "finetune": write_finetuning,
        "parts": write_parts,
    }
    tasks[task](*arguments)
