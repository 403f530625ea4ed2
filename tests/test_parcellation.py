from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from table_rows import filled

from cytopipe.evaluation.samples import Samples
from cytopipe.evaluation.tasks.parcellation import (
    cluster,
    matched,
    mean_purity,
    run_parcellation,
    touching_areas,
)
from cytopipe.files import InputError
from cytopipe.formats import tables
from cytopipe.study.config import ParcellationTask

PARAMS = ParcellationTask(
    brain="B01",
    annotated=None,
    areas=None,
    touching_mm=3,
    probability=0.5,
    clusters=4,
    seeds=[0, 1, 2],
)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def test_purity_by_hand() -> None:
    # cluster 0: A A B, cluster 1: B; both count alike
    labels = np.array(["A", "A", "B", "B"])
    assert mean_purity(labels, ints(0, 0, 0, 1)) == pytest.approx((2 / 3 + 1) / 2)
    assert mean_purity(labels, ints(3, 3, 7, 7)) == 1
    assert mean_purity(labels, ints(0, 1, 0, 1)) == 0.5


def test_purity_is_brute_force() -> None:
    random = np.random.default_rng(0)
    labels, clusters = random.choice(list("ABC"), 200), random.integers(0, 6, 200, np.int32)
    shares = [
        max(np.mean(labels[clusters == c] == name) for name in "ABC") for c in np.unique(clusters)
    ]
    assert mean_purity(labels, clusters) == pytest.approx(np.mean(shares))


def test_clusters_get_the_labels_that_agree_most() -> None:
    labels = np.array(["A", "A", "A", "B", "B"])
    assert matched(labels, ints(1, 1, 0, 0, 0)).tolist() == ["A", "A", "B", "B", "B"]
    # one to one: both clusters are mostly A, and the purer one gets it
    assert matched(np.array(list("AAAAB")), ints(0, 0, 0, 1, 1)).tolist() == list("AAABB")
    assert matched(np.array(["A", "A"]), ints(0, 1)).tolist().count("") == 1


def test_the_largest_pair_that_touches() -> None:
    # along a line: A (30) and B (30) are 11 mm apart, C (5) is 1 mm from A, D (9) 3 mm from B
    groups = {"A": (0, 30), "B": (40, 30), "C": (-2, 5), "D": (72, 9), "": (0, 50)}
    areas = np.concatenate([[name] * count for name, (_, count) in groups.items()])
    along = np.concatenate(
        [np.linspace(at, at + (29 if name in "AB" else 1), n) for name, (at, n) in groups.items()]
    )
    positions = np.stack([along, 0 * along, 0 * along], 1)
    assert touching_areas(areas, positions, 3.0) == ("B", "D")
    assert touching_areas(areas, positions, 2.5) == ("A", "C")
    assert touching_areas(areas, positions, 11.5) == ("A", "B")
    with pytest.raises(ValueError, match="no two areas"):
        touching_areas(areas, positions, 0.5)


def frame(count: int) -> pd.DataFrame:
    """Points of P01 (y < 0), P02 (y > 0) and P03 (far away), in both hemispheres."""
    random = np.random.default_rng(1)
    table = filled(tables.PointRow, pd.DataFrame(index=range(count)))
    table["point_id"] = [f"B01-{n}" for n in range(count)]
    table["brain"], table["status"], table["area_probability"] = "B01", "ok", 0.9
    table["hemisphere"] = random.choice(["L", "R"], count)
    table["area"] = random.choice(["P01", "P02", "P03"], count, p=[0.45, 0.45, 0.1])
    table["y_mm"] = random.uniform(0, 20, count) * table.area.map({"P01": -1, "P02": 1, "P03": 0})
    table["z_mm"] = table.area.map({"P01": 0, "P02": 0, "P03": 50}).astype(float)
    table["x_mm"] = random.uniform(10, 30, count) * table.hemisphere.map({"L": -1, "R": 1})
    return table


def features(table: pd.DataFrame, of: str) -> np.ndarray:
    noise = np.random.default_rng(2).normal(0, 0.1, (len(table), 8))
    noise[:, 0] += 10.0 * (table[of] == table[of].max())
    return noise.astype(np.float32)


def test_clusters_of_features_of_areas_are_areas_and_of_hemispheres_hemispheres() -> None:
    table = frame(300)
    table = table[table.area != "P03"].reset_index(drop=True)
    for of, other in (("area", "hemisphere"), ("hemisphere", "area")):
        scores = cluster(Samples(table, features(table, of)), 2, [0, 1])[0]
        got = {(seed, metric): value for seed, metric, value in scores}
        assert got[1, f"purity_{of}"] == 1
        assert got[1, f"purity_{other}"] < 0.6
        assert got[0, "adjusted_rand"] == pytest.approx(1 if of == "area" else 0, abs=0.02)
        assert got[0, "accuracy"] == pytest.approx(1 if of == "area" else 0.5, abs=0.1)
        share = table[of].value_counts(normalize=True).max()
        assert got[0, f"purity_{of}, one cluster"] == pytest.approx(share)


def test_seeds_differ_and_repeat() -> None:
    table = frame(200)
    samples = Samples(table, np.random.default_rng(3).normal(size=(200, 5)).astype(np.float32))
    (one, _), (other, _) = cluster(samples, 6, [4, 5]), cluster(samples, 6, [4, 5])
    assert one == other
    rand = {seed: value for seed, metric, value in one if metric == "adjusted_rand"}
    assert rand[4] != rand[5]


