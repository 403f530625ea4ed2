"""A study of two areas that differ only in their stripes, and an untrained network."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from striped_study import params

from cytopipe.formats import tables
from cytopipe.formats.images import write_pyramid
from cytopipe.learning import checkpoints, networks

AUGMENTATION = params().augmentation.model_dump() | {
    "shift_mm": 0.02,
    "blur": 0.0,
    "sharpen": 0.0,
}
TRAINED = params(epochs=0, augmentation=AUGMENTATION).model_dump()


def save(folder: Path, head: str = "projection", **changed: Any) -> networks.Encoder:
    plan = networks.Plan("small", 16, head, 8)
    encoder = networks.build(plan, seed=3)
    content = {"params": TRAINED | changed, "plan": vars(plan), "weights": encoder.state_dict()}
    checkpoints.save({**content, "version": 1, "classes": []}, folder / "final.pt")
    return encoder


def write_study(folder: Path) -> Path:
    """Two brains' sections, data set (patches.parquet) and untrained weights (final.pt).

    The left half of a section has fine stripes (area P), the right half coarse ones (area Q).
    """
    random = np.random.default_rng(0)
    rows = []
    for brain, section, split, count in [
        ("B01", 1, "train", 64),
        ("B01", 2, "seen", 30),
        ("B02", 1, "transfer", 20),
    ]:
        at = np.arange(400)
        stripes = np.where(at < 200, at // 2 % 2, at // 5 % 2) * 90 + 80
        image = stripes + random.integers(-10, 10, (200, 400))
        path = folder / f"{brain}-{section}.ome.tif"
        write_pyramid(image.astype(np.uint8), path, 10.0, 20.0, tile=64)
        fine = np.arange(count) % 2 == 0
        x_px = np.where(fine, random.uniform(20, 180, count), random.uniform(220, 380, count))
        rows.append(
            pd.DataFrame(
                {
                    "point_id": [f"{brain}-{section}-{n}" for n in range(count)],
                    "brain": brain,
                    "section": section,
                    "hemisphere": "L",
                    "split": split,
                    "image": str(path),
                    "full_spacing_um": 10.0,
                    "x_um": 10 * x_px,
                    "y_um": 10 * random.uniform(20, 180, count),
                    "x_mm": 0.0,
                    "y_mm": 0.0,
                    "z_mm": 0.0,
                    "area": np.where(fine, "P", "Q"),
                }
            )
        )
    tables.write(tables.PatchRow, pd.concat(rows), folder / "patches.parquet")
    save(folder)
    return folder
