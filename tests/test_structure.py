from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from table_rows import filled
from test_cells import layer_patches, weights

from cytopipe.evaluation.regression import (
    FEATURES,
    PROFILES,
    Source,
    attribution,
    explained_variance,
    name_of,
    r2_scores,
)
from cytopipe.evaluation.tasks.structure import (
    OF_POINTS,
    layer_thickness_mm,
    nearest_values,
    run_structure,
)
from cytopipe.files import InputError
from cytopipe.formats import surfaces, tables
from cytopipe.study.config import StructureTask

PARAMS = StructureTask(
    brain="B01",
    points=None,
    components=[1, 4, 16],
    pca="per_fold",
    folds=5,
    seed=0,
    attributed=4,
    reach_mm=1,
    bandwidth_um=500,
)
DESIGN = StructureTask(**vars(PARAMS) | {"seed": 3, "components": [1, 4, 8, 999]})


def correlated(count: int, width: int) -> np.ndarray:
    random = np.random.default_rng(0)
    scale = np.geomspace(5, 0.1, width)
    return random.normal(size=(count, width)) * scale @ random.normal(size=(width, width)) + 3


def table(scores: list[tuple[str, int, str, str, float]]) -> pd.Series:
    frame = pd.DataFrame(scores, columns=["split", "fold", "target", "input", "r2"])
    return frame.groupby(["target", "input"]).r2.mean()


@pytest.mark.parametrize("split", [FEATURES, PROFILES])
def test_r2_is_that_of_sklearns_cross_validation(split: str) -> None:
    values = correlated(200, 12)
    target = values @ np.linspace(-1, 1, 12) + np.random.default_rng(1).normal(0, 9, 200)
    scores = r2_scores(Source(split, values, {"a": target}), DESIGN)
    folds = KFold(5, shuffle=True, random_state=3)
    scaling = [StandardScaler()] if split == PROFILES else []
    for count in (1, 4, 8):
        steps = make_pipeline(*scaling, PCA(count, svd_solver="full"), LinearRegression())
        got = [r2 for *_, name, r2 in scores if name == name_of(count)]
        assert got == pytest.approx(cross_val_score(steps, values, target, cv=folds, scoring="r2"))
    raw = [r2 for *_, name, r2 in scores if name == "raw"]
    expected = cross_val_score(LinearRegression(), values, target, cv=folds, scoring="r2")
    assert raw == pytest.approx(expected)
    # there are no 999 components
    assert {name for *_, name, _ in scores} == {"raw", "1 component", *map(name_of, (4, 8))}


def test_a_linear_target_is_predicted_and_a_shuffled_one_is_not() -> None:
    values = correlated(300, 10)
    linear = values @ np.arange(10.0) - 7
    targets = {"linear": linear, "shuffled": np.random.default_rng(2).permutation(linear)}
    got = table(r2_scores(Source(FEATURES, values, targets), DESIGN))
    assert got["linear", "raw"] == pytest.approx(1)
    for name in ("raw", "1 component", "4 components", "8 components"):
        assert got["shuffled", name] <= 0.01


@pytest.mark.parametrize("seed", range(4))
def test_components_of_all_samples_leak_the_test_samples(seed: int) -> None:
    # the target is one of many noisy dimensions, with a slightly larger variance. With few samples,
    # components that were fitted on the test samples too contain more of it
    random = np.random.default_rng(seed)
    values = random.normal(size=(100, 400))
    target = values[:, 0] + random.normal(0, 0.1, 100)
    values[:, 0] *= 3
    source = Source(FEATURES, values, {"a": target})
    designs = [
        StructureTask(**vars(PARAMS) | {"components": [16], "pca": pca})
        for pca in ("per_fold", "all")
    ]
    scores = [r2_scores(source, design) for design in designs]
    per_fold, of_all = (table(listed)["a", "16 components"] for listed in scores)
    assert of_all > per_fold + 0.05
    # the first fold step by step
    train, test = next(KFold(5, shuffle=True, random_state=0).split(values))
    for listed, fitted_on in zip(scores, (values[train], values), strict=True):
        pca = PCA(16, svd_solver="full").fit(fitted_on)
        line = LinearRegression().fit(pca.transform(values[train]), target[train])
        assert listed[0][4] == pytest.approx(line.score(pca.transform(values[test]), target[test]))


