"""What the parts share: the settings as objects of the package, times, memory, the machine."""

import importlib.util
import os
import platform
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.gpu import settings
from cytopipe.learning import networks, objectives, optimisers
from cytopipe.learning.distances import Euclidean
from cytopipe.learning.distributed import World
from cytopipe.learning.loading import Field
from cytopipe.learning.step import prepare

Numbers = dict[str, float | str]
# in place of the config's models, which need pydantic
CHANGES: Any = SimpleNamespace(**settings.AUGMENTATION)
OPTIMISER: Any = SimpleNamespace(**settings.OPTIMISER)


def field_of(patch_px: int) -> Field:
    """What is read for a patch."""
    return Field(patch_px, settings.SPACING_UM, settings.MARGIN, CHANGES.shift_mm)


def objective_of(count: int, device: torch.device) -> objectives.Objective:
    """SpatialNCE of `count` patches at random places of a brain."""
    random = np.random.default_rng(settings.SEED)
    positions_mm = random.uniform(-70, 70, (count, 3)).astype(np.float32)
    distances = Euclidean(torch.from_numpy(positions_mm).to(device))
    return objectives.SpatialNCE(distances, settings.TEMPERATURE, settings.SIGMA_MM)


@dataclass(frozen=True)
class Training:
    """An encoder as a training holds it, and the values of the config that a step reads."""

    encoder: networks.Encoder
    network: nn.Module
    optimiser: torch.optim.Optimizer
    world: World
    params: Any


def training_of(part: settings.Part, patch_px: int, batch: int, device: torch.device) -> Training:
    """A fresh encoder, made ready as a training does it."""
    world = World(0, 1, device)
    plan = networks.Plan(part.architecture, patch_px, "projection", networks.PROJECTED)
    encoder = networks.build(plan, settings.SEED).to(device).train()
    params: Any = SimpleNamespace(
        patch_px=patch_px,
        spacing_um=settings.SPACING_UM,
        precision=settings.PRECISION,
        checkpointing=part.checkpointing,
        compile=part.compiled,
        batch_parts=1,
    )
    network = prepare(encoder, world, params)
    return Training(encoder, network, optimisers.build(encoder, OPTIMISER, batch), world, params)


@dataclass
class Marks:
    """Moments of a step, by the clock of the device: a GPU works behind the process."""

    device: torch.device
    names: list[str] = field(default_factory=list)
    moments: list[Any] = field(default_factory=list)

    def mark(self, name: str) -> None:
        """Note that what is called `name` ends here."""
        self.names.append(name)
        if self.device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self.moments.append(event)
        else:
            self.moments.append(time.perf_counter())

    def seconds(self) -> dict[str, float]:
        """How long each took, from the mark before it; call it when the device has finished."""
        spent: dict[str, float] = {}
        for name, before, after in zip(
            self.names[1:], self.moments[:-1], self.moments[1:], strict=True
        ):
            cuda = self.device.type == "cuda"
            took = before.elapsed_time(after) / 1000 if cuda else after - before
            spent[name] = spent.get(name, 0.0) + took
        return spent


def finish(device: torch.device) -> None:
    """Return when the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def peak_gb(device: torch.device) -> float:
    """GPU: memory taken by tensors at most. CPU: resident memory of the process at most."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device had no room; some libraries say so in words of their own."""
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error).lower()


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def machine(device: torch.device) -> dict[str, Any]:
    """The card, the processor, versions, and which packages are absent."""
    cuda = device.type == "cuda"
    card = torch.cuda.get_device_properties(device) if cuda else None
    optional = ("imagecodecs", "pandas", "threadpoolctl", "torchvision")
    return {
        "device": card.name if card else "cpu",
        "device_gb": round(card.total_memory / 1e9, 1) if card else None,
        "processor": _processor(),
        "cores": cores(),
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
        "python": platform.python_version(),
        "absent": [name for name in optional if not is_installed(name)],
    }


def is_installed(package: str) -> bool:
    """Whether a package can be imported, without importing it."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):  # ValueError: the stand-in of part.py
        return False


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
