"""The frame of `make bench`: it says no where it must, and every module of works can be loaded."""

import importlib
import time
from types import ModuleType
from typing import Any

import pytest
from empty_study import ROOT

BENCHMARKS = ROOT / "benchmarks"
WORKS = [path.stem for path in (BENCHMARKS / "works").glob("*.py") if path.stem != "__init__"]


@pytest.fixture
def side_by_side(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("side_by_side")


@pytest.mark.parametrize(
    ("seconds", "results", "met"),
    [
        # ours, the peer: ten times as fast with the same result; as fast; with another result
        ((0.002, 0.02), (1, 1), "yes"),
        ((0.02, 0.02), (1, 1), "**no**"),
        ((0.002, 0.02), (1, 2), "**no**"),
    ],
)
def test_a_goal_is_met_by_the_same_result_in_less_time(
    side_by_side: ModuleType, seconds: tuple[float, float], results: tuple[int, int], met: str
) -> None:
    def doing(which: int) -> Any:
        return lambda: time.sleep(seconds[which]) or results[which]

    def same(ours: int, theirs: int) -> str:
        assert ours == theirs, "another number"
        return "equal"

    work = side_by_side.Work("sleep", "-", "sleep", doing(0), doing(1), same, goal=3, repeats=3)
    line = side_by_side.measure(work)
    assert line.met == met
    expected = "equal" if results[0] == results[1] else "**differs**: another number"
    assert line.result.startswith(expected)


@pytest.mark.parametrize("name", WORKS)
def test_every_module_of_works_has_works(side_by_side: ModuleType, name: str) -> None:
    if name == "windows":
        pytest.importorskip("rasterio", reason="make bench installs it")
    assert callable(importlib.import_module(f"works.{name}").works)
