"""Disks that fill up or turn read-only."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults import runs, studies
from faults.studies import Job
from faults.table import Line

# one for each way of writing: tables and pages, volumes, HDF5, memory maps, torch, HTML
WRITERS = ("segmentation", "midsurface", "coordinates", "features", "pretraining", "report_brain")


def lines(finished: Path, folder: Path) -> Iterator[Line]:
    first = studies.first_of_each_rule(finished)
    for rule in WRITERS:
        yield _full_disk(finished, folder / "full", first[rule])
    yield _read_only(finished, folder / "readonly", first["midline"])


def _mount(*arguments: str) -> str:
    """Mount; what went wrong, or nothing."""
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    return done.stderr.strip() if done.returncode else ""


@contextmanager
def _tmpfs(folder: Path, size_bytes: int) -> Iterator[str]:
    """A small disk at `folder` while the block runs; yields why not, if not."""
    refused = _mount("-t", "tmpfs", "-o", f"size={size_bytes}", "cytopipe-faults", str(folder))
    try:
        yield refused
    finally:
        if not refused:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def _needs_root(fault: str, reason: str) -> Line:
    return Line(fault, "a mount", f"needs root here: {reason}", None)


def _full_disk(finished: Path, study: Path, job: Job) -> Line:
    """Results on a disk with room for half of what the job writes."""
    fault = f"the disk is full, `{job.rule}`"
    studies.copy(finished, study)
    shutil.rmtree(study / "results")
    (study / "results").mkdir()
    size = sum((finished / output).stat().st_size for output in job.outputs)
    total = sum(path.stat().st_size for path in (finished / "results").rglob("*"))
    with _tmpfs(study / "results", 4 * total + (64 << 20)) as refused:
        if refused:
            return _needs_root(fault, refused)
        shutil.copytree(finished / "results", study / "results", dirs_exist_ok=True)
        studies.without(study, job)
        room = os.statvfs(study / "results")
        used = (room.f_blocks - room.f_bfree) * room.f_frsize
        _mount("-o", f"remount,size={used + max(4096, size // 2)}", str(study / "results"))
        status, _ = runs.run(study, *job.outputs)
        log = (study / job.log).read_text()
        troubles = studies.wrong(study, finished, job)
        named = [line for line in log.splitlines() if "No space left on device" in line]
        if status == 0:
            troubles.append("the job did not fail")
        if not named or "make room" not in named[-1]:
            troubles.append(f"{job.log} does not say why: {log[-300:]!r}")
        _mount("-o", f"remount,size={4 * total + (64 << 20)}", str(study / "results"))
        runs.rerun(study, *job.outputs)
        troubles += studies.differences(study, finished)
    return Line(
        fault,
        f"room for {max(4096, size // 2) >> 10} of {size >> 10} kB",
        "; ".join(troubles)
        or "the job fails, its log names the file and says to make room; nothing half-written; "
        "byte-identical once there is room",
        not troubles,
    )


def _read_only(finished: Path, study: Path, job: Job) -> Line:
    """The output folder becomes read-only while the job runs."""
    fault = f"the output folder becomes read-only, `{job.rule}`"
    studies.without(studies.copy(finished, study), job)
    place = (study / job.outputs[0]).parent
    refused = _mount("--bind", str(place), str(place))
    if refused:
        return _needs_root(fault, refused)
    try:
        started = runs.start(study, *job.outputs)
        started.wait_for_job()
        refused = _mount("-o", "remount,bind,ro", str(place))
        status = started.wait()
        log = (study / job.log).read_text()
        troubles = [] if status else ["the job did not fail"]
        if "cannot be written" not in log or str(place.relative_to(study)) not in log:
            troubles.append(f"{job.log} does not say why: {log[-300:]!r}")
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
    runs.rerun(study, *job.outputs)
    troubles += studies.differences(study, finished)
    return Line(
        fault,
        "a read-only bind mount after the job's start",
        "; ".join(troubles) or "the job fails, its log names the folder; byte-identical afterwards",
        not troubles,
    )
