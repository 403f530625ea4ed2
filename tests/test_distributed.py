"""Several processes give the results of a single one, for every loss (gloo, on the CPU)."""

import multiprocessing
import socket
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import ranks
import torch
from striped_study import write_study

from cytopipe.cluster import launching
from cytopipe.formats import tables
from cytopipe.learning import checkpoints, distributed


def torchrun(rank: int, size: int) -> dict[str, str]:
    return {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank)}


def srun(rank: int, size: int) -> dict[str, str]:
    return {
        "SLURM_PROCID": str(rank),
        "SLURM_STEP_NUM_TASKS": str(size),
        "SLURM_LOCALID": str(rank),
        "SLURM_STEP_NODELIST": "127.0.0.1",
    }


def processes(size: int, task: str, *arguments: Any, starter: Any = torchrun) -> list[int | None]:
    """Exit statuses of `size` processes that run a task of `ranks`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    # forked from a server that has imported torch once and has no threads
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cytopipe.pretraining", "torch._dynamo"])
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    started = [
        context.Process(target=ranks.main, args=(starter(n, size) | meeting, task, *arguments))
        for n in range(size)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(timeout=60)
    return [process.exitcode for process in started]


@pytest.fixture(scope="module")
def results(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[int, dict[str, dict[str, torch.Tensor]]]:
    folder = tmp_path_factory.mktemp("gradients")
    for size in (1, 2, 4):
        assert processes(size, "gradients", folder) == [0] * size
    return {size: torch.load(folder / f"{size}.pt") for size in (1, 2, 4)}


@pytest.mark.slow
@pytest.mark.parametrize("loss", ranks.LOSSES)
def test_processes_agree_on_loss_gradients_and_buffers(
    results: dict[int, dict[str, dict[str, torch.Tensor]]], loss: str
) -> None:
    one = results[1][loss]
    assert "gradient head.0.weight" in one or "gradient head.weight" in one
    assert one["backbone.stages.2.num_batches_tracked"] == 1
    for size in (2, 4):
        assert results[size][loss].keys() == one.keys()
        for name, value in results[size][loss].items():
            # float64; the order of summation differs
            torch.testing.assert_close(value, one[name], rtol=1e-9, atol=1e-12)


def flat(gradients: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([v.flatten() for k, v in gradients.items() if k.startswith("gradient")])


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
def test_the_usual_wrong_gathers_would_be_noticed(
    results: dict[int, dict[str, dict[str, torch.Tensor]]], size: int
) -> None:
    right, part, mean = (flat(results[size][name]) for name in ("spatialnce", "slice", "mean"))
    assert torch.cosine_similarity(part, right, dim=0) < 0.99  # another direction
    torch.testing.assert_close(mean, right / size)  # another scale


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.mark.slow
@pytest.mark.parametrize(("size", "starter"), [(2, torchrun), (4, srun)])
def test_a_killed_training_resumes_bit_for_bit(
    study: Path, tmp_path: Path, size: int, starter: object
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert processes(size, "train", whole, study, 0, starter=starter) == [0] * size
    for kill_at in (6, 3):  # in the second epoch, and in the third of 4 steps each
        stopped = processes(size, "train", parts, study, kill_at, starter=starter)
        assert stopped == [launching.INTERRUPTED] * size
        assert (parts / "checkpoint.pt").exists() and not (parts / "final.pt").exists()
    assert checkpoints.load(parts / "checkpoint.pt")["state"]["step"] == 1
    assert processes(size, "train", parts, study, 0, starter=starter) == [0] * size
    assert (parts / "final.pt").read_bytes() == (whole / "final.pt").read_bytes()
    metrics = [tables.read(tables.MetricRow, f / "metrics.parquet") for f in (whole, parts)]
    pd.testing.assert_frame_equal(*metrics)
    assert not (parts / "checkpoint.pt").exists()


@pytest.mark.slow
def test_a_run_resumes_with_another_number_of_processes(study: Path, tmp_path: Path) -> None:
    one, parts = tmp_path / "one", tmp_path / "parts"
    assert processes(1, "train", one, study, 0) == [0]
    stopped = processes(2, "train", parts, study, 6)
    assert stopped == [launching.INTERRUPTED] * 2
    assert processes(1, "train", parts, study, 0) == [0]
    log = (parts / "log-1-0.txt").read_text()
    assert "continues at epoch 1, step 2" in log
    assert "saved by 2 processes, resumed by 1" in log
    metrics = [tables.read(tables.MetricRow, f / "metrics.parquet") for f in (one, parts)]
    pd.testing.assert_frame_equal(*metrics, rtol=1e-3)
    assert (metrics[0].effective_rank > 1).all()


@pytest.mark.slow
def test_a_batch_that_cannot_be_divided_is_refused(study: Path, tmp_path: Path) -> None:
    # a batch of 8 for 3 processes
    assert processes(3, "train", tmp_path, study, 0) == [1] * 3
    assert not (tmp_path / "final.pt").exists()


@pytest.mark.slow
def test_an_error_in_one_process_ends_all(study: Path, tmp_path: Path) -> None:
    for name in "abc":  # freeing in the wrong order hangs, but not every time
        assert processes(2, "train", tmp_path / name, study, 6, True) == [1, 1]
        assert (tmp_path / name / "checkpoint.pt").exists()  # from the first epoch


def test_the_first_host_of_a_slurm_node_list() -> None:
    for hosts, first in {
        "node03": "node03",
        "jrc[0041-0043,0050]": "jrc0041",
        "gpu[7,9]-ib,login1": "gpu7-ib",
        "a1,b[2-3]": "a1",
        "127.0.0.1": "127.0.0.1",
    }.items():
        assert distributed.first_host(hosts) == first


def test_rank_size_and_meeting_point() -> None:
    launched_by = distributed._launched_by
    slurm = {
        "SLURM_PROCID": "5",
        "SLURM_STEP_NUM_TASKS": "8",
        "SLURM_NTASKS": "16",
        "SLURM_LOCALID": "1",
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_ID": "2",
        "SLURM_STEP_NODELIST": "n[3-6]",
    }
    assert launched_by(slurm) == (5, 8, 1, ("n3", 10000 + 64 * 7 + 2))
    chosen = {**slurm, "MASTER_ADDR": "head", "MASTER_PORT": "29500"}
    assert launched_by(chosen) == (5, 8, 1, ("head", 29500))
    # torchrun inside a Slurm job
    assert launched_by({**chosen, "RANK": "1", "WORLD_SIZE": "2"})[:2] == (1, 2)
    # a batch script without srun is one process, whatever it requested
    assert launched_by({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"})[:2] == (0, 1)
