"""`make bench-brain`: a whole brain of true size from sections to points; what each stage costs.

    make bench-brain                   # 465 sections of 0.3 mm at 64 um, voxels of 0.3 mm, 2 cores
    make bench-brain SECTIONS=116      # a part of the same brain: how cost grows
    python benchmarks/brain.py FOLDER --sections 465 --cores 2 [--phantom-only]

The phantom (config/presets/bench-brain.yaml) is made once in FOLDER/phantom and not counted. A
size is a study in FOLDER/{sections} which reads the phantom's sections in place: a run of
neighbours that shows as much tissue a section as the whole brain does. Sections and volume shrink
alike, so that no cost can hide in a constant: at a wider spacing the volume would. A part ends at
the midline: it has no place in the template of a whole brain, to which it registers upside down.

What is printed is read from the benchmark files that Snakemake writes for each job. A second call
has nothing to run and prints the same; --again removes the results first.
"""

import argparse
import gzip
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import tifffile
from numpy.typing import NDArray

from cytopipe import logs
from cytopipe.commands.phantom import write_config
from cytopipe.files import atomic_write
from cytopipe.formats import images, surfaces
from cytopipe.study import config as study_config

ROOT = Path(__file__).resolve().parents[1]
PRESET = ROOT / "config" / "presets" / "bench-brain.yaml"
BRAIN = "B01"
SPACING_UM = 64.0
MEMORY_MB = 8000  # that jobs may ask for at a time
RUN = "run.tsv"
TARGET = f"results/coordinates/{BRAIN}/points.parquet"
WHOLE = 465  # sections; with fewer the study ends before coordinates
# a brain in paraffin has half of its volume left; so has fsaverage 465 sections of 0.3 mm
SHRUNK = 0.8
# as in the order of the chain; a job's benchmark file is benchmarks/{what it is of}
STAGES = {
    "segmentation": f"segmentation/{BRAIN}/*.tsv",
    "alignment, pairs": f"alignment/{BRAIN}/pairs-*.tsv",
    "alignment, stack": f"alignment/{BRAIN}/stack.tsv",
    "reconstruction, volume": f"reconstruction/{BRAIN}-volume.tsv",
    "reconstruction, tissue": f"reconstruction/{BRAIN}.tsv",
    "midsurface": f"midsurface/{BRAIN}.tsv",
    "midline": f"midline/{BRAIN}/*.tsv",
    "coordinates": f"coordinates/{BRAIN}.tsv",
}


def make_phantom(folder: Path) -> None:
    """The brain's sections, shrunk as by histology, and beside them the template in life's size."""
    from cytopipe.phantom import anatomy, run, study

    preset = study_config.read(PRESET)
    shrunk = folder / "surfaces"
    params = study_config.Phantom(**study_config.take_phantom(preset) | {"surfaces": str(shrunk)})
    for hemisphere, name in zip(
        anatomy.load_hemispheres("fsaverage5"), ("left", "right"), strict=True
    ):
        for kind in ("pial", "white"):
            surface = hemisphere.surface(kind)
            smaller = surfaces.Surface(SHRUNK * surface.vertices, surface.faces)
            plain = shrunk / f"{kind}_{name}.gii"
            surfaces.write(smaller, plain)
            (shrunk / f"{plain.name}.gz").write_bytes(gzip.compress(plain.read_bytes()))
    run(study=folder, params=params)
    if not (folder / "life-size" / "areas.tsv").exists():
        life_size = params.model_copy(update={"surfaces": "fsaverage5"})
        study.make_template(folder / "life-size", life_size)


