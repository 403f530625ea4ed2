"""`python -m cytopipe queue`: the Slurm jobs of a study that are still in the queue."""

import argparse
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from cytopipe.files import InputError

# Snakemake writes the jobs' own logs there, one folder a study: what squeue knows a study by
JOB_LOGS = Path(".snakemake") / "slurm_logs"
LOCKS = Path(".snakemake") / "locks"
WAIT_S = 10.0
# field of squeue and characters that it takes; longer values are cut
FIELDS = {"JobArrayID": 32, "State": 16, "Comment": 160, "StdOut": 1024}


@dataclass(frozen=True)
class Job:
    """A job of Slurm's that has not ended: its number, its state, and which rule it runs."""

    number: str
    state: str
    rule: str


def run(arguments: list[str]) -> int:
    """List the Slurm jobs of a study; the exit status is 1 while there are any.

    A second start of Snakemake beside them would do their work once more, into the same files.
    """
    parser = argparse.ArgumentParser("cytopipe queue", description=run.__doc__)
    parser.add_argument("--study", type=Path, default=Path(), help="study folder; here by default")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--wait", action="store_true", help="return when all of them have ended")
    either.add_argument("--cancel", action="store_true", help="cancel them and wait for their end")
    options = parser.parse_args(arguments)
    if not (options.study / "config" / "config.yaml").exists():
        raise InputError(f"{options.study} has no config/config.yaml; name a study with --study")

    jobs = jobs_of(options.study)
    print(_listed(options.study, jobs))
    if jobs and options.cancel:
        cancel(jobs)
    while jobs and (options.wait or options.cancel):
        time.sleep(WAIT_S)
        jobs = jobs_of(options.study)
        print(f"{len(jobs)} jobs left", flush=True)
    if any((options.study / LOCKS).glob("*")):
        print(_lock(options.study))
    return 1 if jobs else 0


def jobs_of(study: Path) -> list[Job]:
    """Jobs of a study, of any user, that wait, run or are about to end; none without a Slurm.

    Raises
    ------
    InputError
        If squeue gives no answer.
    """
    if shutil.which("squeue") is None:
        return []
    fields = ",".join(f"{name}:{width}" for name, width in FIELDS.items())
    found = subprocess.run(
        ["squeue", "--noheader", f"--Format={fields}"], capture_output=True, text=True
    )
    if found.returncode:
        raise InputError(
            f"squeue does not answer ({found.stderr.strip()}), so that nobody knows whether jobs "
            f"of {study.resolve()} are still running; try again when `squeue` works"
        )
    logs = (study / JOB_LOGS).resolve()
    jobs = []
    for line in found.stdout.splitlines():
        values, start = [], 0
        for width in FIELDS.values():
            values.append(line[start : start + width].strip())
            start += width
        number, state, comment, log = values
        if Path(log).is_relative_to(logs):
            jobs.append(Job(number, state, comment))
    return jobs


def cancel(jobs: list[Job]) -> None:
    """Cancel jobs; a training saves its state before it ends.

    Raises
    ------
    InputError
        If Slurm refuses.
    """
    numbers = [job.number for job in jobs]
    found = subprocess.run(["scancel", *numbers], capture_output=True, text=True)
    if found.returncode:
        raise InputError(
            f"scancel of {' '.join(numbers)} failed ({found.stderr.strip()}); cancel them by hand"
        )


def refuse_second_start(study: Path, must_know: bool) -> None:
    """Raise InputError if jobs of a study are still in the queue.

    Parameters
    ----------
    must_know : raise it as well if squeue gives no answer, as a run on the cluster must; a run on
        this machine goes on, where Slurm may be installed and not in use.
    """
    try:
        jobs = jobs_of(study)
    except InputError:
        if must_know:
            raise
        return
    if jobs:
        raise InputError(
            f"{_listed(study, jobs)}\n"
            "They are of an earlier start whose Snakemake was killed; started beside them, this "
            "one would do their work once more, into the same files.\n"
            f"  wait for them:    python -m cytopipe queue --study {study.resolve()} --wait\n"
            f"  or cancel them:   python -m cytopipe queue --study {study.resolve()} --cancel\n"
            "and start again."
        )


def stay_with_squeue(status_command: str | None) -> None:
    """Where squeue is to tell what becomes of jobs, keep Snakemake's plugin from changing to sacct.

    The plugin (2.8) does so when slurmctld cannot be asked just then. Without slurmdbd sacct fails,
    the jobs are forgotten, and the run hangs (docs/reliability.md).

    Parameters
    ----------
    status_command : slurm-status-command of the profile; None without Slurm.
    """
    if status_command == "squeue":
        import snakemake_executor_plugin_slurm as plugin

        is_available = plugin.is_query_tool_available
        plugin.is_query_tool_available = lambda tool: tool != "sacct" and is_available(tool)


def _listed(study: Path, jobs: list[Job]) -> str:
    if not jobs:
        return f"{study}: no jobs in Slurm's queue"
    rows = [f"  {job.number}  {job.state}  {job.rule}" for job in jobs[:20]]
    rows += [f"  and {len(jobs) - 20} more"] if len(jobs) > 20 else []
    return "\n".join([f"{study.resolve()}: {len(jobs)} jobs are in Slurm's queue", *rows])


def _lock(study: Path) -> str:
    return (
        "The study is locked: a Snakemake is at work on it, or one was killed and could not unlock "
        "it.\nWhere none is (on the machine that it was started on, `pgrep -af snakemake` shows "
        f"none):\n  snakemake --directory {study.resolve()} --unlock"
    )
