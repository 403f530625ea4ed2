"""Launching a stage as several processes: by srun in a Slurm job, by torchrun on one machine.

The processes connect to each other in `learning.distributed`, not here.
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

INTERRUPTED = 85  # exit status of a stage that saved its state and is to be started again

# long enough for Slurm to end this job after `scontrol requeue`, which takes it seconds
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
    """Run a stage in several processes and exit with their status.

    If the stage was interrupted in a Slurm job (`INTERRUPTED`), the job is put back into the queue.
    If Slurm refuses to requeue it, the job fails.

    Parameters
    ----------
    stage : of `python -m cytopipe`, e.g. `evaluation-finetuning`.
    files : options of the stage, each one value or a list; None and empty ones are omitted.
    params : of the stage.
    threads : per process in a Slurm job; elsewhere, of all processes together.
    nodes, processes_per_node : one process per GPU.
    launcher : the srun command, if it needs another name or options; empty otherwise.
    log : the output of the processes in this attempt.

    Raises
    ------
    SystemExit
        With the exit status, unless it is 0.
    """
    in_job = "SLURM_JOB_ID" in os.environ
    processes = nodes * processes_per_node
    each = threads if in_job else max(1, threads // processes)
    options = {**files, "threads": each, "values": json.dumps(params)}
    words = [word for name, value in options.items() for word in _option(name, value)]
    start = command(in_job, nodes, processes_per_node, each, launcher)
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    with Path(log).open("w") as file:
        status, cancelled = _follow([*start, "cytopipe", stage, *words], file)
        if status == INTERRUPTED and in_job and not cancelled:
            _requeue(os.environ["SLURM_JOB_ID"], file)
    if status:
        raise SystemExit(status)


def _option(name: str, value: Any) -> list[str]:
    if isinstance(value, list | tuple):
        return [f"--{name}", *map(str, value)] if value else []
    return [f"--{name}={value}"] if value or value == 0 else []


def command(
    in_job: bool, nodes: int, processes_per_node: int, threads: int, launcher: str
) -> list[str]:
    """The command that starts the processes, to be followed by a module and its options.

    In a Slurm job, srun starts even a single process: before the time limit, Slurm warns the steps
    of a job, not its script.
    """
    if in_job:
        return [
            *(shlex.split(launcher) or ["srun"]),
            f"--nodes={nodes}",
            f"--ntasks={nodes * processes_per_node}",
            f"--ntasks-per-node={processes_per_node}",
            f"--cpus-per-task={threads}",
            # all processes exit with INTERRUPTED, and the first to do so must not kill the others;
            # but if one has crashed, the others would wait for it forever
            "--kill-on-bad-exit=0",
            "--wait=120",
            *(sys.executable, "-m"),
        ]
    if nodes * processes_per_node == 1:
        return [sys.executable, "-m"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    # without --, torchrun takes an option of the module for its own (--run for --run-path)
    return [*torchrun, f"--nproc-per-node={nodes * processes_per_node}", "-m", "--"]


def _follow(words: list[str], log: TextIO) -> tuple[int, bool]:
    """Run a program and copy its output; return its status and whether SIGTERM came meanwhile."""
    cancelled = False
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:

        def cancel(number: int, frame: FrameType | None) -> None:
            nonlocal cancelled
            cancelled = True
            process.terminate()

        before = signal.signal(signal.SIGTERM, cancel)
        assert process.stdout is not None
        for line in process.stdout:
            _say(line, log)
        status = process.wait()
        signal.signal(signal.SIGTERM, before)
    # the convention of shells for a program that a signal ended
    return (128 - status if status < 0 else status), cancelled


def _requeue(job: str, log: TextIO) -> None:
    """Put the Slurm job back into the queue and wait for its end."""
    result = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
    if result.returncode:
        _say(f"job {job} cannot be requeued ({result.stderr.strip()})\n", log)
        return
    _say(f"job {job} is back in the queue and continues from its checkpoint\n", log)
    time.sleep(REQUEUE_S)


def _say(line: str, log: TextIO) -> None:
    for stream in (sys.stderr, log):
        stream.write(line)
        stream.flush()
