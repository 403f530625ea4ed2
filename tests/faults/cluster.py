"""A Slurm on this host whose parts go away in mid-job; tests/slurm/start.sh brings it up."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from faults import runs, studies
from faults.runs import Run
from faults.studies import Job
from faults.table import Line
from faults.watching import Watcher

SCRIPTS = runs.REPOSITORY / "tests" / "slurm"
AWAY_S = 30
# asked often, so that a test need not wait; the rest as in slurm/profile.yaml
ARGUMENTS = (
    *("--profile", "slurm", "--slurm-status-command", "squeue"),
    *("--slurm-init-seconds-before-status-checks", "3", "--max-status-checks-per-second", "1"),
    *("--latency-wait", "10", "--seconds-between-status-checks", "3"),
)


@dataclass(frozen=True)
class Cluster:
    """A Slurm that runs.

    Attributes
    ----------
    folder : where it keeps its configuration, state and process ids.
    env : with which its commands are found.
    """

    folder: Path
    env: Mapping[str, str]

    def ask(self, *command: str) -> str:
        done = subprocess.run(
            command, env={**os.environ, **self.env}, capture_output=True, text=True
        )
        return done.stdout.strip()

    def queue(self) -> str:
        return self.ask("squeue", "-h", "-t", "PENDING,RUNNING,COMPLETING", "-o", "%i %T %N")

    def process_of(self, name: str) -> psutil.Process:
        return psutil.Process(int((self.folder / "run" / f"{name}.pid").read_text()))

    def bring_up(self) -> None:
        subprocess.run(
            ["bash", str(SCRIPTS / "start.sh")],
            env={**os.environ, "SLURM_FOLDER": str(self.folder), "PORT": "18917"},
            check=True,
        )


@contextmanager
def started(folder: Path) -> Iterator[Cluster]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    env = {"SLURM_CONF": str(folder / "etc" / "slurm.conf"), "MASTER_ADDR": "127.0.0.1"}
    env["PATH"] = f"{folder / 'bin'}:{os.environ['PATH']}"
    cluster = Cluster(folder, env)
    try:
        cluster.bring_up()
        yield cluster
    finally:
        subprocess.run(
            ["bash", str(SCRIPTS / "stop.sh")],
            env={**os.environ, "SLURM_FOLDER": str(folder)},
            check=True,
        )


def lines(finished: Path, folder: Path) -> Iterator[Line]:
    if not (SCRIPTS / "start.sh").exists() or not shutil.which("sbatch"):
        yield Line(
            "faults of a cluster", "Slurm", "not installed here: make test-slurm says how", None
        )
        return
    job = studies.first_of_each_rule(finished)["midline"]
    with started(folder / "slurm") as cluster:
        for fault in (_controller_away, _node_down, _killed_for_memory, _time_limit):
            yield fault(cluster, finished, folder / "on-slurm", job)
        for at_once in (False, True):
            yield _master_killed(cluster, finished, folder / "on-slurm", job, at_once)


def _start(
    cluster: Cluster, finished: Path, study: Path, job: Job, *more: str
) -> tuple[Run, psutil.Process]:
    """A run with one job on the cluster, and the job's process."""
    studies.without(studies.copy(finished, study), job)
    # options first whose values would run on into the targets
    run = runs.start(study, *more, *ARGUMENTS, *job.outputs, env=cluster.env)
    process = runs.until(lambda: _script(study) or run.process.poll() is not None)
    if not isinstance(process, psutil.Process):
        raise AssertionError(f"no job was started:\n{run.text()}")
    return run, process


