"""The map: distances and probabilities with a known answer, and a table for every point."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import f1_score
from table_rows import filled

from cytopipe import mapping
from cytopipe.files import InputError
from cytopipe.formats import linear_classifier, tables
from cytopipe.formats.linear_classifier import LinearClassifier
from cytopipe.mapping import classified_points, reference
from cytopipe.mapping.novelty import calibrated_temperature, fit_novelty, kth_distance
from cytopipe.mapping.scoring import agreement, patches_per_area
from cytopipe.study.config import Mapping

AREAS = ("P", "Q", "S")
CENTRES = np.array([[6.0, 0, 0, 0], [0, 6, 0, 0], [0, 0, 6, 0]])


def params(**changed: Any) -> Mapping:
    values = {"run": "r", "smoothing_mm": 0, "components": 4, "neighbours": 3, "reference": 1000}
    return Mapping(**values | {"false_alarms": 0.05, "seed": 1} | changed)


def features_of(areas: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(len(areas), 4))
    return (CENTRES[areas] + noise).astype(np.float32)


def classifier() -> LinearClassifier:
    zero, one = np.zeros(4, np.float32), np.ones(4, np.float32)
    return LinearClassifier(AREAS, zero, one, CENTRES.astype(np.float32))


def write_study(folder: Path) -> dict[str, Any]:
    """Labelled points of B01, split by section; and 90 points of B02, of which 5 have no features.

    The last three points of B02 are unlike all others.
    """
    labels = np.tile([0, 1, 2], 100)
    frame = pd.DataFrame(
        {
            "point_id": [f"B01-1-{n}" for n in range(300)],
            "brain": "B01",
            "split": np.where(np.arange(300) < 200, "train", "seen"),
            "area": np.array(AREAS)[labels],
        }
    )
    repeated = pd.concat([frame, frame[:50]])
    tables.write(tables.PatchRow, filled(tables.PatchRow, repeated), folder / "patches.parquet")
    np.save(folder / "B01.npy", features_of(labels, 0))
    rows = filled(tables.FeatureRow, frame[["point_id"]].assign(status="ok"))
    tables.write(tables.FeatureRow, rows, folder / "B01.parquet")
    linear_classifier.write(classifier(), folder / "classifier.npz")

    truth = np.repeat([0, 1, 2], 30)
    values = features_of(truth, 1)
    values[:5] = np.nan
    values[-3:] = (0, 0, 0, 60)
    np.save(folder / "B02.npy", values)
    points = pd.DataFrame(
        {
            "point_id": [f"B02-1-{n}" for n in range(90)],
            "brain": "B02",
            "section": 1,
            "hemisphere": "L",
            "x_um": 1000.0 * np.arange(90),
            "x_stack_um": 1000.0 * np.arange(90),
            "nz": 1.0,
            "status": np.where(np.arange(90) < 5, "low_tissue", "ok"),
        }
    )
    tables.write(tables.PointRow, filled(tables.PointRow, points), folder / "points.parquet")
    tables.write(tables.FeatureRow, points[["point_id", "status"]], folder / "B02.parquet")
    return {
        "brain": "B02",
        "points": folder / "points.parquet",
        "features": folder / "B02.npy",
        "rows": folder / "B02.parquet",
        "classifier": folder / "classifier.npz",
        "reference": folder / "reference.npz",
        "areas": folder / "map.parquet",
        "threads": 1,
        "params": params(),
    }


def make_reference(folder: Path, **changed: Any) -> reference.Reference:
    arguments = {
        "patches": folder / "patches.parquet",
        "classifier": folder / "classifier.npz",
        "features": [folder / "B01.npy"],
        "rows": [folder / "B01.parquet"],
        "reference": folder / "reference.npz",
        "threads": 1,
        "params": params(),
    }
    mapping.run_reference(**arguments | changed)
    return reference.read(folder / "reference.npz")


def mapped(folder: Path, **changed: Any) -> pd.DataFrame:
    arguments = write_study(folder) | changed
    make_reference(folder)
    mapping.run(**arguments)
    return tables.read(tables.MapRow, arguments["areas"])


def test_every_point_has_a_row_and_says_what_it_is_worth(tmp_path: Path) -> None:
    table = mapped(tmp_path)
    truth = np.repeat(AREAS, 30)
    assert len(table) == 90
    assert (table.status[:5] == "low_tissue").all() and (table.predicted[:5] == "").all()
    assert table.probability[:5].isna().all() and table.novelty[:5].isna().all()
    assert (table.status[-3:] == "unlike_training").all() and (table.novelty[-3:] > 5).all()
    judged = table[5:-3]
    assert (judged.predicted == truth[5:-3]).mean() > 0.99
    assert (judged.status == "unlike_training").mean() < 0.2
    assert (judged.mapped == judged.predicted).all()  # no smoothing
    whole = judged.probability + judged.second_probability + judged.third_probability
    np.testing.assert_allclose(whole, 1, atol=2e-4)
    assert (judged.probability >= judged.second_probability).all()
    logits = classifier().logits(np.load(tmp_path / "B02.npy")[5:-3])
    ordered = np.sort(logits, axis=1)
    np.testing.assert_allclose(judged.margin, ordered[:, -1] - ordered[:, -2], atol=1e-4)


def test_blocks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = mapped(tmp_path)
    monkeypatch.setattr(classified_points, "_BLOCK", 7)
    pd.testing.assert_frame_equal(mapped(tmp_path), whole)


def test_two_areas_have_no_third(tmp_path: Path) -> None:
    arguments = write_study(tmp_path)
    make_reference(tmp_path)
    full = classifier()
    pair = LinearClassifier(AREAS[:2], full.mean, full.scale, full.weights[:2])
    linear_classifier.write(pair, tmp_path / "pair.npz")
    mapping.run(**arguments | {"classifier": tmp_path / "pair.npz"})
    table = tables.read(tables.MapRow, tmp_path / "map.parquet")
    assert (table.third == "").all() and table.third_probability.isna().all()
    np.testing.assert_allclose((table.probability + table.second_probability)[5:], 1, atol=2e-4)


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    arguments = write_study(tmp_path)
    make_reference(tmp_path)
    with pytest.raises(InputError, match=r"not the rows of .*rerun the features"):
        mapping.run(**arguments | {"rows": tmp_path / "B01.parquet"})
    with pytest.raises(InputError, match=r"B01\.npy: \(300, 4\).*\(90, 4\); rerun"):
        mapping.run(**arguments | {"features": tmp_path / "B01.npy"})
    np.save(tmp_path / "narrow.npy", np.zeros((300, 3), np.float32))
    with pytest.raises(InputError, match=r"narrow\.npy: 3 features.*trained on 4; rerun"):
        make_reference(tmp_path, features=[tmp_path / "narrow.npy"])
    with pytest.raises(InputError, match="no row for point B01-1-"):
        make_reference(tmp_path, features=[], rows=[])
    with pytest.raises(InputError, match=r"200 training points and 0 held-out"):
        table = tables.read(tables.PatchRow, tmp_path / "patches.parquet")
        table.loc[table.split == "seen", "split"] = "unseen"
        tables.write(tables.PatchRow, table, tmp_path / "patches.parquet")
        make_reference(tmp_path)


def test_a_damaged_classifier_or_reference_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "classifier.npz"
    linear_classifier.write(classifier(), path)
    back = linear_classifier.read(path)
    assert back.classes == AREAS
    np.testing.assert_array_equal(back.weights, CENTRES.astype(np.float32))
    path.write_bytes(path.read_bytes()[:300])
    for read in (linear_classifier.read, reference.read):
        with pytest.raises(InputError, match=r"classifier\.npz: not a readable .*; delete it and"):
            read(path)
    full = classifier()
    wrong = LinearClassifier(AREAS, full.mean, full.scale, full.weights[:2])
    linear_classifier.write(wrong, path)
    with pytest.raises(InputError, match=r"\(2, 4\) weights for 3 classes of 4 features"):
        linear_classifier.read(path)


def test_distances_are_those_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    points, others = (rng.normal(3, 2, (n, 5)).astype(np.float32) for n in (2300, 40))
    expected = np.sort(cdist(points, others), axis=1)[:, 2]
    np.testing.assert_allclose(kth_distance(points, others, 3), expected, atol=1e-3)


def test_the_accepted_share_of_held_out_points_is_foreign() -> None:
    rng = np.random.default_rng(0)
    train, held, new = (rng.normal(size=(n, 6)).astype(np.float32) for n in (2000, 1000, 4000))
    brains = np.array(["B01"])
    novelty = fit_novelty(train, brains.repeat(2000), held, brains.repeat(1000), 6, 5, 0.05)
    assert np.mean(novelty.distance(held) > novelty.own) == pytest.approx(0.05, abs=0.002)
    assert np.mean(novelty.distance(new) > novelty.own) == pytest.approx(0.05, abs=0.02)
    assert np.isnan(novelty.other) and novelty.threshold("B02") == novelty.own


def test_a_new_brain_may_differ_as_much_as_the_training_brains_do() -> None:
    """Each brain has an offset of its own; a fourth one is no more foreign than the others."""
    rng = np.random.default_rng(0)
    offsets = 8 * np.eye(6)[:4]

    def points(brain: int, count: int) -> np.ndarray:
        return (offsets[brain] + rng.normal(size=(count, 6))).astype(np.float32)

    names = np.array(["B01", "B02", "B03"])
    train = np.concatenate([points(brain, 500) for brain in range(3)])
    held = np.concatenate([points(brain, 300) for brain in range(3)])
    novelty = fit_novelty(train, names.repeat(500), held, names.repeat(300), 6, 5, 0.05)
    fourth = novelty.distance(points(3, 1000))
    assert np.mean(fourth > novelty.threshold("B02")) > 0.99
    assert np.mean(fourth > novelty.threshold("B04")) < 0.2
    foreign = novelty.distance((30 + rng.normal(size=(100, 6))).astype(np.float32))
    assert (foreign > novelty.threshold("B04")).all()


def test_the_temperature_undoes_overconfidence() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 4))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (rng.random((20_000, 1)) > shares.cumsum(1)).sum(1)
    assert calibrated_temperature(3 * logits, labels.tolist()) == pytest.approx(3, rel=0.05)


def test_agreement_is_that_of_scikit_learn() -> None:
    truth = np.array(["P", "P", "Q", "Q"])
    columns = {
        "predicted": ["P", "S", "Q", "P"],
        "mapped": ["P", "P", "Q", "Q"],
        "status": ["ok", "unlike_training", "ok", "ok"],
    }
    scores = agreement(truth, filled(tables.MapRow, pd.DataFrame(columns)))
    assert scores["prediction accuracy"] == 0.5 and scores["map accuracy"] == 1
    assert scores["prediction macro_f1"] == pytest.approx((0.5 + 2 / 3 + 0) / 3)
    assert scores["prediction macro_f1"] == pytest.approx(
        f1_score(truth, columns["predicted"], average="macro", zero_division=0)
    )
    assert scores["unlike_training"] == 0.25
    assert agreement(truth[:0], filled(tables.MapRow, pd.DataFrame(columns))[:0]) == {}


def test_smoothing_mends_single_points_and_names_foreign_ones(tmp_path: Path) -> None:
    arguments = write_study(tmp_path)
    values = np.load(tmp_path / "B02.npy")
    values[45] = CENTRES[0]  # a P in the middle of the Qs
    np.save(tmp_path / "B02.npy", values)
    make_reference(tmp_path)
    mapping.run(**arguments | {"params": params(smoothing_mm=3.0)})
    table = tables.read(tables.MapRow, tmp_path / "map.parquet")
    assert table.predicted[45] == "P" and table.mapped[45] == "Q"
    assert (table.mapped[-3:] == "S").all() and (table.status[-3:] == "unlike_training").all()
    assert (table.mapped[:5] == "").all()
    points = tables.read(tables.PointRow, tmp_path / "points.parquet")
    patches = patches_per_area(points, table)
    assert patches["map patches_per_area"] == 1 < patches["prediction patches_per_area"]


def test_scores_compare_the_map_with_labels_of_test_sections(tmp_path: Path) -> None:
    """Labels lie 0.3 mm from points of the map; one has no point near and does not count."""
    arguments = write_study(tmp_path)
    make_reference(tmp_path)
    mapping.run(**arguments)
    labels = pd.DataFrame(
        {
            "point_id": [f"B02-1-a{n}" for n in range(4)],
            "brain": "B02",
            "section": 1,
            "split": ["transfer", "transfer", "transfer", "train"],
            "area": ["P", "P", "S", "Q"],
            "x_um": [20_300.0, 40_300.0, 999_999.0, 20_000.0],
        }
    )
    tables.write(tables.PatchRow, filled(tables.PatchRow, labels), tmp_path / "test.parquet")
    mapping.run_scores(
        patches=tmp_path / "test.parquet",
        points={"B02": arguments["points"]},
        areas={"B02": arguments["areas"]},
        scores=tmp_path / "scores.parquet",
        run="r",
        params=params(),
    )
    table = tables.read(tables.ScoreRow, tmp_path / "scores.parquet").set_index(["split", "metric"])
    assert table.value["transfer", "map accuracy"] == 0.5  # the second label is wrong
    assert set(table.index.get_level_values("split")) == {"transfer", "B02"}
    assert (table.task == "mapping").all() and (table.run == "r").all()
