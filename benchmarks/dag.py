"""What a plan costs: `snakemake -n` of a study of ten brains, before and after everything has run.

    make bench-dag
    snakemake --version: 1.1 s of processor
    first dry run: jobs 576 seconds 3.4 megabytes 212, 3.3 s of processor, ratio 2.9
    no-op: jobs 0 seconds 3.6 megabytes 240, 3.5 s of processor, ratio 3.1

Images and results are empty files; those of the finished study have Snakemake's records of a run.
The ratio is that to `snakemake --version`, which starts Snakemake and plans nothing; both are the
best of three runs in turn. It fails if a plan takes more than it may, or if the number of its jobs
is wrong. `benchmarks/dag.py STUDY ...` measures studies that there are.
"""

import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from empty_study import ROOT, count_jobs, finish, write

ROLES = {f"B{number:02d}": "seen" for number in range(1, 7)} | {
    "B07": "transfer",
    "B08": "transfer",
    "B09": "unseen",
    "B10": "unseen",
}
SECTIONS = range(0, 465 * 15, 15)  # every 15th of 20 um is on a slide
MOST = 3.5  # times the cost of `snakemake --version`; the goal is 3, and a run varies by a tenth


@dataclass(frozen=True)
class Cost:
    """Of one dry run in a fresh process.

    Attributes
    ----------
    jobs : that it lists.
    seconds : by the clock; processor_s does not count waiting for a busy machine.
    megabytes : largest resident memory.
    start_s : processor time of `snakemake --version`, measured beside it.
    """

    jobs: int
    seconds: float
    megabytes: float
    processor_s: float
    start_s: float

    def __str__(self) -> str:
        return (
            f"jobs {self.jobs} seconds {self.seconds:.1f} megabytes {self.megabytes:.0f}, "
            f"{self.processor_s:.1f} s of processor, ratio {self.processor_s / self.start_s:.1f}"
        )

    def is_little(self) -> bool:
        """Whether a person can wait for it; less than Snakemake's start was not measured."""
        ratio = self.processor_s / self.start_s
        return self.jobs < 1000 and 1 < ratio < MOST and 50 < self.megabytes < 300


def snakemake(*arguments: str) -> tuple[str, float, float, float]:
    """Run Snakemake: what it prints, seconds, processor seconds and megabytes.

    Raises
    ------
    RuntimeError
        If it fails, with what it printed.
    """
    with tempfile.TemporaryFile("w+") as printed:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", *arguments],
            cwd=ROOT,
            stdout=printed,
            stderr=subprocess.STDOUT,
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        text = printed.read()
    if process.returncode:
        raise RuntimeError(text)
    return text, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def dry_run(study: Path) -> Cost:
    """Run `snakemake -n` and see what it takes.

    Raises
    ------
    RuntimeError
        If it fails, with what it printed.
    """
    starts, plans = [], []
    for _ in range(3):
        starts.append(snakemake("--version"))
        plans.append(snakemake("--directory", str(study), "-n"))
    text, seconds, processor_s, megabytes = min(plans, key=lambda plan: plan[2])
    total = re.search(r"^total +(\d+)$", text, re.MULTILINE)
    if not (total or "Nothing to be done" in text):
        raise RuntimeError(text)
    jobs = int(total[1]) if total else 0
    return Cost(jobs, seconds, megabytes, processor_s, min(start[2] for start in starts))


def main() -> int:
    """Return 1 if a plan takes more than it may, or lists a wrong number of jobs."""
    if studies := sys.argv[1:]:
        costs = [dry_run(Path(study)) for study in studies]
        for study, cost in zip(studies, costs, strict=True):
            print(f"{study}: {cost}")
        return 0 if all(cost.is_little() for cost in costs) else 1
    # another process plans: the largest memory of a process counts that of the one that started it
    elsewhere = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    with tempfile.TemporaryDirectory() as folder, elsewhere:
        study = write(Path(folder), ROLES, SECTIONS)
        first = dry_run(study)
        print(f"snakemake --version: {first.start_s:.1f} s of processor")
        print(f"first dry run: {first}", flush=True)
        expected = elsewhere.submit(count_jobs, study).result().total()
        elsewhere.submit(finish, study).result()
        second = dry_run(study)
        print(f"no-op: {second}")
    if (first.jobs, second.jobs) != (expected, 0):
        print(f"wrong: Snakemake's own objects count {expected} jobs, then none")
        return 1
    return 0 if first.is_little() and second.is_little() else 1


if __name__ == "__main__":
    sys.exit(main())
