import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import tifffile

from cytopipe.study import config as study_config
from cytopipe.study.config import Phantom

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_benchmark_measures_a_step() -> None:
    benchmark = script("pretraining")
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


def test_a_part_of_the_brain_is_like_the_whole(tmp_path: Path) -> None:
    """Of the phantom's sections a study takes neighbours with the mean amount of tissue."""
    brain = script("brain")
    phantom = tmp_path / "phantom"
    tissue = [1, 2, 3, 9, 12, 9, 6, 5, 4, 3]  # mean 5.4: 6, 5, of all neighbours
    (phantom / "truth" / "B01").mkdir(parents=True)
    (phantom / "config").mkdir()
    for place, amount in enumerate(tissue):
        page = (np.arange(16).reshape(4, 4) < amount).astype(np.uint8)
        tifffile.imwrite(phantom / "truth" / "B01" / f"{15 * place:05d}.tif", page)
    sections = pd.DataFrame({"brain": "B01", "section": 15 * np.arange(10), "spacing_um": 64.0})
    sections["image"] = [f"images/{number}.ome.tif" for number in sections["section"]]
    sections.to_csv(phantom / "config" / "sections.tsv", sep="\t", index=False)
    brain.make_study(phantom, tmp_path / "2", 2)
    chosen = pd.read_csv(tmp_path / "2" / "config" / "sections.tsv", sep="\t")
    assert chosen["section"].tolist() == [90, 105]
    assert chosen["image"].tolist() == [
        "../phantom/images/90.ome.tif",
        "../phantom/images/105.ome.tif",
    ]
    config = study_config.read(tmp_path / "2" / "config" / "config.yaml")
    assert config["template"]["tissue"] == "../phantom/life-size/tissue.nii.gz"
    # all else as for a real brain
    for stage in ("segmentation", "alignment", "reconstruction", "midsurface", "midline"):
        assert config[stage] == study_config.read(study_config.DEFAULTS)[stage]


def test_costs_are_those_of_the_benchmark_files(tmp_path: Path) -> None:
    brain = script("brain")
    for number, pattern in enumerate(brain.STAGES.values()):
        for job in ("00000", "00480") if "*" in pattern else ("",):
            path = tmp_path / "benchmarks" / pattern.replace("*", job)
            path.parent.mkdir(parents=True, exist_ok=True)
            row = {"s": 2.0, "max_rss": 1000.0 + number, "cpu_time": 1.5}
            pd.DataFrame([row]).to_csv(path, sep="\t", index=False)
    table = brain.costs(tmp_path)
    assert table["jobs"].tolist() == [2, 2, 1, 1, 1, 1, 2, 1]
    assert table.loc["midline", ["seconds", "processor_s"]].tolist() == [4.0, 3.0]
    assert table["gb"].iloc[0] == pytest.approx(1000 * 2**20 / 1e9)
    # a part of a brain ends before
    (tmp_path / "benchmarks" / brain.STAGES["coordinates"]).unlink()
    assert brain.costs(tmp_path).index.tolist() == [s for s in brain.STAGES if s != "coordinates"]


def test_the_preset_makes_a_brain_of_true_size() -> None:
    brain = script("brain")
    phantom = study_config.take_phantom(study_config.read(brain.PRESET))
    study_config.check_section("phantom", phantom, str(brain.PRESET))
    params = Phantom(**phantom)
    assert params.section_step * params.thickness_um == 300
    assert params.spacing_um == brain.SPACING_UM
