from itertools import product
from pathlib import Path
from typing import Any

import networkx
import numpy as np
import pandas as pd
import pytest
from table_rows import filled
from test_evaluation import OPTIMISER

from cytopipe import evaluation
from cytopipe.evaluation import stored_features
from cytopipe.evaluation.adjacency import UNREACHABLE, hops, margin_of, scores_by_hops
from cytopipe.evaluation.labelled_patches import views_of
from cytopipe.files import InputError
from cytopipe.formats import linear_classifier, tables, volumes
from cytopipe.formats.atlas import Atlas
from cytopipe.learning import checkpoints
from cytopipe.study.config import AreasTask

PARAMS = AreasTask(
    dataset="areas",
    standardise=True,
    epochs=10,
    batch_size=16,
    optimiser=OPTIMISER,
    cache_mb=1,
    seeds=[1, 2],
)


def atlas_of(data: np.ndarray, names: dict[int, str], sides: dict[int, str]) -> Atlas:
    return Atlas(volumes.Volume(data, np.eye(4)), names, sides)


def test_hops_agree_with_a_graph_built_voxel_by_voxel() -> None:
    random = np.random.default_rng(0)
    data = np.where(random.random((9, 8, 7)) < 0.06, random.integers(1, 13, (9, 8, 7)), 0)
    names = {label: f"P{(label - 1) % 6}" for label in range(1, 13)}
    sides = {label: "L" if label <= 6 else "R" for label in range(1, 13)}
    graph = networkx.Graph()
    graph.add_nodes_from(names.values())
    for at in np.argwhere(data):
        for offset in product((-1, 0, 1), repeat=3):
            to = at + offset
            if (to >= 0).all() and (to < data.shape).all() and data[tuple(to)]:
                one, other = int(data[tuple(at)]), int(data[tuple(to)])
                if sides[one] == sides[other]:
                    graph.add_edge(names[one], names[other])
    areas = sorted(set(names.values()))
    truth = dict(networkx.all_pairs_shortest_path_length(graph))
    expected = [[truth[a].get(b, UNREACHABLE) for b in areas] for a in areas]
    assert len(np.unique(expected)) > 2  # the example has areas that are not adjacent
    assert np.array_equal(hops(atlas_of(data, names, sides), areas), expected)


def test_hops_of_a_row_of_areas() -> None:
    # A B C in a row; the left A touches the right C across the midline; D touches none
    data = np.array([1, 1, 2, 3, 0, 0, 5, 4, 0, 6], np.uint8)[:, None, None]
    data[0], data[6] = 1, 5
    names = {1: "A", 2: "B", 3: "C", 4: "A", 5: "C", 6: "D"}
    sides = {1: "L", 2: "L", 3: "L", 4: "L", 5: "R", 6: "L"}
    steps = hops(atlas_of(data, names, sides), ["C", "A", "D", "elsewhere"])
    no_path = UNREACHABLE
    assert steps.tolist() == [
        [0, 2, no_path, no_path],
        [2, 0, no_path, no_path],
        [no_path, no_path, 0, no_path],
        [no_path, no_path, no_path, 0],
    ]


def test_scores_by_hops_by_hand() -> None:
    distance = np.array([0, 0, 0, 1, 1, 2, UNREACHABLE])
    margins = np.array([3.0, 5, 4, 1, 2, 0.5, 7])
    bins = {0: "correct", 1: "1_hop", 2: "2_hops", 3: "3_hops", UNREACHABLE: "unreachable"}
    assert scores_by_hops(distance, margins, bins) == {
        "margin_correct": 4,
        "errors_1_hop": 0.5,
        "errors_within_1_hop": 0.5,
        "margin_1_hop": 1.5,
        "errors_2_hops": 0.25,
        "errors_within_2_hops": 0.75,
        "margin_2_hops": 0.5,
        "errors_3_hops": 0,
        "errors_within_3_hops": 0.75,
        "errors_unreachable": 0.25,
        "margin_unreachable": 7,
    }
    assert scores_by_hops(distance[:3], margins[:3], bins) == {"margin_correct": 4}