def study(folder: Path, annotation: bool) -> dict[str, Any]:
    table = frame(400)
    table.loc[:49, "area_probability"] = 0.3
    # improbable points, whose features would spoil the clusters, must not be used
    values = features(table, "area")
    values[:, 1] += 8 * (table.area == "P02") * (table.hemisphere == "L")
    values[:, 0] += 8 * (table.area == "P01")
    values[:50] += 1000
    paths: dict[str, Any] = {name: folder / name for name in ("points", "rows", "annotated")}
    paths["features"] = folder / "features.npy"
    tables.write(tables.PointRow, table, paths["points"])
    tables.write(tables.FeatureRow, table[["point_id", "status"]], paths["rows"])
    np.save(paths["features"], values)
    outputs = {name: folder / f"out.{name}" for name in ("scores", "clusters", "html")}
    if not annotation:
        by_hand = dict.fromkeys(("annotated", "annotated_features", "annotated_rows"))
        return {**paths, **by_hand, **outputs, "run": "r"}
    drawn = table.sample(150, random_state=0)
    drawn = pd.concat([drawn, drawn.head(20)])  # with replacement
    drawn = drawn.assign(split="train", image="", full_spacing_um=1.0)
    tables.write(tables.PatchRow, drawn[tables.names(tables.PatchRow)], paths["annotated"])
    # rows in another order, some points twice
    rows = drawn[::-1][["point_id", "status"]]
    tables.write(tables.FeatureRow, rows, folder / "annotated-rows")
    by_id = dict(zip(table.point_id, features(table, "area"), strict=True))
    second = np.stack([by_id[point] for point in rows.point_id])
    second[:, 0] = 10 * (rows.point_id.map(table.set_index("point_id").area) == "P02")
    np.save(folder / "annotated.npy", second)
    return {
        **paths,
        **outputs,
        "annotated_features": folder / "annotated.npy",
        "annotated_rows": folder / "annotated-rows",
        "run": "r",
    }


def test_run_clusters_by_atlas_and_by_annotation(tmp_path: Path) -> None:
    run_parcellation(**study(tmp_path, annotation=True), params=PARAMS)
    got = tables.read(tables.ScoreRow, tmp_path / "out.scores")
    assert set(got.split) == {"atlas", "annotation"} and set(got.fold) == {0, 1, 2}
    assert set(got.task) == {"parcellation"}
    means = got.groupby(["split", "metric"]).value.mean()
    assert means["annotation", "purity_area"] == means["annotation", "accuracy"] == 1
    assert means["atlas", "purity_area"] == 1  # the improbable points are not among them
    assert ("atlas", "accuracy") not in means  # four clusters, two areas
    assert (tmp_path / "out.html").stat().st_size > 1e5


def test_the_clusters_of_the_first_seed_are_kept(tmp_path: Path) -> None:
    arguments = study(tmp_path, annotation=True)
    run_parcellation(**arguments, params=PARAMS)
    got = tables.read(tables.ClusterRow, tmp_path / "out.clusters")
    of_atlas, by_hand = (got[got.split == split] for split in ("atlas", "annotation"))
    points = tables.read(tables.PointRow, arguments["points"]).set_index("point_id")
    chosen = points[(points.area_probability >= 0.5) & points.area.isin(of_atlas.area.unique())]
    assert set(of_atlas.point_id) == set(chosen.index)
    assert (points.area[of_atlas.point_id] == of_atlas.area.to_numpy()).all()
    sizes = of_atlas.cluster.value_counts().sort_index()
    assert sizes.index.tolist() == [1, 2, 3, 4] and (np.diff(sizes) <= 0).all()
    assert of_atlas.groupby("cluster").area.nunique().max() == 1  # as the purity of 1 says
    assert (of_atlas.matched == "").all()  # four clusters, two areas
    assert (by_hand.matched == by_hand.area).all() and len(by_hand) > 50


def test_run_without_annotations(tmp_path: Path) -> None:
    run_parcellation(**study(tmp_path, annotation=False), params=PARAMS)
    assert set(tables.read(tables.ScoreRow, tmp_path / "out.scores").split) == {"atlas"}


def test_missing_areas_are_named(tmp_path: Path) -> None:
    params = ParcellationTask(**{**vars(PARAMS), "areas": ["P01", "Fp2"]})
    with pytest.raises(InputError, match="points of P01, Fp2 for 4 clusters"):
        run_parcellation(**study(tmp_path, annotation=False), params=params)


def test_an_annotated_point_without_a_row_is_named(tmp_path: Path) -> None:
    paths = study(tmp_path, annotation=True)
    rows = tables.read(tables.FeatureRow, paths["annotated_rows"])
    patches = tables.read(tables.PatchRow, paths["annotated"])
    lost = patches.point_id[patches.area == "P01"].iloc[0]
    tables.write(tables.FeatureRow, rows[rows.point_id != lost], paths["annotated_rows"])
    with pytest.raises(InputError, match=f"no row for point {lost};"):
        run_parcellation(**paths, params=PARAMS)


def test_a_brain_without_annotations_is_clustered_by_the_atlas_alone(tmp_path: Path) -> None:
    paths = study(tmp_path, annotation=True)
    patches = tables.read(tables.PatchRow, paths["annotated"])
    tables.write(tables.PatchRow, patches.assign(brain="B02"), paths["annotated"])
    run_parcellation(**paths, params=PARAMS)
    assert set(tables.read(tables.ScoreRow, tmp_path / "out.scores").split) == {"atlas"}