def make_study(phantom: Path, study: Path, count: int) -> None:
    """A study of `count` neighbouring sections, which reads the phantom's images in place."""
    sections = pd.read_csv(phantom / "config" / "sections.tsv", sep="\t")
    if not 0 < count <= len(sections):
        raise SystemExit(f"SECTIONS={count}: the phantom has {len(sections)}")
    truth = phantom / "truth" / BRAIN
    tissue = [
        np.count_nonzero(tifffile.imread(truth / f"{section:05d}.tif", key=0))
        for section in sections["section"]
    ]
    first = like_the_whole(np.array(tissue), count)
    chosen = sections.iloc[first : first + count].copy()
    chosen["image"] = [os.path.relpath(phantom / image, study) for image in chosen["image"]]
    preset = study_config.read(PRESET)
    del preset[study_config.NOT_IN_A_STUDY]
    for key, name in (
        ("tissue", "tissue.nii.gz"),
        ("atlas", "atlas.nii.gz"),
        ("areas", "areas.tsv"),
    ):
        preset["template"][key] = os.path.relpath(phantom / "life-size" / name, study)
    write_config(study, preset, str(PRESET.relative_to(ROOT)))
    for name, table in (
        ("sections.tsv", chosen),
        ("brains.tsv", pd.DataFrame({"brain": [BRAIN], "role": ["seen"]})),
    ):
        path, text = study / "config" / name, table.to_csv(sep="\t", index=False)
        if not path.exists() or path.read_text() != text:
            with atomic_write(path) as beside:
                beside.write_text(text)


def like_the_whole(amounts: NDArray[np.int64], count: int) -> int:
    """Where `count` neighbours begin whose mean comes nearest to that of all."""
    before = np.insert(np.cumsum(amounts), 0, 0)
    means = (before[count:] - before[:-count]) / count
    return int(np.argmin(np.abs(means - amounts.mean())))


class Memory(threading.Thread):
    """Watches how much memory a process and all below it hold, GB; shared pages count for each."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.process = psutil.Process(process)
        self.most_gb = 0.0
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.5):
            held = 0
            try:
                for process in (self.process, *self.process.children(recursive=True)):
                    held += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
            self.most_gb = max(self.most_gb, held / 1e9)


def run_chain(study: Path, cores: int, whole_brain: bool) -> None:
    """Run Snakemake to the points, or to the midline; wall and processor time, memory to run.tsv.

    What a run that did not end left is removed: its part of the time would be missing.

    Raises
    ------
    SystemExit
        If a job fails.
    """
    for name in ("results", "benchmarks", "logs", ".snakemake"):
        shutil.rmtree(study / name, ignore_errors=True)
    (study / RUN).unlink(missing_ok=True)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--directory", str(study)]
    start = time.perf_counter()
    command += ["--cores", str(cores), "--resources", f"mem_mb={MEMORY_MB}", "--rerun-incomplete"]
    process = subprocess.Popen([*command, TARGET, *([] if whole_brain else ["--until", "midline"])])
    memory = Memory(process.pid)
    memory.start()
    _, status, used = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - start
    memory.ended.set()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(process.returncode)
    row = {
        "cores": cores,
        "wall_s": wall_s,
        "processor_s": used.ru_utime + used.ru_stime,
        "memory_gb": memory.most_gb,
    }
    pd.DataFrame([row]).to_csv(study / RUN, sep="\t", index=False)


def costs(study: Path) -> pd.DataFrame:
    """A row a stage, of Snakemake's benchmark files: jobs, seconds, processor seconds, GB."""
    rows = []
    for stage, pattern in STAGES.items():
        files = sorted((study / "benchmarks").glob(pattern))
        if not files and pattern == STAGES["coordinates"]:  # a part of a brain
            continue
        jobs = pd.concat([pd.read_csv(path, sep="\t", na_values="-") for path in files])
        rows.append(
            {
                "stage": stage,
                "jobs": len(jobs),
                "seconds": jobs["s"].sum(),
                "processor_s": jobs["cpu_time"].sum(),
                "gb": jobs["max_rss"].max() * 2**20 / 1e9,
            }
        )
    return pd.DataFrame(rows).set_index("stage")