def test_margin_is_between_the_two_largest() -> None:
    assert margin_of(np.array([[1.0, 4, 2.5], [3, 3, -9]])).tolist() == [1.5, 0]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Features that separate two areas, in the points' order; one point has no features."""
    random = np.random.default_rng(0)
    rows = []
    for brain, splits in {"B01": ["train", "seen"], "B02": ["transfer"]}.items():
        point_ids = [f"{brain}-{n}" for n in range(60)]
        area = np.where(np.arange(60) % 2, "P", "Q")
        values = np.where(area == "P", 1.0, -1.0)[:, None] + 0.1 * random.normal(size=(60, 3))
        values[10] = np.nan
        np.save(tmp_path / f"{brain}.npy", values.astype(np.float32))
        status = np.where(np.arange(60) == 10, "low_tissue", "ok")
        table = pd.DataFrame({"point_id": point_ids, "status": status})
        tables.write(tables.FeatureRow, table, tmp_path / f"{brain}.parquet")
        split = np.array(splits)[np.arange(60) % 3 % len(splits)]
        rows.append(pd.DataFrame({"point_id": point_ids, "split": split, "area": area}))
        rows[-1]["brain"] = brain
    frame = pd.concat(rows).sample(frac=1, random_state=1)
    frame.loc[frame.point_id == "B02-11", "area"] = "R"  # an area that is not in training
    tables.write(tables.PatchRow, filled(tables.PatchRow, frame), tmp_path / "patches.parquet")
    return tmp_path


def run(folder: Path, brains: tuple[str, ...] = ("B01", "B02"), **changed: Any) -> pd.DataFrame:
    arguments: dict[str, Any] = {
        "patches": folder / "patches.parquet",
        "features": [folder / f"{brain}.npy" for brain in brains],
        "projected": [],
        "rows": [folder / f"{brain}.parquet" for brain in brains],
        "views": [],
        "weights": [],
        "atlas": [],
        "scores": folder / "scores.parquet",
        "predictions": folder / "predictions.parquet",
        "classifier": folder / "classifier.npz",
        "html": folder / "areas.html",
        "run": "x",
        "threads": 1,
        "params": PARAMS,
    }
    evaluation.run_areas(**arguments | changed)
    return tables.read(tables.ScoreRow, folder / "scores.parquet")


def test_features_are_matched_to_patches_by_point(study: Path) -> None:
    table = run(study)
    assert set(table.split) == {"seen", "transfer"} and set(table.fold) == {1, 2}
    assert set(table.metric) == {"macro_f1", "macro_f1_present", "weighted_f1", "top1", "top3"}
    assert (table.value == 1).all()
    assert "Confusion, seen" in (study / "areas.html").read_text()


def test_features_of_a_data_set_give_the_scores_of_those_of_brains(study: Path) -> None:
    patches = tables.read(tables.PatchRow, study / "patches.parquet")
    patches = pd.concat([patches, patches.iloc[:40]])  # drawn with replacement
    tables.write(tables.PatchRow, patches, study / "patches.parquet")
    brains = [tables.read(tables.FeatureRow, study / f"{b}.parquet") for b in ("B01", "B02")]
    arrays = [np.load(study / f"{b}.npy") for b in ("B01", "B02")]
    at = pd.Index(pd.concat(brains).point_id).get_indexer(pd.Index(patches.point_id))
    np.save(study / "set.npy", np.concatenate(arrays)[at])
    listed = pd.DataFrame({"point_id": patches.point_id, "status": "ok"})
    tables.write(tables.FeatureRow, listed, study / "set.parquet")
    pd.testing.assert_frame_equal(run(study, brains=("set",)), run(study))


