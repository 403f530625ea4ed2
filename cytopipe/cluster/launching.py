"""Starting a stage as several processes: by srun in a Slurm job, by torchrun on one machine.

Nothing here joins the processes; `learning.distributed` does, in each of them.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

INTERRUPTED = 85  # exit status of a stage that saved its state and shall be started again

# long enough for Slurm to end this job after `scontrol requeue`, which it does within seconds
REQUEUE_S = 300


def run(
    *,
    stage: str,
    files: Mapping[str, Any],
    params: Mapping[str, Any],
    threads: int,
    nodes: int,
    processes_per_node: int,
    launcher: str,
    log: Path | str,
) -> None:
    """Run a stage in the processes that were asked for and leave with their exit status.

    A stage that saved its state and left before the time limit of a Slurm job (`INTERRUPTED`) puts
    its job back into the queue; where Slurm refuses that, the status says that the job has failed.

    Parameters
    ----------
    stage : of `python -m cytopipe`.
    files : its options; None and what is empty is left out.
    params : of the stage.
    threads : of each process in a Slurm job; elsewhere of all of them together.
    nodes, processes_per_node : one process a GPU.
    launcher : srun, where it needs another name or options of its own; empty otherwise.
    log : what the processes say, of this attempt.

    Raises
    ------
    SystemExit
        With the exit status, unless it is 0.
    """
    in_job = "SLURM_JOB_ID" in os.environ
    processes = nodes * processes_per_node
    each = threads if in_job else max(1, threads // processes)
    options = {**files, "threads": each, "values": json.dumps(params)}
    words = [f"--{name}={value}" for name, value in options.items() if value or value == 0]
    start = command(in_job, nodes, processes_per_node, each, launcher)
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    with Path(log).open("w") as written:
        status, ended = _follow([*start, "-m", "cytopipe", stage, *words], written)
        if status == INTERRUPTED and in_job and not ended:
            _requeue(os.environ["SLURM_JOB_ID"], written)
    if status:
        raise SystemExit(status)


def command(
    in_job: bool, nodes: int, processes_per_node: int, threads: int, launcher: str
) -> list[str]:
    """What starts the processes of `-m MODULE ...`.

    A single process of a Slurm job is started by srun as well: Slurm warns the steps of a job
    before its time limit, not the script.
    """
    if in_job:
        return [
            *(shlex.split(launcher) or ["srun"]),
            f"--nodes={nodes}",
            f"--ntasks={nodes * processes_per_node}",
            f"--ntasks-per-node={processes_per_node}",
            f"--cpus-per-task={threads}",
            # all leave with INTERRUPTED, the first one must not be the end of the others; but
            # where one has died, they wait for it in vain
            "--kill-on-bad-exit=0",
            "--wait=120",
            sys.executable,
        ]
    if nodes * processes_per_node == 1:
        return [sys.executable]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*torchrun, f"--nproc-per-node={nodes * processes_per_node}"]


def _follow(words: list[str], log: TextIO) -> tuple[int, bool]:
    """Run a program, pass on what it says; its exit status, and whether SIGTERM came meanwhile."""
    ended = False
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as started:

        def end(number: int, frame: FrameType | None) -> None:
            nonlocal ended
            ended = True
            started.terminate()

        before = signal.signal(signal.SIGTERM, end)
        assert started.stdout is not None
        for line in started.stdout:
            _say(line, log)
        status = started.wait()
        signal.signal(signal.SIGTERM, before)
    # as a shell says that a signal ended a program
    return (128 - status if status < 0 else status), ended


def _requeue(job: str, log: TextIO) -> None:
    """Put the Slurm job back into the queue and wait for its end."""
    found = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
    if found.returncode:
        _say(f"job {job} cannot be requeued ({found.stderr.strip()})\n", log)
        return
    _say(f"job {job} is back in the queue and continues from its checkpoint\n", log)
    time.sleep(REQUEUE_S)


def _say(line: str, log: TextIO) -> None:
    for stream in (sys.stderr, log):
        stream.write(line)
        stream.flush()
