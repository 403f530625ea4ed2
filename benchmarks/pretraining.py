"""Measure pretraining on this machine: patches per second, memory, and waiting for data.

    python benchmarks/pretraining.py --architecture r50 --patch-px 2048 --batch-size 32 \
        --precision bfloat16 --workers 12
    torchrun --nproc-per-node 4 benchmarks/pretraining.py ...

It reads patches from sections that it writes to a temporary folder, and calls the `step` of
`cytopipe.learning.step`. Settings that are not options are those of config/config.yaml. If
an option has several values, each combination is one line, measured in its own process. Columns:

patches_per_s   of all processes together, after the warm-up steps
peak_gb         on a GPU, memory of tensors; on a CPU, resident memory of the training process
waiting         share of the time that the training process waited for a batch. The GPU runs behind
                the process and may have been busy meanwhile, so this is an upper bound
"""

import argparse
import itertools
import multiprocessing
import platform
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml

from cytopipe.formats.images import write_pyramid
from cytopipe.learning import distributed, networks, objectives, optimisers
from cytopipe.learning.loading import Field, Patches, batches_of_epoch, load
from cytopipe.learning.step import prepare, step
from cytopipe.pretraining.dataset import build_objective
from cytopipe.study.config import PretrainingRun

CONFIG = Path(__file__).parents[1] / "config" / "config.yaml"
SECTIONS = 2
COLUMNS = [
    *("architecture", "loss", "patch_px", "batch_size", "precision", "compile", "checkpointing"),
    *("workers", "processes", "patches_per_s", "peak_gb", "waiting", "device", "torch"),
]


def write_sections(folder: Path, edge_px: int, spacing_um: float) -> list[Path]:
    """Square sections of smooth noise, which zlib compresses about as little as cells."""
    random = np.random.default_rng(0)
    paths = []
    for number in range(SECTIONS):
        coarse = random.normal(160, 25, (-(-edge_px // 2), -(-edge_px // 2)))
        image = coarse.clip(0, 255).astype(np.uint8).repeat(2, 0).repeat(2, 1)
        image = image[:edge_px, :edge_px] + random.integers(0, 8, (edge_px, edge_px), np.uint8)
        paths.append(folder / f"{number}.ome.tif")
        write_pyramid(image, paths[-1], spacing_um, spacing_um)
    return paths


def points(count: int, images: list[Path], edge_px: int, spacing_um: float) -> pd.DataFrame:
    """Patches at random places of the sections, with random positions, hemispheres and areas."""
    random = np.random.default_rng(1)
    x_um, y_um = random.uniform(0.25, 0.75, (2, count)) * edge_px * spacing_um
    x_mm, y_mm, z_mm = random.uniform(-70, 70, (3, count))
    return pd.DataFrame(
        {
            "brain": "B01",
            "section": np.arange(count) % len(images),
            "hemisphere": np.where(x_mm < 0, "L", "R"),
            "image": [str(images[n % len(images)]) for n in range(count)],
            "full_spacing_um": spacing_um,
            "x_um": x_um,
            "y_um": y_um,
            "x_mm": x_mm,
            "y_mm": y_mm,
            "z_mm": z_mm,
            "area": [f"A{n}" for n in random.integers(0, 10, count)],
        }
    )


def measure(changes: dict[str, Any], steps: int, warm_up: int, threads: int) -> dict[str, Any]:
    """Settings and measurements of one line; the same in every process."""
    torch.set_num_threads(threads)
    common = yaml.safe_load(CONFIG.read_text())["pretraining"]["common"]
    params = PretrainingRun(**{**common, **changes})
    changed = params.augmentation
    field = Field(params.patch_px, params.spacing_um, params.margin, changed.shift_mm)
    with (
        distributed.joined() as world,
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
    ):
        edge_px = max(2048, 2 * field.window_px)
        images = write_sections(Path(folder), edge_px, params.spacing_um)
        count = (warm_up + steps) * params.batch_size
        table = points(count, images, edge_px, params.spacing_um)
        objective = build_objective(table, params, None, world.device)
        plan = networks.Plan(
            params.architecture, params.patch_px, objective.head, objective.outputs
        )
        encoder = networks.build(plan, params.seed).to(world.device).train()
        data = Patches(table, field, changed, params.seed, params.cache_mb, objective.views)
        seconds, waited = timed(encoder, objective, data, world, params, warm_up)
        if world.device.type == "cuda":
            peak_gb, device = torch.cuda.max_memory_allocated() / 1e9, torch.cuda.get_device_name()
        else:
            peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
            device = f"{processor()}, {threads} threads"
    measured = {
        "processes": world.size,
        "patches_per_s": f"{steps * params.batch_size / seconds:.2f}",
        "peak_gb": f"{peak_gb:.2f}",
        "waiting": f"{waited / seconds:.3f}",
        "device": device,
        "torch": torch.__version__,
    }
    return {**vars(params), **measured}


def timed(
    encoder: networks.Encoder,
    objective: objectives.Objective,
    data: Patches,
    world: distributed.World,
    params: PretrainingRun,
    warm_up: int,
) -> tuple[float, float]:
    """Seconds that the steps after `warm_up` took, and seconds of them spent waiting for data."""
    network = prepare(encoder, world, params)
    rates = params.optimiser
    optimiser = optimisers.build(encoder, rates, params.batch_size)
    keys = batches_of_epoch(len(data), params.batch_size, params.seed, 0, 0, world)
    batches = iter(load(data, keys, params.workers, pinned=world.device.type == "cuda"))
    start = waited = 0.0
    for number in range(len(keys)):
        if number == warm_up:
            finish(world)
            start, waited = time.perf_counter(), 0.0
        before = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - before
        step(network, optimiser, objective, batch, world, params)
    finish(world)
    return time.perf_counter() - start, waited


def finish(world: distributed.World) -> None:
    """Wait until the device of every process is idle."""
    if world.device.type == "cuda":
        torch.cuda.synchronize()
    distributed.barrier(world)


def processor() -> str:
    """The name of the CPU."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    """Measure every combination of the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    switch = argparse.BooleanOptionalAction
    parser.add_argument("--architecture", nargs="+", default=["r50"])
    parser.add_argument("--patch-px", nargs="+", type=int, default=[2048])
    parser.add_argument(
        "--batch-size", nargs="+", type=int, default=[32], help="of all processes together"
    )
    parser.add_argument("--precision", nargs="+", default=["bfloat16"])
    parser.add_argument("--loss", nargs="+", default=["spatialnce"])
    parser.add_argument("--workers", type=int, default=12)
    parser.add_argument("--cache-mb", type=float, default=0, help="0: read every window from disk")
    parser.add_argument("--compile", action=switch, default=False)
    parser.add_argument("--checkpointing", action=switch, default=False)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warm-up", type=int, default=3, help="steps that are not measured")
    chosen = vars(parser.parse_args())
    steps, warm_up, threads = (chosen.pop(name) for name in ("steps", "warm_up", "threads"))
    is_first = distributed.world().first
    if is_first:
        print(*COLUMNS, sep="\t")
    lists = [value if isinstance(value, list) else [value] for value in chosen.values()]
    for values in itertools.product(*lists):
        changes = {"distance": "euclidean", **dict(zip(chosen, values, strict=True))}
        # one process per line, because memory peaks are per process
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as own:
            line = own.submit(measure, changes, steps, warm_up, threads).result()
        if is_first:
            print(*(line[column] for column in COLUMNS), sep="\t", flush=True)


if __name__ == "__main__":
    main()
