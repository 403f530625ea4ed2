"""`python -m cytopipe queue`: the Slurm jobs of a study that are still in the queue."""

import argparse
import time
from pathlib import Path

from cytopipe.cluster import slurm
from cytopipe.files import InputError

WAIT_S = 10.0


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

    jobs = slurm.jobs_of(options.study)
    print(slurm.listed(options.study, jobs))
    if jobs and options.cancel:
        slurm.cancel(jobs)
    while jobs and (options.wait or options.cancel):
        time.sleep(WAIT_S)
        jobs = slurm.jobs_of(options.study)
        print(f"{len(jobs)} jobs left", flush=True)
    if any((options.study / slurm.LOCKS).glob("*")):
        print(slurm.lock_notice(options.study))
    return 1 if jobs else 0
