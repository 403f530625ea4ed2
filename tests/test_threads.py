"""Every library uses the threads of the job, in every stage and worker."""

import inspect
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import cv2
import numba
import pytest
import rule_text
import scipy.linalg
import sklearn.cluster
import threadpoolctl
import torch
import yaml
from empty_study import ROOT

from cytopipe import provenance, threads
from cytopipe.learning.loading import load
from cytopipe.phantom import study as phantom_study

SLURM = yaml.safe_load((ROOT / "slurm" / "profile.yaml").read_text())
# both bring a BLAS or an OpenMP of their own
assert scipy.linalg and sklearn.cluster


def taken(_: object = None) -> dict[str, int]:
    """The number of threads that each library would use here."""
    pools = {pool["filepath"]: pool["num_threads"] for pool in threadpoolctl.threadpool_info()}
    others = {
        "cv2": cv2.getNumThreads(),
        "numba": numba.get_num_threads(),
        "torch": torch.get_num_threads(),
    }
    return pools | others


@pytest.fixture
def two_each() -> Iterator[None]:
    """A machine with two cores and no limits."""
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("numba started with one core")
    threads.use(2)
    assert set(taken().values()) == {2}
    yield
    threads.use(1)


@pytest.mark.parametrize(("given", "expected"), [({}, 1), ({"threads": 1}, 1), ({"threads": 2}, 2)])
def test_a_stage_takes_the_threads_of_its_job(
    two_each: None, given: dict[str, int], expected: int
) -> None:
    """`provenance.recorded`, which every stage's run has (tests/test_provenance_stages.py)."""
    seen: dict[str, int] = {}

    def run(threads: int = 1) -> None:
        seen.update(taken())

    run.__module__ = "cytopipe.segmentation"
    provenance.recorded(run)(**given)
    assert len(seen) > 3
    assert set(seen.values()) == {expected}


@pytest.mark.slow
def test_a_worker_of_the_phantom_takes_one() -> None:
    """A new process loads the libraries after the limit was set, and they respect it."""
    with ProcessPoolExecutor(1, get_context("spawn"), phantom_study._start_worker) as pool:
        found = pool.submit(taken).result()
    assert len(found) > 3 and set(found.values()) == {1}


class Telling:
    """A data set whose items are the threads of the process that reads them."""

    def __getitem__(self, key: tuple[int, int]) -> torch.Tensor:
        return torch.tensor(sorted(set(taken().values())))


@pytest.mark.slow
def test_workers_that_read_patches_take_one_each(two_each: None) -> None:
    (found,) = load(Telling(), [[(0, 0)]], workers=1, pinned=False)  # type: ignore[arg-type]
    assert found.tolist() == [[1]]


def test_threads_are_told_in_one_place() -> None:
    for path in (ROOT / "cytopipe").rglob("*.py"):
        if path.name != "threads.py":
            told = re.search(r"setNumThreads|set_num_threads|threadpool_limits", path.read_text())
            assert not told, f"{path}: call cytopipe.threads.use"


@pytest.mark.parametrize("rule", SLURM["set-threads"])
def test_a_rule_that_is_given_more_threads_hands_them_on(rule: str) -> None:
    assert "threads" in inspect.signature(rule_text.ALL[rule].function()).parameters
