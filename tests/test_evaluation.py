from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, top_k_accuracy_score

from cytopipe import evaluation
from cytopipe.evaluation.metrics import scores
from cytopipe.evaluation.probes import Probe, fit_probe
from cytopipe.files import InputError
from cytopipe.formats import tables
from cytopipe.learning.optimisers import Optimiser

OPTIMISER: dict[str, Any] = {
    "name": "sgd",
    "learning_rate": 0.1,
    "schedule": "constant",
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "trust": 0.02,
    "lars_exclude": "bias",
}


def test_scores_by_hand() -> None:
    # three of A, one of B, none of C; predicted A A B B
    logits = np.array([[3.0, 1, 2], [2, 1, 0], [0, 3, 1], [1, 2, 0]])
    got = scores(np.array([0, 0, 0, 1]), logits)
    f1_a, f1_b = 2 * 2 / (3 + 2), 2 * 1 / (1 + 2)
    assert got["macro_f1"] == pytest.approx((f1_a + f1_b) / 2)
    assert got["weighted_f1"] == pytest.approx((3 * f1_a + f1_b) / 4)
    assert got["top1"] == 0.75 and got["top3"] == 1


def test_scores_are_sklearns() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 9, 500)  # class 9 does not occur, but is predicted
    logits = random.normal(size=(500, 10)) + 1.5 * np.eye(10)[truth]
    got, predicted = scores(truth, logits), logits.argmax(1)
    present = list(range(9))
    assert got["macro_f1"] == pytest.approx(
        f1_score(truth, predicted, labels=present, average="macro")
    )
    assert got["weighted_f1"] == pytest.approx(
        f1_score(truth, predicted, labels=present, average="weighted")
    )
    expected = top_k_accuracy_score(truth, logits, k=3, labels=list(range(10)))
    assert got["top3"] == pytest.approx(expected)


def test_constant_logits_are_no_success() -> None:
    assert scores(np.arange(5), np.zeros((5, 5)))["top3"] == 0


def fitted(values: np.ndarray, labels: np.ndarray, seed: int = 1, epochs: int = 30) -> Probe:
    return fit_probe(
        values.astype(np.float32),
        labels,
        4,
        standardise=True,
        epochs=epochs,
        batch_size=32,
        optimiser=Optimiser(**OPTIMISER),
        seed=seed,
    )


def test_a_probe_separates_what_is_separable() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 400)
    # of very different scale and far from zero: a layer without bias needs them standardised
    centres = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]) * [1e3, 1e-3] + [5e3, 5e-3]
    values = centres[labels] + random.normal(size=(400, 2)) * [100, 1e-4]
    logits = fitted(values, labels).logits(values.astype(np.float32))
    assert scores(labels, logits)["macro_f1"] > 0.99


def test_a_probe_of_noise_is_at_chance() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 2000)
    values = random.normal(size=(2000, 8)).astype(np.float32)
    probe = fitted(values[:1000], labels[:1000], epochs=5)
    assert scores(labels[1000:], probe.logits(values[1000:]))["top1"] == pytest.approx(
        0.25, abs=0.05
    )


def test_a_probe_follows_from_its_seed() -> None:
    random = np.random.default_rng(0)
    values, labels = random.normal(size=(64, 8)), random.integers(0, 4, 64)
    one, same, other = (fitted(values, labels, seed, 1).weights for seed in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Features that tell two areas apart, in the points' own order; one point without features."""
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
        tables.write(tables.FEATURE_ROWS, table, tmp_path / f"{brain}.parquet")
        split = np.array(splits)[np.arange(60) % 3 % len(splits)]
        rows.append(pd.DataFrame({"point_id": point_ids, "split": split, "area": area}))
        rows[-1]["brain"] = brain
    frame = pd.concat(rows).sample(frac=1, random_state=1)
    frame.loc[frame.point_id == "B02-11", "area"] = "R"  # an area that training never saw
    others = {c.name: 0.0 if c.dtype == "float64" else "x" for c in tables.PATCHES.columns}
    others["section"] = 1
    frame = frame.assign(**{k: v for k, v in others.items() if k not in frame})
    tables.write(tables.PATCHES, frame, tmp_path / "patches.parquet")
    return tmp_path


def run(folder: Path) -> pd.DataFrame:
    evaluation.run_areas(
        patches=folder / "patches.parquet",
        features={brain: folder / f"{brain}.npy" for brain in ("B01", "B02")},
        rows={brain: folder / f"{brain}.parquet" for brain in ("B01", "B02")},
        scores=folder / "scores.parquet",
        run_name="x",
        threads=1,
        params=evaluation.AreaParams(
            dataset="areas",
            standardise=True,
            epochs=10,
            batch_size=16,
            optimiser=OPTIMISER,
            seeds=[1, 2],
        ),
    )
    return tables.read(tables.SCORES, folder / "scores.parquet")


def test_features_meet_their_patches_by_point(study: Path) -> None:
    table = run(study)
    assert set(table.split) == {"seen", "transfer"} and set(table.fold) == {1, 2}
    assert set(table.metric) == {"macro_f1", "weighted_f1", "top1", "top3"}
    assert (table.value == 1).all()


def test_shuffled_features_are_at_chance(study: Path) -> None:
    values = np.load(study / "B02.npy")
    np.save(study / "B02.npy", values[np.random.default_rng(1).permutation(60)])
    table = run(study)
    assert (table.value[(table.split == "transfer") & (table.metric == "top1")] < 0.8).all()


def test_points_without_a_row_are_an_error(study: Path) -> None:
    rows = tables.read(tables.FEATURE_ROWS, study / "B02.parquet").iloc[:50]
    tables.write(tables.FEATURE_ROWS, rows, study / "B02.parquet")
    with pytest.raises(InputError, match=r"B02.parquet: no row for point B02-5\d; rerun"):
        run(study)
