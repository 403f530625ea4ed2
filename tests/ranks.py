"""What one process of several does for `test_distributed`."""

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
from cytopipe.learning import augmentation, distributed, networks, objectives
from cytopipe.learning.distributed import World
from cytopipe.pretraining.step import prepare

COUNT = 8  # patches of the batch
PATIENCE_S = 50  # a process that hangs says where, and ends
LOSSES = ("spatialnce", "simclr", "supcon", "supervised", "distance")


def patches() -> pd.DataFrame:
    """One patch is alone with its area, another far from all."""
    random = np.random.default_rng(4)
    x_mm = random.uniform(0, 20, COUNT)
    x_mm[3] = 1e4
    columns = {"x_mm": x_mm, "y_mm": random.uniform(0, 20, COUNT), "z_mm": 0.0}
    return pd.DataFrame({**columns, "hemisphere": "L", "area": list("AABBACBA")})


def gradients(loss: str, world: World) -> dict[str, Tensor]:
    """Loss, gradients and buffers after one batch in float64."""
    settings = objectives.Settings(loss, 0.07, 10.0, "euclidean")  # type: ignore[arg-type]
    objective = objectives.build(patches(), settings, None, world.device)
    plan = networks.Plan("small", 16, objective.head, objective.outputs)
    encoder = networks.build(plan, seed=0).double()
    network = prepare(encoder, world, params())
    random = torch.Generator().manual_seed(1)
    images = torch.rand(COUNT, objective.views, 1, 16, 16, generator=random, dtype=torch.float64)
    rows = torch.randperm(COUNT, generator=random)
    _, projected = network(distributed.share(images, world).flatten(0, 1))
    slope, mean = objective.loss(projected, distributed.share(rows, world), world)
    slope.backward()
    found = {"loss": mean}
    for name, weight in encoder.named_parameters():
        assert weight.grad is not None
        found[f"gradient {name}"] = weight.grad.clone()
    return {**found, **dict(encoder.named_buffers())}


def own_slice_alone(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    """The gather of much public code: gradients of the other processes' losses are lost."""
    return distributed.share(gradient, ctx.world), None


def mean_over_processes(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    """The gather of other public code: too small, because DDP takes a mean as well."""
    gradient = gradient.contiguous()
    group.all_reduce(gradient)
    return distributed.share(gradient, ctx.world) / ctx.world.size, None


def write_gradients(folder: Path) -> None:
    with distributed.joined() as world:
        found: dict[str, Any] = {loss: gradients(loss, world) for loss in LOSSES}
        ways: dict[str, Callable[..., Any]] = {
            "slice": own_slice_alone,
            "mean": mean_over_processes,
        }
        for name, backward in ways.items():
            distributed._Gather.backward = staticmethod(backward)  # type: ignore[assignment]
            found[name] = gradients("spatialnce", world)
        if world.first:
            torch.save(found, folder / f"{world.size}.pt")


def write_training(folder: Path, study: Path, kill_at: int, fails: bool = False) -> None:
    """Train; in step `kill_at` the last process is asked to stop, or fails."""
    here = distributed.world()
    logs.to(folder / f"log-{here.size}-{here.rank}.txt")
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
    train(study, folder, params())


def main(environment: dict[str, str], task: str, *arguments: Any) -> None:
    """Where a process begins."""
    faulthandler.dump_traceback_later(PATIENCE_S, exit=True)
    os.environ.update(environment)
    torch.set_num_threads(1)
    {"gradients": write_gradients, "train": write_training}[task](*arguments)