def test_samples_without_a_target_are_left_out_and_targets_do_not_mix() -> None:
    values = correlated(200, 5)
    first, second = values @ np.arange(5.0), values[:, 0] ** 2
    gappy = first.copy()
    gappy[::3] = np.nan
    source = Source(FEATURES, values, {"a": first, "b": second, "gappy": gappy})
    got = table(r2_scores(source, DESIGN))
    assert got["gappy", "raw"] == pytest.approx(1)
    alone = table(r2_scores(Source(FEATURES, values, {"b": second}), DESIGN))
    assert got["b", "4 components"] == pytest.approx(alone["b", "4 components"])


def test_an_underdetermined_regression_is_left_out() -> None:
    values = correlated(50, 45)  # 40 for training
    got = table(r2_scores(Source(FEATURES, values, {"a": values[:, 0]}), DESIGN))
    assert ("a", "raw") not in got and ("a", "8 components") in got


def test_attribution_is_the_correlation_with_a_component() -> None:
    values = correlated(400, 10)
    targets = {"a": values[:, 2] + 5 * values[:, 7], "b": np.random.default_rng(5).normal(size=400)}
    got = attribution(Source(FEATURES, values, targets), 6)
    projected = PCA(6, svd_solver="full").fit_transform(values)
    expected = [
        [abs(np.corrcoef(component, target)[0, 1]) for component in projected.T]
        for target in targets.values()
    ]
    assert got == pytest.approx(np.array(expected))
    assert np.isnan(attribution(Source(FEATURES, values, {"flat": np.ones(400)}), 6)).all()


def test_explained_variance_is_that_of_the_eigenvalues() -> None:
    values = correlated(300, 8)
    eigenvalues = np.sort(np.linalg.eigvalsh(np.cov(values.T)))[::-1]
    got = explained_variance(Source(FEATURES, values, {}))
    assert got == pytest.approx(np.cumsum(eigenvalues) / eigenvalues.sum())
    eigenvalues = np.sort(np.linalg.eigvalsh(np.corrcoef(values.T)))[::-1]
    profiles = Source(PROFILES, values, {})
    assert explained_variance(profiles) == pytest.approx(np.cumsum(eigenvalues) / 8)


def test_nearest_vertex_within_reach_is_brute_force() -> None:
    random = np.random.default_rng(6)
    points, vertices = random.uniform(0, 10, (100, 3)), random.uniform(0, 10, (80, 3))
    values = random.normal(size=(80, 2))
    got = nearest_values(points, vertices, values, 1.5)
    distances = np.linalg.norm(points[:, None] - vertices, axis=-1)
    expected = np.where((distances.min(1) <= 1.5)[:, None], values[distances.argmin(1)], np.nan)
    assert np.isnan(got).any() and np.isfinite(got).any()
    np.testing.assert_array_equal(got, expected)


def points(count: int) -> pd.DataFrame:
    random = np.random.default_rng(7)
    frame = filled(tables.PointRow, pd.DataFrame(index=range(count)))
    frame["point_id"] = [f"B01-{n}" for n in range(count)]
    frame["brain"], frame["status"] = "B01", "ok"
    frame["hemisphere"] = random.choice(["L", "R"], count)
    for name in OF_POINTS:
        frame[name] = random.normal(size=count)
    return frame


def thickness_maps(folder: Path, frame: pd.DataFrame) -> tuple[dict[str, Path], dict[str, Any]]:
    """Vertices at all points but the first ten; layer k grows from k times 0.1 mm at x = 0."""
    surface, maps = {}, {}
    for side in "LR":
        near = frame[(frame.hemisphere == side) & (frame.index >= 10)]
        vertices = near[["x_mm", "y_mm", "z_mm"]].to_numpy()
        surface[side] = folder / f"{side}.surf.gii"
        surfaces.write(surfaces.Surface(vertices, np.array([[0, 1, 2]], np.int32)), surface[side])
        maps[side] = [folder / f"{side}-{layer}.shape.gii" for layer in range(1, 7)]
        for layer, path in enumerate(maps[side], start=1):
            surfaces.write_map((0.1 + 0.01 * vertices[:, 0]) * layer, path)
    return surface, maps


