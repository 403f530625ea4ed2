import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "pretraining.py"


@pytest.fixture
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_benchmark_measures_a_step(benchmark: ModuleType) -> None:
    changes = {
        "architecture": "small",
        "loss": "spatialnce",
        "distance": "euclidean",
        "patch_px": 16,
        "batch_size": 4,
        "precision": "float32",
        "compile": False,
        "checkpointing": False,
        "workers": 0,
        "cache_mb": 100,
    }
    line = benchmark.measure(changes, steps=2, warm_up=1, threads=1)
    assert set(benchmark.COLUMNS) <= set(line)
    assert float(line["patches_per_s"]) > 0 and float(line["peak_gb"]) > 0.05
    assert 0 <= float(line["waiting"]) <= 1
