"""How fast the package trains on a GPU: a table on stdout, and results.json in a folder.

Each part is measured in a process of its own, so that neither an error nor memory of one touches
another, and a part that hangs can be ended. The parts come in the order of their importance; the
files are written anew after each.
"""

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.gpu import settings
from benchmarks.gpu.settings import FULL, PARTS, QUICK, Part

REPOSITORY = Path(__file__).resolve().parents[2]
LEAST_S = 15  # a part is not started with less time
COLUMNS = [
    *("patches/s", "batch", "peak GB", "copy %", "augmentation %", "forward %", "backward %"),
    *("optimiser %", "waiting %"),
]


def main() -> int:
    """Measure all parts; 1 if any of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, required=True, help="folder for results.json, table.md")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: to try the script")
    parser.add_argument("--minutes", type=float, default=9.3, help="for all parts together")
    parser.add_argument("--wheels", type=Path, help="folder of wheels to use, if packages lack")
    parser.add_argument("--only", nargs="+", choices=[part.name for part in PARTS], metavar="PART")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    # as an exception, which ends the part that is running
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options.to.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {
        "machine": None,
        "sizes": asdict(QUICK if options.quick else FULL),
        "optimiser": settings.OPTIMISER,
        "augmentation": settings.AUGMENTATION,
        "precision": settings.PRECISION,
        "parts": [],
    }
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        environment = environment_with(options.wheels, Path(folder))
        lines: list[str] = []
        for number, part in enumerate(PARTS):
            if options.only and part.name not in options.only:
                continue
            batch = fitting_batch(part, record["parts"])
            words = [str(number), options.device, "quick" if options.quick else "full", str(batch)]
            limit_s = end - time.monotonic()
            if not options.quick:
                limit_s = min(limit_s, part.limit_s)
            result = measured(part, words, limit_s, environment, Path(folder))
            record["machine"] = record["machine"] or result.pop("machine", None)
            result.pop("machine", None)
            record["parts"].append(result)
            new = [*heading(record["machine"]), as_row(result)] if not lines else [as_row(result)]
            print(*new, sep="\n", flush=True)
            lines += new
            write(options.to / "results.json", json.dumps(record, indent=1) + "\n")
            write(options.to / "table.md", "\n".join(lines) + "\n")
    return int(any(result["status"] != "ok" for result in record["parts"]))


def measured(
    part: Part, words: list[str], limit_s: float, environment: dict[str, str], folder: Path
) -> dict[str, Any]:
    """What a part's process wrote, with its status, its error and its seconds."""
    described = {"part": part.name, **asdict(part)}
    if limit_s < LEAST_S:
        return {**described, "status": "not measured", "error": "the time was up", "numbers": {}}
    written = folder / "part.json"
    written.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.gpu.part", *words, str(written)]
    start = time.monotonic()
    error: str | None
    with (
        (folder / "log").open("w+") as log,
        subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            cwd=REPOSITORY,
            env=environment,
            process_group=0,
        ) as process,
    ):
        try:
            status = process.wait(limit_s)
            error = None if status == 0 else f"exit status {status}"
        except subprocess.TimeoutExpired:
            error = f"ended after its limit of {limit_s:.0f} s"
        finally:
            end_group(process)
        log.seek(0)
        said = log.read().strip().splitlines()
    result = json.loads(written.read_text()) if written.exists() else {"numbers": {}}
    if error is not None:
        error = f"{error}: {said[-1] if said else 'it said nothing'}"
    return {
        **described,
        "status": "ok" if error is None else "failed",
        "error": error,
        "log": said[-30:] if error else [],
        "seconds": round(time.monotonic() - start, 1),
        **result,
    }


def end_group(process: subprocess.Popen[Any]) -> None:
    """End a part's process and the workers that it started, if it still runs."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def fitting_batch(part: Part, results: list[dict[str, Any]]) -> int:
    """The batch that fitted the same network uncompiled, to begin with; 0 if it is not known."""
    if part.kind not in ("training", "loading"):
        return 0
    for result in results:
        same = (result["architecture"], result["checkpointing"]) == (
            part.architecture,
            part.checkpointing,
        )
        if same and result["kind"] == "training" and not result["compiled"]:
            return int(result["numbers"].get("batch", 0))
    return 0


def environment_with(wheels: Path | None, folder: Path) -> dict[str, str]:
    """The environment of the parts, in which the wheels' packages can be imported.

    Raises
    ------
    SystemExit
        If the folder has no wheels.
    """
    environment = dict(os.environ)
    if wheels is None:
        return environment
    packages = sorted(wheels.glob("*.whl"))
    if not packages:
        raise SystemExit(f"{wheels}: contains no .whl file")
    for wheel in packages:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / "packages")
    known = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(folder / "packages"), *([known] if known else [])]
    )
    return environment


def heading(machine: dict[str, Any] | None) -> list[str]:
    """The machine in a line, and the head of the table."""
    if machine:
        memory = f" ({machine['device_gb']} GB)" if machine["device_gb"] else ""
        absent = f"; without {', '.join(machine['absent'])}" if machine["absent"] else ""
        about = (
            f"{machine['device']}{memory}, {machine['cores']} cores of {machine['processor']}; "
            f"torch {machine['torch']}, CUDA {machine['cuda']}, Python {machine['python']}{absent}."
        )
    else:
        about = "The machine is not known: the first part failed before it said."
    head = ["part", "status", "s", *COLUMNS, "more"]
    return [about, "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]


def as_row(result: dict[str, Any]) -> str:
    """One part as a row of the table."""
    numbers = dict(result["numbers"])
    cells = [result["part"], result["status"], short(result.get("seconds", 0))]
    cells += [short(numbers.pop(name, "")) for name in COLUMNS]
    instead = result.get("network", "") != result["architecture"]
    more = [f"network {result['network']}"] if instead and "network" in result else []
    more += [f"{name} {short(value)}" for name, value in numbers.items()]
    more += [str(result["error"])] if result["error"] else []
    cells.append("; ".join(more).replace("|", "/").replace("\n", " "))
    return "| " + " | ".join(cells) + " |"


def short(value: float | str) -> str:
    """Three digits that matter."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) or not math.isfinite(value):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    beside = path.with_name(f".{path.name}")
    beside.write_text(text)
    os.replace(beside, path)
