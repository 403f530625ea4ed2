from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from table_rows import filled

from cytopipe.evaluation.tasks.coordinates import (
    errors_mm,
    run_coordinates,
    transfer,
)
from cytopipe.files import InputError
from cytopipe.formats import tables
from cytopipe.study.config import CoordinatesTask

POSITIONS = np.random.default_rng(0).normal(0, [20, 40, 30], (600, 3))
BRAINS = np.repeat(["B01", "B02", "B03"], 200)
MIXED = np.random.default_rng(1).normal(size=(3, 7))


def means(result: list[tuple[str, int, str, float]]) -> dict[tuple[str, str], float]:
    table = pd.DataFrame(result, columns=["brain", "fold", "metric", "value"])
    return table.groupby(["brain", "metric"]).value.mean().to_dict()


def test_errors_by_hand() -> None:
    got = errors_mm(np.array([[0.0, 0, 0], [1, 1, 1]]), np.array([[3.0, 4, 0], [1, -1, 1]]))
    assert got == {
        "error_x_mm": 1.5,
        "error_y_mm": 3,
        "error_z_mm": 0,
        "error_3d_mm": (5 + 2) / 2,
    }


def test_linear_features_of_position_predict_it_in_every_brain() -> None:
    scores, error_mm = transfer(
        POSITIONS @ MIXED + 5, POSITIONS, BRAINS, brain="B02", folds=5, seed=0
    )
    assert len(scores) == 3 * 5 * 8
    got = means(scores)
    for brain in ("B01", "B02", "B03"):
        assert got[brain, "error_3d_mm"] < 1e-6
        assert got[brain, "error_3d_mm, constant"] > 30
    assert np.all(error_mm < 1e-6)


def test_shifted_features_give_an_error_of_the_shift() -> None:
    elsewhere = POSITIONS + np.where(BRAINS == "B03", 1, 0)[:, None] * [0, 7.0, 0]
    got = means(transfer(elsewhere @ MIXED, POSITIONS, BRAINS, brain="B01", folds=4, seed=0)[0])
    assert got["B02", "error_y_mm"] < 1e-6
    assert got["B03", "error_y_mm"] == pytest.approx(7)
    assert got["B03", "error_x_mm"] < 1e-6


def test_noise_is_no_better_than_a_constant_and_the_constant_is_the_fitted_mean() -> None:
    noise = np.random.default_rng(2).normal(size=(600, 40))
    scores, _ = transfer(noise, POSITIONS, BRAINS, brain="B01", folds=5, seed=0)
    got = means(scores)
    for brain in ("B01", "B02", "B03"):
        assert got[brain, "error_3d_mm"] > got[brain, "error_3d_mm, constant"]
    # the mean of the folds' training means is the brain's mean
    expected = np.abs(POSITIONS[200:400, 0] - POSITIONS[:200, 0].mean()).mean()
    assert got["B02", "error_x_mm, constant"] == pytest.approx(expected, abs=0.1)


def test_the_own_brain_is_scored_on_points_that_were_not_fitted_on() -> None:
    # as many features as fitted points: an exact fit that learns nothing
    noise = np.random.default_rng(3).normal(size=(600, 159))
    scores, _ = transfer(noise, POSITIONS, BRAINS, brain="B01", folds=5, seed=0)
    assert means(scores)["B01", "error_3d_mm"] > 30


def study(folder: Path) -> dict[str, dict[str, Path]]:
    paths: dict[str, dict[str, Path]] = {"points": {}, "features": {}, "rows": {}}
    for brain in np.unique(BRAINS):
        here = brain == BRAINS
        count = int(here.sum())
        frame = filled(tables.PointRow, pd.DataFrame(index=range(count)))
        frame["point_id"] = [f"{brain}-{n}" for n in range(count)]
        frame["brain"], frame["status"] = brain, "ok"
        frame[["x_mm", "y_mm", "z_mm"]] = POSITIONS[here]
        frame.loc[:2, "status"] = "outside_template"
        frame.loc[:2, ["x_mm", "y_mm", "z_mm"]] = np.nan
        for name, suffix in (("points", "parquet"), ("features", "npy"), ("rows", "rows.parquet")):
            paths[name][brain] = folder / f"{brain}-{name}.{suffix}"
        tables.write(tables.PointRow, frame, paths["points"][brain])
        tables.write(tables.FeatureRow, frame[["point_id", "status"]], paths["rows"][brain])
        np.save(paths["features"][brain], (POSITIONS[here] @ MIXED).astype(np.float32))
    return paths


def test_run_writes_scores_and_figures(tmp_path: Path) -> None:
    params = CoordinatesTask(brain="B01", folds=5, points=150, seed=0)
    outputs = {name: tmp_path / f"out.{name}" for name in ("scores", "html")}
    run_coordinates(**study(tmp_path), **outputs, run="r", params=params)  # type: ignore[arg-type]
    got = tables.read(tables.ScoreRow, outputs["scores"])
    assert set(got.run) == {"r"} and set(got.task) == {"coordinates"}
    assert set(got.split) == {"B01", "B02", "B03"} and set(got.fold) == set(range(5))
    assert got[got.metric == "error_3d_mm"].value.max() < 0.01
    assert outputs["html"].stat().st_size > 1e5


def test_an_unknown_brain_is_named(tmp_path: Path) -> None:
    params = CoordinatesTask(brain="B09", folds=5, points=None, seed=0)
    outputs = {name: tmp_path / f"out.{name}" for name in ("scores", "html")}
    with pytest.raises(InputError, match="B09; choose one of B01, B02, B03"):
        run_coordinates(**study(tmp_path), **outputs, run="r", params=params)  # type: ignore[arg-type]
