"""Jobs whose memory or time ends."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from faults import runs, studies
from faults.studies import Job
from faults.table import Line
from faults.watching import Watcher

HANGS_S = 240


def lines(finished: Path, folder: Path) -> Iterator[Line]:
    first = studies.first_of_each_rule(finished)
    for rule in ("segmentation", "midsurface", "features"):
        yield _out_of_memory(finished, folder / "memory", first[rule])
    for rule in ("midline", "features", "pretraining"):
        yield _out_of_time(finished, folder / "time", first[rule])


def _out_of_memory(finished: Path, study: Path, job: Job) -> Line:
    """The job's address space is limited to what it has at some moment, and a little more."""
    studies.without(studies.copy(finished, study), job)
    expected = {study / path: sha for path, sha in studies.artifacts(finished).items()}
    with Watcher((study / output).parent for output in job.outputs) as watcher:
        started = runs.start(study, *job.outputs)
        process = started.wait_for_job()
        # the log exists once the imports are over
        runs.until(lambda: (study / job.log).exists() or not runs.alive(process))
        limit = process.memory_info().vms + (8 << 20)
        process.rlimit(psutil.RLIMIT_AS, (limit, limit))
        try:
            hangs = started.process.wait(HANGS_S) is None
        except subprocess.TimeoutExpired:
            hangs = runs.kill(process)
        status = started.wait()
        said = started.text()
    log = (study / job.log).read_text()
    troubles = [*watcher.unfinished(expected), *studies.wrong(study, finished, job)]
    words = (
        "MemoryError",
        "bad_alloc",
        "not enough memory",
        "annot allocate",
        "worker thread",
        "alloc",
    )
    told = next((word for word in words if word in log or word in said), "")
    if hangs:
        troubles.append(f"it hung; killed after {HANGS_S} s")
    elif status == 0:
        told = "it had all it needed already"
    elif not told:
        told = f"no word of memory: {said[-200:]!r}"
    runs.rerun(study, *job.outputs)
    troubles += studies.differences(study, finished)
    return Line(
        f"out of memory, `{job.rule}`",
        "address space limited to 8 MB more after the imports",
        "; ".join(troubles) or f"exit status {status} ({told}); byte-identical afterwards",
        not troubles and (status != 0 or "already" in told),
    )


def _out_of_time(finished: Path, study: Path, job: Job) -> Line:
    """SIGTERM, as a cluster sends at the limit, and SIGKILL two seconds later."""
    studies.without(studies.copy(finished, study), job)
    expected = {study / path: sha for path, sha in studies.artifacts(finished).items()}
    with Watcher((study / output).parent for output in job.outputs) as watcher:
        started = runs.start(study, *job.outputs)
        process = started.wait_for_job()
        runs.until(lambda: (study / job.log).exists() or not runs.alive(process))
        time.sleep(0.5)
        runs.kill(process, signal.SIGTERM)
        time.sleep(2)
        ended = not runs.alive(process)
        runs.kill(process)
        status = started.wait()
    troubles = [*watcher.unfinished(expected), *studies.wrong(study, finished, job)]
    kept = (study / job.outputs[0]).with_name("checkpoint.pt").exists()
    runs.rerun(study, *job.outputs)
    troubles += studies.differences(study, finished)
    how = "ends on TERM" if ended else "is killed 2 s later"
    return Line(
        f"out of time, `{job.rule}`",
        "TERM, KILL 2 s later",
        "; ".join(troubles)
        or f"the job {how} (status {status})"
        + (", its checkpoint is kept" if kept else "")
        + "; byte-identical afterwards",
        not troubles,
    )
