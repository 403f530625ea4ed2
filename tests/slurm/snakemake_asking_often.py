"""Snakemake whose Slurm plugin asks every second what has become of its jobs.

The plugin (2.8) waits 10 s longer each time that no job has ended, and has no setting for that: of
jobs that take 10 to 20 s it hears after 20 or 45 s, and such waits were most of the test's time.
"""

import sys

from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor

EVERY_S = 1

Executor.next_seconds_between_status_checks = property(
    lambda self: EVERY_S, lambda self, longer: None
)

if __name__ == "__main__":
    sys.exit(main())