def test_layers_have_the_thickness_of_their_own_hemisphere(tmp_path: Path) -> None:
    frame = points(60)
    frame.loc[:9, "y_mm"] = 100
    got = layer_thickness_mm(frame, *thickness_maps(tmp_path, frame), 0.01)
    assert list(got) == [f"layer_{layer}_thickness_mm" for layer in range(1, 7)]
    for layer, values in enumerate(got.values(), start=1):
        assert np.isnan(values[:10]).all()
        expected = (0.1 + 0.01 * frame.x_mm[10:].to_numpy()) * layer
        assert values[10:] == pytest.approx(expected, abs=1e-6)


def test_a_map_of_another_surface_is_named(tmp_path: Path) -> None:
    surface, maps = thickness_maps(tmp_path, points(60))
    surfaces.write_map(np.zeros(3), maps["R"][4])
    with pytest.raises(InputError, match=r"R-5\.shape\.gii: 3 values for"):
        layer_thickness_mm(points(60), surface, maps, 1)


def study(folder: Path, extras: bool) -> dict[str, Any]:
    """Features contain all targets; profiles, which some points lack, contain only position."""
    frame = points(200)
    mixing = np.random.default_rng(8).normal(size=(6, 20))
    values = frame[list(OF_POINTS)].to_numpy() @ mixing
    values[:5] = np.nan
    position_profiles = frame[["x_mm", "y_mm", "z_mm"]].to_numpy() @ mixing[:3, :8] + 100
    position_profiles[5:25] = np.nan
    paths: dict[str, Any] = {n: folder / f"{n}.npy" for n in ("features", "profiles")}
    np.save(paths["features"], values.astype(np.float32))
    np.save(paths["profiles"], position_profiles.astype(np.float32))
    for name in ("points", "rows", "profile_rows"):
        paths[name] = folder / f"{name}.parquet"
        kind = tables.PointRow if name == "points" else tables.FeatureRow
        tables.write(kind, frame[tables.names(kind)], paths[name])
    surface, maps = thickness_maps(folder, frame) if extras else ({}, {})
    paths |= {"surface": surface, "layer_thickness": maps, "layer_patches": None, "weights": None}
    if extras:
        patches = layer_patches(folder, 20)
        patches.loc[0, "cells"] = ""
        paths["layer_patches"] = folder / "layers.parquet"
        tables.write(tables.LayerPatchRow, patches, paths["layer_patches"])
        paths["weights"] = weights(folder / "final.pt")
    paths |= {name: folder / f"out.{name}" for name in ("scores", "html")}
    return paths | {"run": "r", "threads": 1}


def test_run_scores_all_optional_inputs(tmp_path: Path) -> None:
    run_structure(**study(tmp_path, extras=True), params=PARAMS)
    got = tables.read(tables.ScoreRow, tmp_path / "out.scores")
    assert set(got.split) == {"features", "profiles"} and set(got.fold) == set(range(5))
    means = got.groupby(["split", "metric"]).value.mean()
    for target in (*OF_POINTS, "layer_6_thickness_mm"):
        assert means["features", f"r2 {target}, raw"] == pytest.approx(1, abs=1e-3)
    for target in ("x_mm", "y_mm", "z_mm", "layer_1_thickness_mm"):
        assert means["profiles", f"r2 {target}, raw"] == pytest.approx(1, abs=1e-3)
    assert means["profiles", "r2 thickness_mm, raw"] < 0.05
    assert means["features", "r2 thickness_mm, 1 component"] < 0.9
    # densities: 15 training patches are too few for a regression on all features
    assert ("features", "r2 layer_1_cells_per_mm2, 4 components") in means
    assert ("features", "r2 layer_1_cells_per_mm2, raw") not in means
    assert not [m for _, m in means.index if "layer_3_cells" in m]  # the masks have two layers
    assert (tmp_path / "out.html").stat().st_size > 1e5


def test_run_needs_neither_profiles_nor_layers(tmp_path: Path) -> None:
    paths = study(tmp_path, extras=False) | {"profiles": None, "profile_rows": None}
    run_structure(**paths, params=PARAMS)
    got = tables.read(tables.ScoreRow, tmp_path / "out.scores")
    assert set(got.split) == {"features"}
    assert len(got) == 5 * 6 * 4  # folds, targets, inputs


def test_too_few_points_are_named(tmp_path: Path) -> None:
    params = StructureTask(**{**vars(PARAMS), "points": 4})
    with pytest.raises(InputError, match="4 usable points with features, too few for 5 folds"):
        run_structure(**study(tmp_path, extras=False), params=params)
