"""The benchmark of a GPU: on the CPU, without the packages that the GPU's machine may lack."""

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml

REPOSITORY = Path(__file__).parents[1]
GPU = REPOSITORY / "benchmarks" / "gpu"
HIDDEN = [
    *("pandas", "pyarrow", "imagecodecs", "zarr", "yaml", "safetensors", "pydantic", "numba"),
    *("cv2", "nibabel", "threadpoolctl", "torchvision"),
]
# Python runs this file at its start; torch asks with find_spec, so that raising would not do
HIDE = f"""
from importlib.machinery import PathFinder

find = PathFinder.find_spec
hidden = {HIDDEN}
PathFinder.find_spec = lambda name, path=None, target=None: (
    None if name.split(".")[0] in hidden else find(name, path, target)
)
"""


STAGES = ("copy", "augmentation", "forward", "backward", "optimiser")


def settings() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_settings", GPU / "settings.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_the_values_are_those_of_the_config() -> None:
    config = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())
    common = config["pretraining"]["common"]
    ours = settings()
    assert common["optimiser"] == ours.OPTIMISER
    assert common["augmentation"] == ours.AUGMENTATION
    for name in ("temperature", "sigma_mm", "seed", "spacing_um", "margin", "precision"):
        assert getattr(ours, name.upper()) == common[name]
    assert (ours.FULL.patch_px, ours.FULL.batch) == (common["patch_px"], common["batch_size"])


@pytest.mark.slow
def test_every_part_measures_without_the_absent_packages(tmp_path: Path) -> None:
    result = run(tmp_path)
    record = json.loads((tmp_path / "to" / "results.json").read_text())
    failed = {part["part"]: part["log"] for part in record["parts"] if part["status"] != "ok"}
    assert not failed and result.returncode == 0, result.stderr
    assert set(record["machine"]["absent"]) >= {"imagecodecs", "pandas", "threadpoolctl"}
    assert [part["part"] for part in record["parts"]] == [part.name for part in settings().PARTS]
    for part in record["parts"]:
        numbers = [n for n in part["numbers"].values() if not isinstance(n, str)]
        assert numbers and all(math.isfinite(number) for number in numbers), part["part"]
        if part["kind"] == "training":
            shares = [part["numbers"][f"{stage} %"] for stage in STAGES]
            assert part["numbers"]["patches/s"] > 0
            # The rest is time between two readings of the clock, which a busy host stretches.
            assert min(shares) >= 0 and 50 < sum(shares) < 101
        elif part["kind"] == "loading":
            assert 0 <= part["numbers"]["waiting %"] <= 100
        elif part["kind"] == "agreement":
            assert part["numbers"]["float32: loss error"] < 1e-4
            assert part["numbers"]["float32: gradient error"] < 1e-3
    table = (tmp_path / "to" / "table.md").read_text()
    assert table in result.stdout
    assert table.count("| ok |") == len(record["parts"])


def test_a_batch_without_room_is_halved_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(REPOSITORY)
    training = importlib.import_module("benchmarks.gpu.training")

    def measured(part: Any, sizes: Any, batch: int, device: Any) -> dict[str, float]:
        if batch > 1:
            raise torch.OutOfMemoryError(f"no room for {batch}")
        return {"batch": batch}

    monkeypatch.setattr(training, "_measured", measured)
    saved: list[dict[str, Any]] = []
    part, device = training.Part("training", 1, "small"), torch.device("cpu")
    training.measure(part, settings().QUICK, device, saved.append)
    assert saved[-1] == {"batch": 1, "out of memory with batches of": "4, 2"}


@pytest.mark.slow
def test_what_fails_and_what_has_no_time_is_a_row(tmp_path: Path) -> None:
    """Without a GPU each part names the cause; without time none starts."""
    result = run(tmp_path, device="cuda", only=["r50", "decoding"])
    record = json.loads((tmp_path / "to" / "results.json").read_text())
    assert result.returncode == 1
    assert len(record["parts"]) == 2
    for part in record["parts"]:
        assert part["status"] == "failed" and "no CUDA device" in part["error"]
    result = run(tmp_path, minutes=0, only=["decoding"])
    record = json.loads((tmp_path / "to" / "results.json").read_text())
    assert [part["status"] for part in record["parts"]] == ["not measured"]
    assert "| decoding | not measured |" in result.stdout


def run(
    folder: Path, device: str = "cpu", minutes: float = 20, only: list[str] | None = None
) -> "subprocess.CompletedProcess[str]":
    hidden = folder / "hidden"
    hidden.mkdir(exist_ok=True)
    (hidden / "sitecustomize.py").write_text(HIDE)
    environment: dict[str, Any] = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(hidden), str(REPOSITORY)]),
        "OMP_WAIT_POLICY": "passive",
        # a GPU of this machine is not asked
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [sys.executable, str(GPU / "run"), "--quick", "--to", str(folder / "to")]
    command += ["--device", device, "--minutes", str(minutes)]
    command += ["--only", *only] if only else []
    return subprocess.run(command, env=environment, capture_output=True, text=True)
