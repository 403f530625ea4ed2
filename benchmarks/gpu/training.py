"""Training steps on a batch that waits in pinned memory: patches/s, memory, share of each stage.

Each measured step is that of the package (`cytopipe.learning.step`). Marks stand between its parts:
around the copy to the device, before and after the network's forward pass, and around the
optimiser. `backward` contains the loss.
"""

import gc
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.gpu import training_setup
from benchmarks.gpu.settings import SEED, Part, Sizes
from benchmarks.gpu.training_setup import Marks, Numbers, Training
from cytopipe.learning import augmentation
from cytopipe.learning.loading import Batch
from cytopipe.learning.step import step

STAGES = ("copy", "augmentation", "forward", "backward", "optimiser")
WARM_UP = 3  # steps; the first one compiles and chooses kernels


def measure(
    part: Part, sizes: Sizes, device: torch.device, save: Callable[[Numbers], None]
) -> None:
    """Measure with the largest of `sizes.batch`, its half, its quarter ... that fits."""
    if part.compiled and not sizes.inductor:
        torch.compiler.set_default_backend("eager")
    batch, refused = sizes.batch, []
    while True:
        try:
            numbers = _measured(part, sizes, batch, device)
        except Exception as error:
            if not training_setup.is_out_of_memory(error) or batch < 2:
                raise
            refused.append(batch)
        else:
            break
        # outside of the handler: the error holds on to the tensors
        save({"out of memory with batches of": ", ".join(map(str, refused))})
        gc.collect()
        torch.cuda.empty_cache()
        torch.compiler.reset()
        batch //= 2
    if refused:
        numbers["out of memory with batches of"] = ", ".join(map(str, refused))
    save(numbers)


def _measured(part: Part, sizes: Sizes, batch: int, device: torch.device) -> Numbers:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    training = training_setup.training_of(part, sizes.patch_px, batch, device)
    objective = training_setup.objective_of(batch, device)
    field = training_setup.field_of(sizes.patch_px)
    waiting = resident_batch(batch, field.window_px, device)

    def run_step() -> tuple[Marks, Tensor]:
        marks = Marks(device)
        network, handles = Marked(training.network, marks), marked_optimiser(training, marks)
        marks.mark("start")
        loss = step(
            network,
            training.optimiser,
            objective,
            MarkedBatch(waiting, marks),  # type: ignore[arg-type]
            training.world,
            training.params,
        )
        for handle in handles:
            handle.remove()
        return marks, loss

    warm_up_s = []
    for _ in range(WARM_UP):
        start = time.perf_counter()
        run_step()
        training_setup.finish(device)
        warm_up_s.append(time.perf_counter() - start)
    steps = int(min(max(sizes.measure_s / warm_up_s[-1], 2), sizes.most_steps))
    start = time.perf_counter()
    done = [run_step() for _ in range(steps)]
    training_setup.finish(device)
    step_s = (time.perf_counter() - start) / steps
    spent = [marks.seconds() for marks, _ in done]
    mean_s = {name: sum(seconds[name] for seconds in spent) / steps for name in STAGES}
    window_bytes = batch * field.window_px**2
    return {
        "patches/s": batch / step_s,
        "batch": batch,
        "peak GB": training_setup.peak_gb(device),
        **{f"{name} %": 100 * seconds / step_s for name, seconds in mean_s.items()},
        "step ms": 1000 * step_s,
        "copy GB/s": window_bytes / mean_s["copy"] / 1e9,
        "first step s": warm_up_s[0],
        "loss": float(done[-1][1]),
    }


def resident_batch(batch: int, window_px: int, device: torch.device) -> Batch:
    """Windows of noise in main memory, as a loader hands them on."""
    random = torch.Generator().manual_seed(SEED)
    shape = (batch, 1, window_px, window_px)
    windows = torch.randint(0, 256, shape, generator=random, dtype=torch.uint8)
    draws = [augmentation.draw(training_setup.CHANGES, SEED, 0, index) for index in range(batch)]
    made = Batch(
        windows, torch.stack([torch.from_numpy(d) for d in draws])[:, None], torch.arange(batch)
    )
    return Batch(*(tensor.pin_memory() for tensor in made)) if device.type == "cuda" else made


class Marked(nn.Module):
    """A network between two marks; compilation sees the network alone."""

    def __init__(self, network: nn.Module, marks: Marks) -> None:
        super().__init__()
        self.network, self.marks = network, marks

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        self.marks.mark("augmentation")
        features, outputs = self.network(images)
        self.marks.mark("forward")
        return features, outputs


class MarkedBatch:
    """A batch, with a mark after its copy to the device."""

    def __init__(self, batch: Batch, marks: Marks) -> None:
        self.batch, self.marks = batch, marks

    def to(self, device: torch.device) -> Batch:
        copied = self.batch.to(device)
        self.marks.mark("copy")
        return copied


def marked_optimiser(training: Training, marks: Marks) -> list[torch.utils.hooks.RemovableHandle]:
    """Set marks around the optimiser's step; remove the handles after it."""
    return [
        training.optimiser.register_step_pre_hook(lambda *_: marks.mark("backward")),
        training.optimiser.register_step_post_hook(lambda *_: marks.mark("optimiser")),
    ]
