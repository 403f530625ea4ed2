"""Snakemake started on a study, its processes found, ended and waited for."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

T = TypeVar("T")

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE_S = 1200.0


@dataclass
class Run:
    """A Snakemake in a process group of its own, whose messages go to a file."""

    process: subprocess.Popen[bytes]
    said: Path

    def text(self) -> str:
        return self.said.read_text(errors="replace")

    def wait(self) -> int:
        return self.process.wait(PATIENCE_S)

    def job(self) -> psutil.Process | None:
        """The process of a job's script, if one runs."""
        try:
            for child in psutil.Process(self.process.pid).children(recursive=True):
                if any("/.snakemake/scripts/" in word for word in child.cmdline()[:2]):
                    return child
        except psutil.Error:
            pass
        return None

    def wait_for_job(self) -> psutil.Process:
        """The first job's process, as soon as there is one."""
        found = until(lambda: self.job() or self.process.poll() is not None)
        if not isinstance(found, psutil.Process):
            raise AssertionError(f"no job was started:\n{self.text()}")
        return found

    def kill_all(self) -> None:
        """SIGKILL to the master and everything under it at once, as when the host goes down."""
        master = psutil.Process(self.process.pid)
        master.suspend()  # otherwise it might see its job die, and tidy up
        for process in [*master.children(recursive=True), master]:
            kill(process)
        self.process.wait()


def kill(process: psutil.Process, number: int = signal.SIGKILL) -> bool:
    """Send a signal; whether the process was still there to get it."""
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return False
    return True


def signal_to(run: Run, number: signal.Signals) -> None:
    """Send a signal to the process that was started, and to nothing under it."""
    os.kill(run.process.pid, number)


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(found: Callable[[], T], patience_s: float = PATIENCE_S, every_s: float = 0.01) -> T:
    """Call again and again until the answer is true; return it."""
    end = time.monotonic() + patience_s
    while not (answer := found()):
        if time.monotonic() > end:
            raise TimeoutError(f"still nothing after {patience_s:.0f} s")
        time.sleep(every_s)
    return answer


def start(study: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Run:
    """Start Snakemake on a study, with what the profiles say."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")]
    command += ["--directory", str(study), "--cores", "2", "--rerun-incomplete", *arguments]
    return start_command(command, study, env)


def start_command(
    command: list[str],
    study: Path,
    env: Mapping[str, str] | None = None,
    folder: Path = REPOSITORY,
) -> Run:
    """Start a command in a folder; its messages go to a file of the study."""
    said = study / f"said-{len(list(study.glob('said-*')))}.txt"
    with said.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(env or {})},
        )
    return Run(process, said)


def run(study: Path, *arguments: str, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run Snakemake to its end; exit status and messages."""
    started = start(study, *arguments, env=env)
    return started.wait(), started.text()


def rerun(study: Path, *targets: str) -> str:
    """What a person does after a fault: start again, first removing locks that were left.

    Returns the messages.
    """
    for lock in (study / ".snakemake" / "locks").glob("*"):
        lock.unlink()  # as `snakemake --unlock` does, without its seconds
    status, said = run(study, *targets)
    assert status == 0, said
    return said
