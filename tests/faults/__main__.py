"""Try every fault on a small study and print what came of it: `make faults`.

    PYTHONPATH=tests python -m faults FOLDER [--only kills masters ...] [--kills 50] [--seed 1]

FOLDER takes the undisturbed study (made if it is not there), the ill-treated copies of it, and
the table: table.md, and a part for each family of faults.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import psutil

from faults import cluster, disks, inputs, kills, limits, masters, runs, studies, table, training
from faults.table import Line


def families(
    finished: Path, folder: Path, count: int, seed: int, workers: int
) -> dict[str, Callable[[], Iterator[Line]]]:
    return {
        "kills": lambda: kills.lines(finished, folder, count, seed, workers),
        "worst": lambda: kills.worst_lines(finished, folder, workers),
        "masters": lambda: masters.lines(finished, folder),
        "disks": lambda: disks.lines(finished, folder),
        "inputs": lambda: inputs.lines(finished, folder, seed),
        "limits": lambda: limits.lines(finished, folder),
        "training": lambda: training.lines(finished, folder, seed),
        "cluster": lambda: cluster.lines(finished, folder),
    }


def undisturbed(folder: Path) -> Path:
    """The small study, run once from end to end."""
    study = folder / "undisturbed"
    preset = runs.REPOSITORY / "config" / "presets" / "small.yaml"
    phantom = [sys.executable, "-m", "cytopipe", "phantom", "--study", str(study)]
    subprocess.run([*phantom, "--preset", str(preset)], cwd=runs.REPOSITORY, check=True)
    status, said = runs.run(study)
    assert status == 0, said
    assert studies.artifacts(study)
    return study


def machine() -> str:
    memory = Path("/proc/meminfo").read_text().split(maxsplit=2)[1]
    names = ("snakemake", "torch", "numpy", "h5py", "tifffile", "pyarrow")
    return (
        f"{platform.system()} {platform.release()}, {platform.machine()}, "
        f"{len(os.sched_getaffinity(0))} cores, {int(memory) >> 20} GB; "
        f"Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in names)
    )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("faults", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2, help="kills side by side")
    options = parser.parse_args(arguments)
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    finished = undisturbed(folder)
    before = studies.artifacts(finished)
    found = []
    tried = families(finished, folder, options.kills, options.seed, options.workers)
    for name, family in tried.items():
        part = folder / f"{name}.md"
        if not options.only or name in options.only:
            start = time.monotonic()
            lines = []
            try:
                for line in family():
                    print(line.markdown(), flush=True)
                    lines.append(line)
            # the other families are tried all the same
            except (
                AssertionError,
                LookupError,
                OSError,
                subprocess.SubprocessError,
                psutil.Error,
            ) as error:
                traceback.print_exc()
                lines.append(Line(name, "", f"the trial itself broke off: {error!r}", False))
            print(f"{name}: {(time.monotonic() - start) / 60:.1f} min", flush=True)
            part.write_text("\n".join(line.markdown() for line in lines) + "\n")
            found += lines
    if studies.artifacts(finished) != before:
        found.append(Line("the undisturbed study itself", "", "it was changed", False))
    parts = [folder / f"{name}.md" for name in tried]
    rows = "".join(part.read_text() for part in parts if part.exists())
    (folder / "table.md").write_text(f"{machine()}\n\n{table.HEAD}\n{rows}")
    failed = [line.fault for line in found if line.held is False]
    print(f"{folder / 'table.md'}: {len(found)} lines; did not hold: {failed or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
