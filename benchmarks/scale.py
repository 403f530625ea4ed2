"""Memory and time of the evaluation of ten brains: 5.1 million points of 2,048 random features.

    PYTHONPATH=tests python benchmarks/scale.py --share 0.1
    areas: 0.1 of the points, 98 s (110 s of processor), 1.43 GB

A study of tables, features and one image is written to --folder (a temporary one by default); each
task then runs in its own process with the values of config/config.yaml. Features are the sum of a
vector of the area, one of the brain, and noise. --share makes each brain smaller. To need less
disk, brains share files of features, --files in all: 4.2 GB each at --share 1.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from table_rows import filled, row

from cytopipe import evaluation, patches
from cytopipe.formats import tables
from cytopipe.formats.images import write_labels, write_pyramid
from cytopipe.learning import checkpoints, networks
from cytopipe.study import config as study_config
from cytopipe.study.config import AreasTask, DataSet, EmbeddingTask, RetrievalTask, ShortcutsTask
from cytopipe.study.sections import Section

CONFIG = study_config.read(study_config.DEFAULTS)
ROLES = {f"B{number:02d}": "seen" for number in range(1, 7)} | {
    "B07": "transfer",
    "B08": "transfer",
    "B09": "unseen",
    "B10": "unseen",
}
POINTS, SECTIONS = 510_000, 465  # of a brain
AREAS, LABELLED = 113, 0.47  # of CytoNet's atlas, and the share of points that have a label
WIDTHS = {"": 2048, "-projected": 128}
PATCH_PX, SPACING_UM, IMAGE_PX, LABELS_UM = 2048, 2.0, 8192, 64.0
EDGE_UM = IMAGE_PX * SPACING_UM


def write_study(folder: Path, share: float, files: int) -> None:
    """Points, features, segmentation, the image that stands for all sections, and a network."""
    count = round(POINTS * share)
    for number, brain in enumerate(ROLES):
        frame = points_of(brain, count, seed=number % files)
        tables.write(tables.PointRow, frame, folder / f"{brain}-points.parquet")
        tables.write(tables.FeatureRow, frame[["point_id", "status"]], folder / f"{brain}.parquet")
        rows = [
            row(
                tables.SegmentationRow, brain=brain, section=n, page=0, spacing_um=LABELS_UM,
                status="ok",
            )
            for n in range(SECTIONS)
        ]  # fmt: skip
        tables.write_rows(tables.SegmentationRow, rows, folder / f"{brain}-labels.parquet")
        for ending, width in WIDTHS.items():
            path = folder / f"{brain}{ending}.npy"
            if number < files:
                write_features(path, frame.area.to_numpy(str), width, seed=number)
            else:
                os.link(folder / f"B{1 + number % files:02d}{ending}.npy", path)
    random = np.random.default_rng(0)
    image = random.normal(150, 25, (IMAGE_PX // 2, IMAGE_PX // 2)).clip(0, 255).astype(np.uint8)
    write_pyramid(image.repeat(2, 0).repeat(2, 1), folder / "image.ome.tif", SPACING_UM, LABELS_UM)
    labels = np.ones([int(EDGE_UM / LABELS_UM)] * 2, np.uint8)
    labels[:, :8] = 0  # slide
    write_labels([labels], folder / "labels.tif")
    plan = networks.Plan("small", 16, "projection", 8)
    content = {
        "params": {"patch_px": PATCH_PX, "spacing_um": SPACING_UM, "checkpointing": False},
        "plan": vars(plan),
        "weights": networks.build(plan, seed=1).state_dict(),
    }
    checkpoints.save(content, folder / "final.pt")


def points_of(brain: str, count: int, seed: int) -> pd.DataFrame:
    """Usable points, section by section; runs of neighbours have the same area."""
    random = np.random.default_rng(seed)
    lengths = random.integers(5, 40, count // 5 + 1)
    names = np.array([f"area {n:03d}" for n in range(AREAS)])
    of_runs = np.where(
        random.random(len(lengths)) < LABELLED, names[random.integers(0, AREAS, len(lengths))], ""
    )
    section = np.arange(count) * SECTIONS // count
    x_mm, y_mm, z_mm = random.uniform(-70, 70, (3, count))
    frame = pd.DataFrame(
        {
            "point_id": [f"{brain}-{s:05d}-{n:07d}" for n, s in enumerate(section.tolist())],
            "brain": brain,
            "section": section,
            "hemisphere": np.where(x_mm < 0, "L", "R"),
            "x_um": random.uniform(0.15, 0.85, count) * EDGE_UM,
            "y_um": random.uniform(0.15, 0.85, count) * EDGE_UM,
            "z_stack_um": 300.0 * section,
            "x_mm": x_mm,
            "y_mm": y_mm,
            "z_mm": z_mm,
            "template": "random",
            "area": np.repeat(of_runs, lengths)[:count],
            "area_probability": 0.9,
            "status": "ok",
        }
    )
    return filled(tables.PointRow, frame)


def write_features(path: Path, areas: np.ndarray, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    names, codes = np.unique(areas, return_inverse=True)
    of_areas = np.random.default_rng(99).normal(0, 0.2, (len(names), width))
    means = (of_areas + random.normal(0, 0.2, width)).astype(np.float32)
    array = np.lib.format.open_memmap(path, "w+", np.float32, (len(areas), width))
    for start in range(0, len(areas), 8192):
        block = codes[start : start + 8192]
        noise = random.standard_normal((len(block), width), np.float32)
        array[start : start + 8192] = means[block] + noise
    array.flush()


def params_of(kind: Callable[..., Any], task: str) -> Any:
    settings = CONFIG["evaluation"][task]
    return kind(**{name: value for name, value in settings.items() if name != "runs"})


def arguments_of(folder: Path, task: str) -> dict[str, Any]:
    """Outputs, and what most tasks read."""
    of_all: dict[str, Any] = {
        "points": {b: folder / f"{b}-points.parquet" for b in ROLES},
        "backbone": {b: folder / f"{b}.npy" for b in ROLES},
        "projected": {b: folder / f"{b}-projected.npy" for b in ROLES},
        "rows": {b: folder / f"{b}.parquet" for b in ROLES},
    }
    return of_all | {
        "scores": folder / f"{task}-scores.parquet",
        "html": folder / f"{task}.html",
        "run": "random",
    }


def sections_of(folder: Path) -> list[Section]:
    image = str(folder / "image.ome.tif")
    return [Section(b, n, image, SPACING_UM, 20.0) for b in ROLES for n in range(SECTIONS)]


def draw(folder: Path, transfer: str | None = None) -> Path:
    """The data set of labelled points, as the stage `patches` draws it."""
    path = folder / f"areas-{transfer}.parquet"
    settings = CONFIG["patches"]["datasets"]["areas"] | {"transfer": transfer}
    arguments = arguments_of(folder, "patches")
    patches.run(
        points=arguments["points"],
        roles=ROLES,
        sections=sections_of(folder),
        annotations=[],
        patches=path,
        params=DataSet(**settings),
    )
    return path


def classify(folder: Path, task: str) -> None:
    """`areas`, or `cross_validation` of as many transfer brains as there are data sets."""
    arguments = arguments_of(folder, task)
    del arguments["points"]
    features, projected, rows = (
        list(arguments.pop(name).values()) for name in ("backbone", "projected", "rows")
    )
    arguments |= {"features": features, "rows": rows, "threads": 1}
    arguments["params"] = params_of(AreasTask, "areas")
    if task == "areas":
        evaluation.run_areas(
            patches=folder / "areas-None.parquet",
            projected=projected,
            weights=[folder / "final.pt"],
            atlas=[],
            predictions=folder / "predictions.parquet",
            **arguments,
        )
    else:
        sets = {b: folder / f"areas-{b}.parquet" for b in ROLES}
        chosen = {brain: path for brain, path in sets.items() if path.exists()}
        evaluation.run_cross_validation(patches=chosen, **arguments)


def embed(folder: Path, task: str) -> None:
    evaluation.run_embedding(
        **arguments_of(folder, task), roles=ROLES, params=params_of(EmbeddingTask, task)
    )


def retrieve(folder: Path, task: str) -> None:
    evaluation.run_retrieval(
        **arguments_of(folder, task), sections=sections_of(folder), patch_px=PATCH_PX,
        spacing_um=SPACING_UM, params=params_of(RetrievalTask, task),
    )  # fmt: skip


def probe_shortcuts(folder: Path, task: str) -> None:
    evaluation.run_shortcuts(
        **arguments_of(folder, task), roles=ROLES, sections=sections_of(folder),
        segmentation=[folder / f"{b}-labels.parquet" for b in ROLES],
        labels=[folder / "labels.tif"] * len(ROLES), weights=folder / "final.pt",
        patch_px=PATCH_PX, spacing_um=SPACING_UM, threads=1, params=params_of(ShortcutsTask, task),
    )  # fmt: skip


TASKS: dict[str, Callable[[Path, str], object]] = {
    "patches": lambda folder, _: draw(folder),
    "areas": classify,
    "patches_transfer": lambda folder, _: [draw(folder, brain) for brain in ("B01", "B07")],
    "cross_validation": classify,
    "embedding": embed,
    "retrieval": retrieve,
    "shortcuts": probe_shortcuts,
}


def measure(folder: Path, task: str, epochs: int) -> str:
    """Run a task in its own process; its time and largest resident memory.

    Raises
    ------
    RuntimeError
        If it fails.
    """
    start = time.perf_counter()
    command = [
        sys.executable,
        __file__,
        "--folder",
        folder,
        "--task",
        task,
        "--epochs",
        str(epochs),
    ]
    process = subprocess.Popen(command)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{task} failed")
    seconds, processor_s = time.perf_counter() - start, used.ru_utime + used.ru_stime
    return f"{seconds:.0f} s ({processor_s:.0f} s of processor), {used.ru_maxrss / 1e6:.2f} GB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=0.1, help="of a brain's points")
    parser.add_argument("--files", type=int, default=5, help="different files of features")
    parser.add_argument("--folder", type=Path, help="a study that there is, or a new folder")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument(
        "--epochs", type=int, default=CONFIG["evaluation"]["areas"]["epochs"], help="of the probes"
    )
    parser.add_argument("--task", help="run this task in this process")
    options = parser.parse_args()
    CONFIG["evaluation"]["areas"]["epochs"] = options.epochs
    if options.task:
        TASKS[options.task](options.folder, options.task)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "final.pt").exists():
            write_study(folder, options.share, options.files)
        for task in options.tasks:
            print(
                f"{task}: {options.share:g} of the points, {measure(folder, task, options.epochs)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