def show(study: Path) -> None:
    """Print each stage's share, and what the whole took."""
    table, run = costs(study), pd.read_csv(study / RUN, sep="\t").iloc[0]
    table["share"] = table["processor_s"] / table["processor_s"].sum()
    print(f"\n{study.name} sections, {run['cores']:.0f} cores")
    print(
        table.to_string(formatters={"share": "{:.0%}".format}, float_format=lambda x: f"{x:.1f}"),
        f"\nwall time {run['wall_s'] / 60:.1f} min; processor {run['processor_s'] / 60:.1f} min,"
        f" of which jobs {table['processor_s'].sum() / 60:.1f}; memory: largest job "
        f"{table['gb'].max():.2f} GB, all processes together {run['memory_gb']:.2f} GB",
    )


def show_growth(folder: Path) -> None:
    """Print processor seconds a section of every size that has been run."""
    studies = sorted(
        (path.parent for path in folder.glob(f"*/{RUN}")), key=lambda study: int(study.name)
    )
    if len(studies) < 2:
        return
    a_section = pd.DataFrame(
        {study.name: costs(study)["processor_s"] / int(study.name) for study in studies}
    )
    a_section.loc["all, to the midline"] = a_section.drop("coordinates", errors="ignore").sum()
    print("\nprocessor seconds a section, by number of sections: constant where growth is linear")
    print(a_section.to_string(float_format=lambda x: f"{x:.3f}"))


def fastest_s(work: Callable[[], object], turns: int = 5) -> float:
    """Seconds of the fastest of some turns."""
    taken = []
    for _ in range(turns):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def show_machine(phantom: Path, cores: int) -> None:
    """Print what stages may be limited by: copying memory, decoding a section, starting a job."""
    parts = [np.ones(2**26, np.float32) for _ in range(cores)]
    copies = [part.copy() for part in parts]

    def copy(threads: int) -> float:
        with ThreadPoolExecutor(threads) as pool:
            work = zip(copies[:threads], parts[:threads], strict=True)
            taken = fastest_s(lambda: list(pool.map(lambda pair: np.copyto(*pair), work)), 1)
        return threads * 2 * parts[0].nbytes / taken / 1e9

    speed = {threads: max(copy(threads) for _ in range(5)) for threads in (1, cores)}
    paths = sorted((phantom / "images" / BRAIN).glob("*.ome.tif"))
    path = paths[len(paths) // 2]

    def decode() -> NDArray[np.generic]:
        with images.open_pyramid(path, SPACING_UM) as pyramid:
            return pyramid.read_at(SPACING_UM)

    pixels = decode()
    start = [sys.executable, "-c", "from cytopipe import alignment, segmentation"]
    print(
        f"\nthis machine, as idle as it was: memory {speed[1]:.1f} GB/s read and written by one "
        f"thread, {speed[cores]:.1f} by {cores}; a section of {pixels.shape[0]} x "
        f"{pixels.shape[1]} px is decoded at {pixels.nbytes / fastest_s(decode) / 1e6:.0f} MB/s; "
        f"starting Python with a stage takes "
        f"{fastest_s(lambda: subprocess.run(start, check=True), 3):.1f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the phantom and the studies lie")
    parser.add_argument("--sections", type=int, default=WHOLE)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--phantom-only", action="store_true", help="make the sections alone")
    parser.add_argument("--again", action="store_true", help="remove this size's results first")
    options = parser.parse_args()
    logs.configure(None)
    folder = options.folder.resolve()
    study = folder / str(options.sections)
    make_phantom(folder / "phantom")
    make_study(folder / "phantom", study, options.sections)
    if options.phantom_only:
        return
    if options.again or not (study / RUN).exists():
        run_chain(study, options.cores, options.sections >= WHOLE)
    else:
        print(f"{study}: has been run; --again removes its results first")
    show(study)
    show_growth(folder)
    show_machine(folder / "phantom", options.cores)


if __name__ == "__main__":
    main()
