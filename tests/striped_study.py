"""A data set whose texture depends on position, and the smallest training on it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from cytopipe import pretraining
from cytopipe.formats import tables
from cytopipe.formats.images import write_pyramid
from cytopipe.study.config import PretrainingRun

REPOSITORY = Path(__file__).parents[1]


def params(**changes: Any) -> PretrainingRun:
    """The settings of the config, changed to the smallest training."""
    settings = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())
    small = {
        "architecture": "small",
        "distance": "euclidean",
        "checkpointing": False,
        "compile": False,
        "epochs": 3,
        "batch_size": 8,
        "patch_px": 16,
        "spacing_um": 10.0,
        "precision": "float32",
        "workers": 0,
        "cache_mb": 10,
    }
    return PretrainingRun(**{**settings["pretraining"]["common"], **small, **changes})


def write_study(folder: Path) -> Path:
    """An image of stripes that get finer to the right; data sets patches and, with areas, areas."""
    x = np.arange(800.0)
    stripes = 127 + 100 * np.sin(2 * np.pi * x * (1 + x / 400) / 20)
    write_pyramid(np.tile(stripes, (200, 1)).astype(np.uint8), folder / "x.ome.tif", 10.0, 10.0)
    random = np.random.default_rng(0)
    count = 36
    x_um, y_um = random.uniform(200, 7700, count), random.uniform(200, 1700, count)
    frame = pd.DataFrame(
        {
            "point_id": [f"p{n}" for n in range(count)],
            "brain": "B01",
            "section": 1,
            "hemisphere": "L",
            "split": "pretrain",
            "image": str(folder / "x.ome.tif"),
            "full_spacing_um": 10.0,
            "x_um": x_um,
            "y_um": y_um,
            "x_mm": x_um / 100,
            "y_mm": 0.0,
            "z_mm": 0.0,
            "area": "",
        }
    )
    tables.write(tables.PatchRow, frame, folder / "patches.parquet")
    areas = pd.cut(frame.x_um, 3, labels=["A", "B", "C"]).astype(str)
    split = ["train"] * 30 + ["unseen"] * 6
    tables.write(tables.PatchRow, frame.assign(area=areas, split=split), folder / "areas.parquet")
    return folder


def train(
    study: Path,
    folder: Path,
    settings: PretrainingRun,
    dataset: str = "patches",
    start: Path | None = None,
) -> Path:
    pretraining.run(
        patches=study / f"{dataset}.parquet",
        geodesic=None,
        start=start,
        final=folder / "final.pt",
        metrics=folder / "metrics.parquet",
        record=folder / "params.yaml",
        threads=1,
        params=settings,
    )
    return folder
