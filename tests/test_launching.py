"""A stage as one process, as several, and as a step of a Slurm job that is requeued."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml
from striped_study import params, train, write_study

from cytopipe.cluster import launching

pytestmark = pytest.mark.slow


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Slurm job whose srun and scontrol record how they are called."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, body in {
        "srun": 'echo "epoch 1"; exit ${STATUS:-0}',
        "scontrol": "[ -z $REFUSED ] || { echo disabled >&2; exit 1; }",
    }.items():
        path = programs / name
        path.write_text(f'#!/bin/sh\necho "$@" >> {programs}/{name}.called\n{body}\n')
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setattr(launching, "REQUEUE_S", 0.01)
    return programs


def launch(folder: Path, **changes: object) -> None:
    """Launch the stage; `changes` of the default arguments."""
    arguments = {
        "stage": "pretraining",
        "files": {"patches": str(folder / "patches.parquet"), "geodesic": None},
        "params": {"epochs": 1},
        "threads": 3,
        "nodes": 1,
        "processes_per_node": 1,
        "launcher": "",
        "log": folder / "logs" / "run.log",
    }
    launching.run(**{**arguments, **changes})  # type: ignore[arg-type]


def test_srun_is_called_with_nodes_tasks_and_threads(slurm: Path, tmp_path: Path) -> None:
    files = {"geodesic": None, "atlas": ["labels.nii.gz", "areas.tsv"], "weights": "final.pt"}
    launcher = "srun --cpu-bind=none"
    launch(tmp_path, files=files, nodes=2, processes_per_node=4, launcher=launcher)
    words = (slurm / "srun.called").read_text().split()
    for word in ("--cpu-bind=none", "--nodes=2", "--ntasks=8", "--ntasks-per-node=4"):
        assert word in words
    # threads per task
    assert "--cpus-per-task=3" in words and "--threads=3" in words
    assert words[words.index(sys.executable) :][:4] == [
        *(sys.executable, "-m", "cytopipe", "pretraining")
    ]
    assert not any(word.startswith("--geodesic") for word in words)
    assert words[words.index("--atlas") :][:3] == ["--atlas", "labels.nii.gz", "areas.tsv"]
    assert (tmp_path / "logs" / "run.log").read_text() == "epoch 1\n"
    assert not (slurm / "scontrol.called").exists()


def test_a_single_process_of_a_job_is_a_step_too(slurm: Path, tmp_path: Path) -> None:
    launch(tmp_path)
    assert "--ntasks=1 " in (slurm / "srun.called").read_text()


def test_an_interrupted_training_is_requeued(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATUS", str(launching.INTERRUPTED))
    with pytest.raises(SystemExit) as exited:
        launch(tmp_path)
    assert exited.value.code == launching.INTERRUPTED
    assert (slurm / "scontrol.called").read_text() == "requeue 17\n"
    assert "job 17 is back in the queue" in (tmp_path / "logs" / "run.log").read_text()


def test_the_log_says_why_a_job_could_not_be_requeued(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATUS", str(launching.INTERRUPTED))
    monkeypatch.setenv("REFUSED", "1")
    with pytest.raises(SystemExit):
        launch(tmp_path)
    assert "cannot be requeued (disabled)" in (tmp_path / "logs" / "run.log").read_text()


def test_a_failed_training_is_not_requeued(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATUS", "1")
    with pytest.raises(SystemExit) as exited:
        launch(tmp_path)
    assert exited.value.code == 1 and not (slurm / "scontrol.called").exists()


def test_a_cancelled_job_is_not_requeued(slurm: Path, tmp_path: Path) -> None:
    """SIGTERM to the script of the job, and not only to its step, means that it is cancelled."""
    (slurm / "srun").write_text(
        # the sleep survives the signal; with the script's output open it would keep the log open
        f"#!/bin/sh\ntrap 'exit {launching.INTERRUPTED}' TERM\necho up\nsleep 20 >&- 2>&- & wait\n"
    )
    log = tmp_path / "logs" / "run.log"

    def cancel() -> None:
        while not log.exists() or "up" not in log.read_text():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=cancel).start()
    with pytest.raises(SystemExit) as exited:
        launch(tmp_path)
    assert exited.value.code == launching.INTERRUPTED
    assert not (slurm / "scontrol.called").exists()


def test_torchrun_starts_several_processes_on_one_machine() -> None:
    assert launching.command(False, 1, 1, 2, "") == [sys.executable, "-m"]
    words = launching.command(False, 1, 4, 1, "")
    assert words[1:3] == ["-m", "torch.distributed.run"] and "--nproc-per-node=4" in words


@pytest.mark.parametrize("processes", [1, 2])
def test_a_launched_training_equals_a_called_one(tmp_path: Path, processes: int) -> None:
    """The files differ from those of a call in this process only by the number of processes."""
    study = write_study(tmp_path / "study")
    settings = params(epochs=1)
    called = train(study, tmp_path / "called", settings)
    folder = tmp_path / "launched"
    files = {
        "patches": str(study / "patches.parquet"),
        "final": str(folder / "final.pt"),
        "metrics": str(folder / "metrics.parquet"),
        "record": str(folder / "params.yaml"),
    }
    launch(
        folder,
        files=files,
        params=settings.model_dump(),
        threads=1,
        processes_per_node=processes,
    )
    records = [yaml.safe_load((f / "params.yaml").read_text()) for f in (called, folder)]
    assert records[1].pop("processes") == processes
    assert records[0].pop("processes") == 1 and records[0] == records[1]
    same = (called / "final.pt").read_bytes() == (folder / "final.pt").read_bytes()
    assert same == (processes == 1)  # sums of several processes are rounded differently
    assert "epoch 1 of 1: loss" in (folder / "logs" / "run.log").read_text()


def test_an_early_signal_is_not_lost(tmp_path: Path) -> None:
    """After SIGUSR1 during the import of torch, the training saves and exits after one step."""
    study = write_study(tmp_path / "study")
    words = ["--patches", str(study / "patches.parquet"), "--threads", "1", "--values"]
    words += [json.dumps(params().model_dump())]
    for name in ("final", "metrics", "record"):
        words += [f"--{name}", str(tmp_path / name)]
    code = (
        "import os, signal, sys; from cytopipe import __main__ as main; load = main.importlib;"
        "importing = load.import_module;"
        "warn = lambda: os.kill(os.getpid(), signal.SIGUSR1);"
        "load.import_module = lambda *names, **more: (warn(), importing(*names, **more))[1];"
        "sys.exit(main.main(sys.argv[1:]))"
    )
    started = [sys.executable, "-c", code, "pretraining", *words]
    result = subprocess.run(started, capture_output=True, text=True)
    assert result.returncode == launching.INTERRUPTED, result.stderr
    assert "interrupted at epoch 0, step 1" in result.stderr
    assert (tmp_path / "checkpoint.pt").exists()


def test_launching_imports_no_torch() -> None:
    """The script of the job would spend seconds and memory on what only its processes need."""
    code = "import sys, cytopipe.cluster.launching; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