def _script(study: Path, besides: psutil.Process | None = None) -> psutil.Process | None:
    """The process of a job's script, whoever started it."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        found = any(f"{study}/.snakemake/scripts/" in word for word in words[:2])
        if found and process != besides:
            return process
    return None


def _ended(
    fault: str,
    tried: str,
    run: Run,
    watcher: Watcher,
    finished: Path,
    study: Path,
    outcome: str = "",
) -> Line:
    """The line of a run that is to end by itself, with retries, and well."""
    status = run.wait()
    expected = {study / path: sha for path, sha in studies.artifacts(finished).items()}
    troubles = [] if status == 0 else [f"exit status {status}: {run.text()[-300:]!r}"]
    troubles += [*watcher.unfinished(expected), *_besides_unfinished(study, finished)]
    retried = run.text().count("Trying to restart job")
    outcome = (
        outcome or f"the run ends well after {retried} restart{'s' * (retried != 1)} of the job"
    )
    return Line(fault, tried, "; ".join(troubles) or f"{outcome}; byte-identical", not troubles)


def _besides_unfinished(study: Path, finished: Path) -> list[str]:
    """Differences but for what a killed process left: the next start sweeps it."""
    found = studies.differences(study, finished)
    return [line for line in found if not Path(line.partition(":")[0]).name.startswith(".")]


def _watcher(study: Path, job: Job) -> Watcher:
    return Watcher((study / output).parent for output in job.outputs)


def _controller_away(cluster: Cluster, finished: Path, study: Path, job: Job) -> Line:
    with _watcher(study, job) as watcher:
        run, _ = _start(cluster, finished, study, job)
        runs.kill(cluster.process_of("slurmctld"))
        time.sleep(AWAY_S)
        cluster.bring_up()
        return _ended(
            f"slurmctld away for {AWAY_S} s", "kill -9 in mid-job", run, watcher, finished, study
        )


def _node_down(cluster: Cluster, finished: Path, study: Path, job: Job) -> Line:
    with _watcher(study, job) as watcher:
        run, process = _start(cluster, finished, study, job)
        node = cluster.queue().split()[-1]
        daemon = cluster.process_of(f"slurmd.{node}")
        # everything that would be gone with the host
        for gone in [daemon, *_steps(), *process.parents()[:3], process]:
            if gone.pid > 1 and gone.pid != os.getpid() and gone.name() != "systemd":
                runs.kill(gone)
        cluster.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=fault")
        line = _ended(
            "a node down in mid-job",
            f"slurmd, steps and job of {node} killed, the node set DOWN",
            run,
            watcher,
            finished,
            study,
        )
    cluster.bring_up()
    cluster.ask("scontrol", "update", f"NodeName={node}", "State=RESUME")
    return line


def _steps() -> list[psutil.Process]:
    return [p for p in psutil.process_iter() if p.name().startswith("slurmstepd")]


def _killed_for_memory(cluster: Cluster, finished: Path, study: Path, job: Job) -> Line:
    with _watcher(study, job) as watcher:
        run, process = _start(cluster, finished, study, job)
        runs.kill(process)
        return _ended(
            "out of memory in a Slurm job",
            "kill -9 of its process, as the kernel does",
            run,
            watcher,
            finished,
            study,
        )


def _time_limit(cluster: Cluster, finished: Path, study: Path, job: Job) -> Line:
    with _watcher(study, job) as watcher:
        limits = ("--set-resources", f"{job.rule}:runtime=1 + 29 * (attempt - 1)")
        run, process = _start(cluster, finished, study, job, *limits)
        runs.kill(process, signal.SIGSTOP)  # it will not be done within the minute
        return _ended(
            "out of time in a Slurm job",
            "a job that hangs beyond its limit of a minute",
            run,
            watcher,
            finished,
            study,
        )


def _master_killed(cluster: Cluster, finished: Path, study: Path, job: Job, at_once: bool) -> Line:
    with _watcher(study, job) as watcher:
        first, old = _start(cluster, finished, study, job)
        runs.kill(psutil.Process(first.process.pid))
        first.wait()
        left = cluster.queue()
        if at_once:
            old.suspend()  # so that the second start meets it
        else:
            runs.until(lambda: not cluster.queue())
        status, said = runs.run(study, *ARGUMENTS, *job.outputs, env=cluster.env)
        # where the job has ended meanwhile nothing is left to do, and no lock is asked for
        explained = "--unlock" in said if status else not at_once
        lock = "the lock is explained" if status else "nothing is left to do, which needs no lock"
        runs.run(study, "--unlock")
        words = "started again when the queue is empty"
        refused = ""
        if at_once:
            words = "started again at once"
            status, said = runs.run(study, *ARGUMENTS, *job.outputs, env=cluster.env)
            if status and "jobs are in Slurm's queue" in said:
                refused = "; the job goes on; a start beside it is refused until it has ended"
            explained = explained and bool(refused)
            old.resume()
            runs.until(lambda: not cluster.queue())
            runs.run(study, "--unlock")
        second = runs.start(study, *ARGUMENTS, *job.outputs, env=cluster.env)
        line = _ended(
            "Snakemake killed with a job in the queue",
            words,
            second,
            watcher,
            finished,
            study,
            f"{lock}{refused}",
        )
        runs.until(lambda: not cluster.queue())
    if left and not explained:
        return Line(
            line.fault, line.tried, f"the second start is not explained: {said[-300:]!r}", False
        )
    return line
