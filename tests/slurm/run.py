"""`make test-slurm`: the small study on a real Slurm gives the bytes of a local run.

    python tests/slurm/run.py [FOLDER]

Slurm is installed where it may be (root on Debian), started privately on this host and stopped at
the end. The study is made twice, at the same time. One is run on this machine, its training as four
processes of torchrun, undisturbed; the other through slurm/profile.yaml, changed as
tests/slurm/profile.yaml says, its training as two nodes of two processes that meet their time
limit. On the way Snakemake is killed once, and a second start is refused. Then all files under
results/ must have the same bytes, and another start must have nothing to do. FOLDER (a temporary
one by default) is kept when something fails.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from cytopipe.study import config as study_config

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
PACKAGES = ["slurmctld", "slurmd", "slurm-client", "munge"]
PROGRAMS = ["slurmctld", "slurmd", "sbatch", "munged"]
RUN = "spatialnce"
# enough that Slurm can stop a training after the first
EPOCHS = 5
BEGAN = time.monotonic()


class FailedError(Exception):
    """What does not hold."""


def info(message: str) -> None:
    print(f"[{time.monotonic() - BEGAN:4.0f} s] {message}", flush=True)


def must(holds: bool, message: str) -> None:
    if not holds:
        raise FailedError(message)


def step(message: str, do: Callable[[], None]) -> None:
    """Say what is done, do it, say how long it took."""
    info(f"{message} ...")
    start = time.monotonic()
    do()
    info(f"    done in {time.monotonic() - start:.0f} s")


def begin(
    log: Path, *words: str | Path, environment: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program that adds what it says to a log."""
    with log.open("a") as said:
        said.write(f"$ {' '.join(map(str, words))}\n")
        said.flush()
        return subprocess.Popen(
            words, stdout=said, stderr=subprocess.STDOUT, env=environment, cwd=REPOSITORY
        )


def call(log: Path, *words: str | Path, environment: dict[str, str] | None = None) -> int:
    """Run a program, add what it says to a log; its exit status."""
    return begin(log, *words, environment=environment).wait()