def test_memory_and_blocks_do_not_change_the_scores(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(study)
    predicted = tables.read(tables.PredictionRow, study / "predictions.parquet")
    monkeypatch.setattr(stored_features, "BLOCK", 7)
    read_by_batch = PARAMS.model_copy(update={"cache_mb": 0.0})
    pd.testing.assert_frame_equal(run(study, params=read_by_batch), whole)
    pd.testing.assert_frame_equal(
        tables.read(tables.PredictionRow, study / "predictions.parquet"), predicted
    )


def test_shuffled_features_are_at_chance(study: Path) -> None:
    values = np.load(study / "B02.npy")
    np.save(study / "B02.npy", values[np.random.default_rng(1).permutation(60)])
    table = run(study)
    assert (table.value[(table.split == "transfer") & (table.metric == "top1")] < 0.8).all()


def test_points_without_a_row_are_an_error(study: Path) -> None:
    rows = tables.read(tables.FeatureRow, study / "B02.parquet").iloc[:50]
    tables.write(tables.FeatureRow, rows, study / "B02.parquet")
    np.save(study / "B02.npy", np.load(study / "B02.npy")[:50])
    with pytest.raises(InputError, match=r"B02.parquet: no row for point B02-5\d; rerun"):
        run(study)


def atlas_files(folder: Path) -> list[Path]:
    data = np.array([1, 2, 3], np.uint8)[:, None, None]
    volumes.write(volumes.Volume(data, np.eye(4)), folder / "atlas.nii.gz")
    table = pd.DataFrame({"label": [1, 2, 3], "name": list("PRQ"), "hemisphere": ""})
    table.to_csv(folder / "areas.tsv", sep="\t", index=False)
    return [folder / "atlas.nii.gz", folder / "areas.tsv"]


def test_errors_are_counted_by_hops(study: Path) -> None:
    values = np.load(study / "B02.npy")
    np.save(study / "B02.npy", -values)  # every prediction is wrong: P for Q, two hops away
    table = run(study, atlas=atlas_files(study))
    scores = table[(table.split == "transfer") & (table.fold == 1)].set_index("metric").value
    assert scores["errors_1_hop"] == 0 and scores["errors_2_hops"] == 1
    assert scores["errors_within_1_hop"] == 0 and scores["errors_within_2_hops"] == 1
    assert "margin_2_hops" in scores and "margin_correct" not in scores
    assert "Margin by hops, transfer" in (study / "areas.html").read_text()


def test_predictions_are_of_points_that_were_not_trained_on(study: Path) -> None:
    values = np.load(study / "B02.npy")
    np.save(study / "B02.npy", -values)
    scored = run(study, atlas=atlas_files(study))
    predictions = tables.read(tables.PredictionRow, study / "predictions.parquet")
    patches = tables.read(tables.PatchRow, study / "patches.parquet").set_index("point_id")
    assert predictions["point_id"].is_unique and set(predictions["split"]) == {"seen", "transfer"}
    assert (patches.loc[predictions["point_id"], "split"].to_numpy() == predictions["split"]).all()
    assert (patches.loc[predictions["point_id"], "area"].to_numpy() == predictions["area"]).all()
    # there is no prediction without features or for an area that is not in training
    assert not {"B01-10", "B02-10", "B02-11"} & set(predictions["point_id"])
    right = predictions["area"] == predictions["predicted"]
    assert (
        right[predictions["split"] == "seen"].all()
        and not right[predictions["split"] == "transfer"].any()
    )
    assert set(predictions["hops"][right]) == {0} and set(predictions["hops"][~right]) == {2}
    assert predictions["probability"].between(0.5, 1).all()
    first = scored[(scored.fold == 1) & (scored.metric == "top1")].set_index("split").value
    assert right.groupby(predictions["split"]).mean().to_dict() == first.to_dict()
    run(study)
    assert tables.read(tables.PredictionRow, study / "predictions.parquet")["hops"].isna().all()


def save_head(study: Path, head: str, classes: list[str]) -> None:
    """What the task reads of a trained network."""
    content = {"params": {}, "version": 1, "plan": {"head": head}, "weights": {}}
    checkpoints.save({**content, "classes": classes}, study / "final.pt")


def test_projected_features_have_their_own_probe(study: Path) -> None:
    random = np.random.default_rng(0)
    for brain in ("B01", "B02"):
        np.save(study / f"{brain}-p.npy", random.normal(size=(60, 2)).astype(np.float32))
    save_head(study, "projection", [])
    projected = [study / f"{brain}-p.npy" for brain in ("B01", "B02")]
    table = run(study, projected=projected, weights=[study / "final.pt"])
    means = table[table.metric == "top1"].groupby("task").value.mean()
    assert set(means.index) == {"areas", "areas_projected"}
    assert means["areas"] == 1 and means["areas_projected"] < 0.8


def write_views(study: Path, values: np.ndarray, point_ids: list[str]) -> list[Path]:
    """Files of views (views, points, d) as `features.run_views` writes them; the head halves."""
    paths = [study / name for name in ("views.npy", "views-projected.npy", "views.parquet")]
    flat = values.reshape(-1, values.shape[-1]).astype(np.float32)
    np.save(paths[0], flat)
    np.save(paths[1], flat / 2)
    rows = pd.DataFrame({"point_id": len(values) * point_ids, "status": "ok"})
    tables.write(tables.FeatureRow, rows, paths[2])
    return paths


def test_each_draw_of_a_point_shows_another_view(study: Path) -> None:
    values = np.arange(3 * 2 * 1).reshape(
        3, 2, 1
    )  # view 0: 0 and 1; view 1: 2 and 3; view 2: 4 and 5
    array, _, rows = write_views(study, values, ["a", "b"])
    drawn = pd.DataFrame({"point_id": ["b", "a", "b", "b", "b"]})
    views = [each[:].ravel().tolist() for each in views_of(drawn, array, rows)]
    assert views == [[1, 0, 3, 5, 1], [3, 2, 5, 1, 3], [5, 4, 1, 3, 5]]
    with pytest.raises(InputError, match=r"views\.parquet: no row for point c; rerun"):
        views_of(pd.DataFrame({"point_id": ["a", "c"]}), array, rows)


def test_a_probe_is_trained_on_views_and_scored_on_patches(study: Path) -> None:
    patches = tables.read(tables.PatchRow, study / "patches.parquet")
    train = patches[patches.split == "train"]
    sign = np.where(train.area == "P", 1.0, -1.0)[:, None]
    views = np.stack(
        [sign + 0.1 * np.random.default_rng(s).normal(size=(len(sign), 3)) for s in (1, 2)]
    )
    save_head(study, "projection", [])
    files = {
        "projected": [study / f"{b}.npy" for b in ("B01", "B02")],
        "weights": [study / "final.pt"],
    }
    same = run(study, views=write_views(study, views, train.point_id.tolist()), **files)
    assert (same.value == 1).all() and set(same.task) == {"areas", "areas_projected"}
    # views that show the other area: every prediction for a patch without augmentation is wrong
    turned = run(study, views=write_views(study, -views, train.point_id.tolist()), **files)
    assert (turned.value[turned.metric == "top1"] == 0).all()


def test_a_runs_own_classifier_is_scored_by_its_own_classes(study: Path) -> None:
    for brain in ("B01", "B02"):
        first = np.load(study / f"{brain}.npy")[:, 0]
        # positive for P; the classes are not sorted and contain R, which is not in training
        logits = np.stack([np.full(60, -5), first, -first], axis=1).astype(np.float32)
        np.save(study / f"{brain}-p.npy", logits)
    save_head(study, "classifier", ["R", "P", "Q"])
    projected = [study / f"{brain}-p.npy" for brain in ("B01", "B02")]
    table = run(study, projected=projected, weights=[study / "final.pt"])
    own = table[table.task == "areas_classifier"].set_index(["split", "metric"])
    assert set(table.task) == {"areas", "areas_classifier"} and set(own.fold) == {0}
    assert own.value["seen", "top1"] == 1
    assert own.value["transfer", "top1"] == pytest.approx(58 / 59)  # R is predicted as P


def test_cross_validation_over_transfer_brains(study: Path) -> None:
    patches = tables.read(tables.PatchRow, study / "patches.parquet")
    turned = patches.assign(
        split=np.where(
            patches.brain == "B01", "transfer", np.where(patches.index % 3 == 0, "seen", "train")
        )
    )
    tables.write(tables.PatchRow, turned, study / "turned.parquet")
    evaluation.run_cross_validation(
        patches={"B02": study / "patches.parquet", "B01": study / "turned.parquet"},
        features=[study / f"{brain}.npy" for brain in ("B01", "B02")],
        rows=[study / f"{brain}.parquet" for brain in ("B01", "B02")],
        views=[],
        scores=study / "cv.parquet",
        html=study / "cv.html",
        run="x",
        threads=1,
        params=PARAMS,
    )
    table = tables.read(tables.ScoreRow, study / "cv.parquet")
    assert set(table.task) == {"cross_validation"} and set(table.fold) == {0, 1}
    assert set(table.split) == {"seen", "transfer"} and len(table) == 2 * 2 * 5
    assert (table.value[table.split == "transfer"] > 0.6).all()


def test_the_classifier_is_the_probe_of_the_predictions(study: Path) -> None:
    run(study)
    table = tables.read(tables.PredictionRow, study / "predictions.parquet").set_index("point_id")
    classifier = linear_classifier.read(study / "classifier.npz")
    listed = tables.read(tables.FeatureRow, study / "B02.parquet").point_id
    logits = pd.DataFrame(classifier.logits(np.load(study / "B02.npy")), index=listed)
    of_brain = table[table.split == "transfer"]
    named = np.array(classifier.classes)[logits.loc[of_brain.index].to_numpy().argmax(1)]
    assert named.tolist() == of_brain.predicted.tolist()
