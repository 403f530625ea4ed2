"""`make bench`: each kernel beside the library that does the same, as a ratio with its spread.

    make bench                         # all, and benchmarks/results.md
    make bench BENCH="slicing surf"    # some, printed alone

A module of `benchmarks/works` has a function `works()`, which makes its inputs and returns a list
of Work. Each module is run in a process of its own, on the threads that this file allows, so that
neither memory nor compiled code of one touches another. Ours and the peer take turns: what else
the machine does meets both alike.
"""

import importlib
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

WORKS = Path(__file__).parent / "works"
RESULTS = Path(__file__).parent / "results.md"
VERSIONS = [
    *("numpy", "numba", "scipy", "scikit-image", "opencv-python-headless", "mahotas", "trimesh"),
    *("pymeshlab", "open3d", "tifffile", "imagecodecs", "zarr", "rasterio"),
]


def settings(section: str) -> dict[str, Any]:
    """The values of a section of config/config.yaml."""
    config = yaml.safe_load((WORKS.parents[1] / "config" / "config.yaml").read_text())
    return dict(config[section])


@dataclass(frozen=True)
class Work:
    """One piece of work, done by us and by a peer.

    Attributes
    ----------
    name : of the work.
    size : of its input, for the reader.
    peer : the library call it is held against.
    ours, theirs : do the work once and return the result; what is compiled is so beforehand.
    same : of both results, in how far they agree, as text; AssertionError where they do not.
    goal : ratio of the peer's time to ours that is wanted.
    repeats : turns of each.
    """

    name: str
    size: str
    peer: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    same: Callable[[Any, Any], str]
    goal: float
    repeats: int = 5


@dataclass(frozen=True)
class Line:
    """What came of a Work: seconds of each, median; the ratio, median (least to most)."""

    work: str
    size: str
    peer: str
    ours_s: str
    peer_s: str
    ratio: str
    goal: str
    met: str
    result: str


def measure(work: Work) -> Line:
    """Let ours and the peer take turns; a first turn of ours compiles and does not count."""
    work.ours()
    times: list[tuple[float, float]] = []
    for _ in range(work.repeats):
        start = time.perf_counter()
        mine = work.ours()
        middle = time.perf_counter()
        yours = work.theirs()
        times.append((middle - start, time.perf_counter() - middle))
    table = pd.DataFrame(times, columns=["ours", "peer"])
    ratios = table["peer"] / table["ours"]
    ratio = float(ratios.median())
    try:
        agreement, agrees = work.same(mine, yours), True
    except AssertionError as difference:
        agreement, agrees = f"**differs**: {difference}", False
    return Line(
        work.name,
        work.size,
        work.peer,
        f"{table['ours'].median():.3g}",
        f"{table['peer'].median():.3g}",
        f"{ratio:.1f} ({ratios.min():.1f} to {ratios.max():.1f})",
        f"{work.goal:.2g}",
        "yes" if ratio >= work.goal and agrees else "**no**",
        agreement,
    )


def run_module(name: str) -> None:
    """Measure one module's works and print their lines as JSON, and the memory at the end."""
    sys.path.insert(0, str(WORKS.parent))
    module = importlib.import_module(f"works.{name}")
    lines = [measure(work) for work in module.works()]
    print(pd.DataFrame(map(asdict, lines)).to_json(orient="records"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(f"{name}: {peak:.2f} GB at most", file=sys.stderr)


def machine() -> str:
    """Processor, cores, system and versions."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        cpu = models[0].split(":")[1].strip() if models else cpu
    cores = len(os.sched_getaffinity(0))
    packages = ", ".join(f"{name} {version(name)}" for name in VERSIONS)
    return f"{cpu}, {cores} cores; Python {platform.python_version()}; {packages}."


def as_markdown(lines: pd.DataFrame) -> str:
    """A table that stands in a page."""
    rows = [list(lines.columns), ["---"] * len(lines.columns), *lines.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)


def main(names: list[str]) -> int:
    """Return 1 when a goal is not met."""
    every = sorted(path.stem for path in WORKS.glob("*.py") if path.stem != "__init__")
    if unknown := set(names) - set(every):
        raise SystemExit(f"no works {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    tables = []
    for name in names or every:
        command = [sys.executable, __file__, "--module", name]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        tables.append(pd.DataFrame(json.loads(done.stdout)))
        print(as_markdown(tables[-1]), flush=True)
    lines = pd.concat(tables)
    if not names:
        RESULTS.write_text(
            "# Each kernel beside its peer\n\nWritten by `make bench`. Seconds are medians; "
            "ratios the median of the turns (least to most).\n\n"
            + machine()
            + "\n\n"
            + as_markdown(lines)
            + "\n"
        )
    return 0 if (lines["met"] == "yes").all() else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--module"]:
        run_module(sys.argv[2])
    else:
        sys.exit(main(sys.argv[1:]))