def install_slurm(log: Path) -> None:
    """Debian's packages, where they are missing and may be installed."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if all(shutil.which(program, path=path) for program in PROGRAMS):
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *PACKAGES]
    may = os.geteuid() == 0 and shutil.which("apt-get") is not None
    must(
        may and not call(log, "apt-get", "update", "-qq") and not call(log, *command),
        f"Slurm is not installed; type, as root on Debian or Ubuntu: {' '.join(command)}",
    )


class Cluster:
    """The private Slurm and the environment in which its programs find it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "SLURM_FOLDER": str(folder),
            # of a node: other jobs run beside the training, and do not keep it waiting
            "CPUS": "8",
            "SLURM_CONF": str(folder / "etc" / "slurm.conf"),
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            # all nodes are this host, the names that Slurm gives them lead nowhere
            "MASTER_ADDR": "127.0.0.1",
        }

    def start(self, log: Path) -> None:
        must(os.geteuid() == 0, "the private Slurm needs root, for munged and the devices of GPUs")
        failed = call(log, HERE / "start.sh", environment=self.environment)
        must(not failed, f"Slurm does not start; {log} says why")

    def stop(self, log: Path) -> None:
        call(log, HERE / "stop.sh", environment=self.environment)

    def running(self) -> list[str]:
        """Numbers of the jobs that run."""
        found = subprocess.run(
            ["squeue", "--noheader", "--states=RUNNING", "--format=%i"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return found.stdout.split()


def make_study(study: Path, log: Path) -> None:
    preset = REPOSITORY / "config" / "presets" / "small.yaml"
    made = call(
        log, sys.executable, "-m", "cytopipe", "phantom", "--study", study, "--preset", preset
    )
    must(made == 0, f"the phantom was not made; {log} says why")


def write_profile(folder: Path) -> None:
    """The profile of the repository with the changes of the tests."""
    ours, changes = (study_config.read(p / "profile.yaml") for p in (REPOSITORY / "slurm", HERE))
    folder.mkdir(parents=True)
    merged = yaml.safe_dump(study_config.merge(ours, changes))
    (folder / "profile.yaml").write_text(merged)


def snakemake(study: Path, *words: str) -> list[str]:
    return [
        *(sys.executable, str(HERE / "snakemake_asking_often.py")),
        *("--snakefile", str(REPOSITORY / "Snakefile")),
        # the longest way leads through it
        *("--prioritize", f"results/pretraining/{RUN}/final.pt"),
        *("--directory", str(study), *words),
    ]


LOCAL = (
    *("--cores", "2", "--rerun-incomplete", "--set-resources", "pretraining:tasks_per_node=4"),
    *("--set-threads", "pretraining=4"),
)


def set_epochs(study: Path) -> None:
    path = study / "config" / "config.yaml"
    config = study_config.read(path)
    # the other run, untrained, would cost a minute and show nothing more
    config["pretraining"]["runs"] = {RUN: {"epochs": EPOCHS}}
    path.write_text(yaml.safe_dump(config, sort_keys=False))


def kill_and_refuse(study: Path, profile: Path, cluster: Cluster, log: Path) -> None:
    """Kill Snakemake while jobs run; a second start must not begin beside them."""
    words = snakemake(study, "--profile", str(profile))
    first = begin(log, *words, environment=cluster.environment)
    while not cluster.running():
        must(first.poll() is None, f"Snakemake ended before a job of its ran; see {log}")
        time.sleep(0.5)
    first.kill()
    first.wait()
    # on a slow machine they would end before the second start looks
    stopped = cluster.running()
    must(
        bool(stopped)
        and not call(
            log, "scontrol", "suspend", ",".join(stopped), environment=cluster.environment
        ),
        f"the jobs of the killed Snakemake ended too soon, or could not be stopped; see {log}",
    )
    queue = [sys.executable, "-m", "cytopipe", "queue", "--study", str(study)]
    seen = subprocess.run(
        queue, env=cluster.environment, capture_output=True, text=True, cwd=REPOSITORY
    )
    must(
        seen.returncode == 1 and "rule_segmentation" in seen.stdout and "--unlock" in seen.stdout,
        f"`cytopipe queue` shows neither jobs nor the lock:\n{seen.stdout}{seen.stderr}",
    )
    call(log, *snakemake(study, "--unlock"), environment=cluster.environment)
    second = subprocess.run(
        words, env=cluster.environment, capture_output=True, text=True, cwd=REPOSITORY
    )
    said_by_second = second.stdout + second.stderr
    must(
        second.returncode != 0 and "jobs are in Slurm's queue" in said_by_second,
        f"a second start was not refused:\n{said_by_second}",
    )
    call(log, "scontrol", "resume", ",".join(stopped), environment=cluster.environment)
    must(
        call(log, *queue, "--wait", environment=cluster.environment) == 0,
        f"waiting for the jobs of the killed Snakemake failed; see {log}",
    )


def meet_time_limit(job: str, cluster: Cluster, log: Path) -> None:
    """Let Slurm warn a training that runs: it stands still until then, as if an epoch were long.

    Slurm looks every 30 s and warns 10 to 40 s before the end, here 5 to 35 s from now.
    """
    for words in (
        ["scancel", "--signal=STOP", job],
        ["scontrol", "update", f"JobId={job}", "EndTime=now+45seconds"],
        ["sleep", "37"],
        # what is left must not be warned again
        ["scontrol", "update", f"JobId={job}", "TimeLimit=20"],
        ["scancel", "--signal=CONT", job],
    ):
        must(
            call(log, *words, environment=cluster.environment) == 0, f"{words[0]} failed; see {log}"
        )


def run_on_slurm(study: Path, profile: Path, cluster: Cluster, log: Path) -> None:
    """The whole run, with a training that meets its time limit once."""
    logs = study / ".snakemake" / "slurm_logs" / "rule_pretraining" / RUN

    def job_that_said(text: str) -> str | None:
        said = (path.stem for path in logs.glob("*.log") if text in path.read_text())
        return next(said, None)

    met = False
    words = snakemake(study, "--profile", str(profile))
    started = begin(log, *words, environment=cluster.environment)
    while started.poll() is None:
        if not met and (job := job_that_said("patches/s")):
            meet_time_limit(job, cluster, log)
            met = True
        time.sleep(0.2)
    must(started.returncode == 0, f"the run on Slurm failed; see {log}")
    must(
        job_that_said("interrupted at epoch") is not None,
        f"the training ended before Slurm warned it of its time limit; see {logs}",
    )
    text = "".join(path.read_text() for path in sorted(logs.glob("*.log")))
    found = re.findall(
        r"interrupted at.*;|job \d+ is back.*|continues at epoch \d+, step \d+", text
    )
    for line in found:
        info(f"    {line}")
    must(any(line.startswith("continues") for line in found), f"it did not continue; see {logs}")


def compare(local: Path, slurm: Path) -> None:
    """All files under results/, none left out."""
    names = [
        sorted(str(p.relative_to(s / "results")) for p in (s / "results").rglob("*") if p.is_file())
        for s in (local, slurm)
    ]
    must(names[0] == names[1], f"other files: {sorted(set(names[0]) ^ set(names[1]))}")
    differ = [
        name
        for name in names[0]
        if (local / "results" / name).read_bytes() != (slurm / "results" / name).read_bytes()
    ]
    must(not differ, f"{len(differ)} of {len(names[0])} files differ: {', '.join(differ)}")
    size_mb = sum((local / "results" / name).stat().st_size for name in names[0]) / 1e6
    info(f"    {len(names[0])} files, {size_mb:.0f} MB, are the same byte for byte")


def run_again(study: Path, profile: Path, cluster: Cluster, log: Path) -> None:
    done = subprocess.run(
        snakemake(study, "--profile", str(profile)),
        env=cluster.environment,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )
    said = done.stdout + done.stderr
    must(done.returncode == 0 and "Nothing to be done" in said, f"it has something to do:\n{said}")


def test(folder: Path) -> None:
    """All steps; raises FailedError at the first that does not hold."""
    log = folder / "log.txt"
    local, slurm, profile = folder / "local", folder / "slurm", folder / "profile"
    cluster = Cluster(folder / "cluster")
    step("Slurm: install where it is missing", lambda: install_slurm(log))
    step("Slurm: start two nodes on this host", lambda: cluster.start(log))
    try:
        write_profile(profile)
        step("make the small study", lambda: make_study(local, log))
        set_epochs(local)
        shutil.copytree(local, slurm)
        info("local run, the training as 4 processes of torchrun: begins")
        beside = folder / "local.txt"
        local_run = begin(beside, *snakemake(local, *LOCAL))
        try:
            step(
                "Slurm: kill Snakemake while jobs run; a second start is refused, the jobs end",
                lambda: kill_and_refuse(slurm, profile, cluster, log),
            )
            step(
                "Slurm: the whole run, the training as 2 nodes x 2 processes beyond its time limit",
                lambda: run_on_slurm(slurm, profile, cluster, log),
            )
            step(
                "local run: to its end",
                lambda: must(local_run.wait() == 0, f"the local run failed; see {beside}"),
            )
        finally:
            local_run.terminate()
        step("compare results/ of both", lambda: compare(local, slurm))
        step("a third start", lambda: run_again(slurm, profile, cluster, log))
    finally:
        cluster.stop(log)


def main(arguments: list[str]) -> int:
    """Run the test; returns the exit status."""
    folder = Path(arguments[0] if arguments else tempfile.mkdtemp(prefix="cytopipe-slurm-"))
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    info(f"in {folder}; everything that is said there: log.txt")
    try:
        test(folder)
    except FailedError as failure:
        info(f"FAILED: {failure}")
        return 1
    if not arguments:
        shutil.rmtree(folder)
    info("passed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
