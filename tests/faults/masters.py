"""Signals to the master, with a job running and before one runs; two runs on one study."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

from faults import runs, studies
from faults.studies import Job
from faults.table import Line
from faults.watching import Watcher

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)


def lines(finished: Path, folder: Path) -> Iterator[Line]:
    """Each signal to Snakemake; two runs of one study."""
    job = next(job for job in studies.jobs_of(finished) if job.rule == "midline")
    for number in SIGNALS:
        for running in (True, False):
            yield _signalled(finished, folder / "signalled", job, number, running)
    yield _two_runs(finished, folder / "twice", job)


def locks(study: Path) -> int:
    return len(list((study / ".snakemake" / "locks").glob("*")))


def _signalled(
    finished: Path, study: Path, job: Job, number: signal.Signals, running: bool
) -> Line:
    studies.without(studies.copy(finished, study), job)
    expected = {study / path: sha for path, sha in studies.artifacts(finished).items()}
    found, troubles = [], []
    with Watcher((study / output).parent for output in job.outputs) as watcher:
        started = runs.start(study, *job.outputs)
        if running:
            process = started.wait_for_job()
            time.sleep(1)
        else:
            runs.until(lambda: locks(study) > 0)
            process = None
        runs.signal_to(started, number)
        status = started.wait()
        found.append(f"exit status {status}")
        if process is not None:
            found.append("the job went on" if runs.alive(process) else _end_of(study, job))
        if locks(study):
            status, said = runs.run(study, *job.outputs)
            explained = "cannot be locked" in said and "--unlock" in said
            found.append("the lock stays; a second start is refused and says --unlock")
            if status == 0 or not explained:
                troubles.append(f"second start: status {status}, explained: {explained}")
        if process is not None and runs.alive(process):
            process.suspend()  # so that it ends after the job of the second start
            runs.rerun(study, *job.outputs)
            process.resume()
            runs.until(lambda: not runs.alive(process))
            found.append("the job ran a second time beside the old one, which ended last")
        else:
            runs.rerun(study, *job.outputs)
    troubles += [*watcher.unfinished(expected), *studies.differences(study, finished)]
    return Line(
        f"{number.name} to Snakemake",
        "with a job running" if running else "with the lock taken and no job running",
        "; ".join([*found, *troubles] or [""])
        + ("" if troubles else "; after the rerun byte-identical"),
        not troubles,
    )


def _end_of(study: Path, job: Job) -> str:
    there = [(study / output).exists() for output in job.outputs]
    return "the job was let finish" if all(there) else "the job was ended"


def _two_runs(finished: Path, study: Path, job: Job) -> Line:
    studies.without(studies.copy(finished, study), job)
    expected = {study / path: sha for path, sha in studies.artifacts(finished).items()}
    with Watcher((study / output).parent for output in job.outputs) as watcher:
        first = runs.start(study, *job.outputs)
        first.wait_for_job()
        status, said = runs.run(study, *job.outputs)
        explained = "cannot be locked" in said
        ended = first.wait()
    troubles = [*watcher.unfinished(expected), *studies.differences(study, finished)]
    if status == 0 or not explained or ended:
        troubles.append(f"second: status {status}, explained: {explained}; first: status {ended}")
    outcome = f"the second is refused by the lock (status {status}); the first ends undisturbed"
    return Line(
        "two runs started on one study",
        "the second while a job of the first runs",
        "; ".join(troubles) or outcome,
        not troubles,
    )
