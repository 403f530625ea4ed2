"""`python -m cytopipe queue`: list the Slurm jobs of a study that are still in the queue."""

import time

from cytopipe.cluster import slurm
from cytopipe.commands.study_parser import config_of, study_parser

WAIT_S = 10.0


def run(arguments: list[str]) -> int:
    """List the Slurm jobs of a study; the exit status is 1 if there are any.

    If Snakemake were started beside them, it would do their work again, into the same files.
    """
    parser = study_parser("queue", run)
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--wait", action="store_true", help="return when all of them have ended")
    either.add_argument("--cancel", action="store_true", help="cancel them and wait for their end")
    options = parser.parse_args(arguments)
    config_of(options.study)
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
