"""Measure one part, in this process: `python -m benchmarks.gpu.part NUMBER ...`."""

import importlib
import json
import os
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.settings import FULL, PARTS, QUICK


def main(number: str, device_name: str, quick: str, batch: str, path: str) -> None:
    """Write what is measured to `path`, as often as there is more of it.

    Parameters
    ----------
    number : of the part in PARTS.
    quick : "quick", or anything else for the full sizes.
    batch : to begin with, 0 for that of the sizes.
    """
    part, sizes = PARTS[int(number)], QUICK if quick == "quick" else FULL
    if int(batch):
        sizes = replace(sizes, batch=int(batch))
    if device_name == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch sees no CUDA device; give --device cpu to try the script without")
    if part.architecture and sizes.stand_in:
        part = replace(part, architecture=sizes.stand_in)
    without_threadpoolctl()
    from benchmarks.gpu import training_setup

    device = torch.device(device_name, 0) if device_name == "cuda" else torch.device(device_name)
    written: dict[str, Any] = {
        "machine": training_setup.machine(device),
        "network": part.architecture,
        "numbers": {},
    }

    def save(numbers: training_setup.Numbers) -> None:
        written["numbers"] = numbers
        beside = Path(path).with_suffix(".part")
        beside.write_text(json.dumps(written))
        os.replace(beside, path)

    save({})
    module = importlib.import_module(f"benchmarks.gpu.{part.kind}")
    module.measure(part, sizes, device, save)


def without_threadpoolctl() -> None:
    """Where it is absent, libraries other than torch keep their numbers of threads."""
    try:
        import threadpoolctl  # noqa: F401
    except ImportError:
        absent = types.ModuleType("threadpoolctl")
        absent.threadpool_limits = lambda limits: None  # type: ignore[attr-defined]
        sys.modules["threadpoolctl"] = absent


if __name__ == "__main__":
    main(*sys.argv[1:])
