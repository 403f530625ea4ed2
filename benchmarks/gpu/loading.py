"""Training steps on patches that the package's loader reads: how long the training waits for data.

The sections are synthetic, on a local disk and soon in the system's cache: what is measured is
decoding and copying, not a file server. Tiles are JPEG where imagecodecs is installed, otherwise
deflate.
"""

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray

from benchmarks.gpu import training_setup
from benchmarks.gpu.settings import SEED, SPACING_UM, Part, Sizes
from benchmarks.gpu.training_setup import Numbers
from cytopipe.formats.images import write_pyramid
from cytopipe.learning.distributed import World
from cytopipe.learning.loading import PREFETCHED, Field, Patches, batches_of_epoch, load
from cytopipe.learning.step import step

SECTIONS = 2
MOST_BATCHES = 400
SHARED_MEMORY = Path("/dev/shm")


def measure(
    part: Part, sizes: Sizes, device: torch.device, save: Callable[[Numbers], None]
) -> None:
    """Measure reading alone, in this process; then a training with as many workers as cores."""
    field = training_setup.field_of(sizes.patch_px)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        edge_px = max(sizes.section_px, 2 * field.window_px)
        images, codec = write_sections(Path(folder), edge_px)
        patches = patches_of(images, MOST_BATCHES * sizes.batch, edge_px, field)
        read_s = seconds_to_read(patches, sizes)
        numbers: Numbers = {"codec": codec, "ms per window and core": 1000 * read_s}
        save(numbers)
        numbers |= trained(part, patches, sizes, field, device)
        save(numbers)


def trained(
    part: Part, patches: Patches, sizes: Sizes, field: Field, device: torch.device
) -> Numbers:
    """Patches/s of a training with its reading, and the share of the time in which it waits."""
    training = training_setup.training_of(part, sizes.patch_px, sizes.batch, device)
    objective = training_setup.objective_of(len(patches), device)
    workers = affordable_workers(sizes.batch * field.window_px**2)
    keys = batches_of_epoch(len(patches), sizes.batch, SEED, 0, 0, World(0, 1, device))
    # workers hand over their batches in turns: whole rounds are measured
    round_size = max(1, workers)
    start = waited = 0.0
    measured = -round_size - 2  # the first batches fill the queue, the first steps choose kernels
    batches = iter(load(patches, keys, workers, pinned=device.type == "cuda"))
    while measured < MOST_BATCHES // 2:
        if measured == 0:
            training_setup.finish(device)
            start, waited = time.perf_counter(), 0.0
        elif measured > 0 and measured % round_size == 0:
            training_setup.finish(device)
            if time.perf_counter() - start > 2 * sizes.measure_s:
                break
        before = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - before
        step(
            training.network,
            training.optimiser,
            objective,
            batch,
            training.world,
            training.params,
        )
        measured += 1
    training_setup.finish(device)
    seconds = time.perf_counter() - start
    return {
        "patches/s": measured * sizes.batch / seconds,
        "batch": sizes.batch,
        "peak GB": training_setup.peak_gb(device),
        "waiting %": 100 * waited / seconds,
        "workers": workers,
        "cores": training_setup.cores(),
    }


def affordable_workers(batch_bytes: int) -> int:
    """As many as there are other cores, as far as their batches fit into shared memory."""
    room = shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.exists() else 0
    return max(0, min(training_setup.cores() - 1, int(0.8 * room / (PREFETCHED * batch_bytes)) - 1))


def seconds_to_read(patches: Patches, sizes: Sizes) -> float:
    """For one window, in this process; the first one opens the file and does not count."""
    patches[0, 0], patches[0, 1]
    count = 4 * sizes.repeats
    start = time.perf_counter()
    for index in range(count):
        patches[0, index]
    return (time.perf_counter() - start) / count


def patches_of(images: list[Path], count: int, edge_px: int, field: Field) -> Patches:
    """Patches at random places of the sections whose windows lie inside them."""
    random = np.random.default_rng(SEED)
    reach = field.window_px / 2 + 1
    x_um, y_um = random.uniform(reach, edge_px - reach, (2, count)) * SPACING_UM
    columns = {
        "brain": np.full(count, "B01"),
        "section": np.arange(count) % len(images),
        "image": np.array([str(images[index % len(images)]) for index in range(count)]),
        "full_spacing_um": np.full(count, SPACING_UM),
        "x_um": x_um,
        "y_um": y_um,
    }
    table = np.rec.fromarrays(list(columns.values()), names=list(columns))
    return Patches(table, field, training_setup.CHANGES, SEED, cache_mb=0)  # type: ignore[arg-type]


def write_sections(folder: Path, edge_px: int) -> tuple[list[Path], str]:
    """Square sections of smooth noise, and the codec of their tiles."""
    paths = []
    codec = "jpeg" if training_setup.is_installed("imagecodecs") else "deflate"
    for number in range(SECTIONS):
        image, path = noise(edge_px, number), folder / f"{number}.ome.tif"
        if codec == "jpeg":
            tifffile.imwrite(
                path, image, tile=(512, 512), compression="jpeg", compressionargs={"level": 80}
            )
        else:
            write_pyramid(image, path, SPACING_UM, SPACING_UM)
        paths.append(path)
    return paths, codec


def noise(edge_px: int, seed: int) -> NDArray[np.uint8]:
    """Smooth noise, which packs about as little as cells."""
    random = np.random.default_rng(seed)
    half = -(-edge_px // 2)
    coarse = random.normal(160, 25, (half, half)).clip(0, 240).astype(np.uint8)
    image = coarse.repeat(2, 0).repeat(2, 1)[:edge_px, :edge_px]
    return image + random.integers(0, 8, (edge_px, edge_px), np.uint8)
