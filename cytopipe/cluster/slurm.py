"""The Slurm jobs of a study: which are in the queue, cancelling them, refusing a second start."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cytopipe.files import InputError

# Snakemake writes the logs of its Slurm jobs there, one folder per study: squeue reports the path
# of the log, which tells the study of a job
JOB_LOGS = Path(".snakemake") / "slurm_logs"
LOCKS = Path(".snakemake") / "locks"
# fields of squeue and how many characters each prints; longer values are cut off
FIELDS = {"JobArrayID": 32, "State": 16, "Comment": 160, "StdOut": 1024}


@dataclass(frozen=True)
class Job:
    """A job of Slurm's that has not ended: its number, its state, and which rule it runs."""

    number: str
    state: str
    rule: str


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
    answer = subprocess.run(
        ["squeue", "--noheader", f"--Format={fields}"], capture_output=True, text=True
    )
    if answer.returncode:
        raise InputError(
            f"squeue does not answer ({answer.stderr.strip()}), so that nobody knows whether jobs "
            f"of {study.resolve()} are still running; try again when `squeue` works"
        )
    logs = (study / JOB_LOGS).resolve()
    jobs = []
    for line in answer.stdout.splitlines():
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
    answer = subprocess.run(["scancel", *numbers], capture_output=True, text=True)
    if answer.returncode:
        raise InputError(
            f"scancel of {' '.join(numbers)} failed ({answer.stderr.strip()}); cancel them by hand"
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
            f"{listed(study, jobs)}\n"
            "They are of an earlier start whose Snakemake was killed; started beside them, this "
            "one would do their work once more, into the same files.\n"
            f"  wait for them:    python -m cytopipe queue --study {study.resolve()} --wait\n"
            f"  or cancel them:   python -m cytopipe queue --study {study.resolve()} --cancel\n"
            "and start again."
        )


def listed(study: Path, jobs: list[Job]) -> str:
    if not jobs:
        return f"{study}: no jobs in Slurm's queue"
    rows = [f"  {job.number}  {job.state}  {job.rule}" for job in jobs[:20]]
    rows += [f"  and {len(jobs) - 20} more"] if len(jobs) > 20 else []
    return "\n".join([f"{study.resolve()}: {len(jobs)} jobs are in Slurm's queue", *rows])


def lock_notice(study: Path) -> str:
    return (
        "The study is locked: a Snakemake is at work on it, or one was killed and could not unlock "
        "it.\nWhere none is (on the machine that it was started on, `pgrep -af snakemake` shows "
        f"none):\n  snakemake --directory {study.resolve()} --unlock"
    )
