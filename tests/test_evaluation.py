from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, top_k_accuracy_score

from cytopipe import evaluation
from cytopipe.evaluation import metrics
from cytopipe.evaluation.predictions import Predictions
from cytopipe.evaluation.probes import Probe, fit_probe
from cytopipe.study import config as study_config
from cytopipe.study.config import AreasTask

OPTIMISER: dict[str, Any] = {
    "name": "sgd",
    "learning_rate": 0.1,
    "schedule": "constant",
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "trust": 0.02,
    "lars_exclude": "bias",
}


def test_every_task_is_a_name_of_the_package() -> None:
    """Tasks are imported late, so a wrong name would only fail in the job."""
    assert all(callable(getattr(evaluation, name)) for name in evaluation.__all__)
    tasks = {name.removeprefix("run_") for name in evaluation.__all__ if name.startswith("run_")}
    config = study_config.read(study_config.DEFAULTS)
    assert tasks == set(config["evaluation"]["tasks"])


def scores(truth: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    of = Predictions.of_logits("seen", 1, truth, logits)
    return metrics.scores(of.truth, of.predicted, of.rank, of.classes)


def test_scores_by_hand() -> None:
    # three of A, one of B, none of C; predicted A A B B
    logits = np.array([[3.0, 1, 2], [2, 1, 0], [0, 3, 1], [1, 2, 0]])
    got = scores(np.array([0, 0, 0, 1]), logits)
    f1_a, f1_b = 2 * 2 / (3 + 2), 2 * 1 / (1 + 2)
    assert got["macro_f1"] == got["macro_f1_present"] == pytest.approx((f1_a + f1_b) / 2)
    assert got["weighted_f1"] == pytest.approx((3 * f1_a + f1_b) / 4)
    assert got["top1"] == 0.75 and got["top3"] == 1


@pytest.mark.parametrize(
    ("occurring", "classes"),
    [
        (range(10), 10),  # all
        (range(9), 10),  # one is predicted, but does not occur
        (range(0, 113, 2), 113),  # half of them, as on a brain with few annotations
        ([3], 5),  # a single one
        ([0, 4], 40),  # most classes are neither there nor predicted
    ],
)
def test_scores_are_sklearns(occurring: Sequence[int], classes: int) -> None:
    random = np.random.default_rng(0)
    truth = random.choice(occurring, 500)
    # every 50th prediction is free, the others are among few classes
    logits = random.normal(size=(500, classes)) + 2 * np.eye(classes)[truth]
    logits[:, classes // 2 :] -= np.where(np.arange(500) % 50, 3, 0)[:, None]
    got, predicted = scores(truth, logits), logits.argmax(1)
    assert got["macro_f1"] == pytest.approx(f1_score(truth, predicted, average="macro"))
    present = {"labels": np.unique(truth), "zero_division": 0}
    assert got["macro_f1_present"] == pytest.approx(
        f1_score(truth, predicted, average="macro", **present)
    )
    assert got["weighted_f1"] == pytest.approx(f1_score(truth, predicted, average="weighted"))
    expected = top_k_accuracy_score(truth, logits, k=3, labels=list(range(classes)))
    assert got["top3"] == pytest.approx(expected)


def test_an_area_that_is_only_predicted_counts_as_zero() -> None:
    """CytoNet 7.4: "a missing label that is incorrectly predicted only once contributes a zero"."""
    truth = np.array([0, 0, 0, 1, 1, 1])
    logits = np.eye(4)[[0, 0, 2, 1, 1, 1]]  # one of the first class is predicted as the third
    got = scores(truth, logits)
    assert got["macro_f1"] == pytest.approx((0.8 + 1 + 0) / 3)
    assert got["macro_f1_present"] == pytest.approx((0.8 + 1) / 2)


def test_constant_logits_score_zero() -> None:
    assert scores(np.arange(5), np.zeros((5, 5)))["top3"] == 0


def probe_params(standardise: bool, epochs: int) -> AreasTask:
    return AreasTask(
        dataset="areas",
        standardise=standardise,
        epochs=epochs,
        batch_size=32,
        optimiser=OPTIMISER,
        cache_mb=1,
        seeds=[1],
    )


def fitted(values: np.ndarray, labels: np.ndarray, seed: int = 1, epochs: int = 30) -> Probe:
    return fit_probe([values.astype(np.float32)], labels, 4, seed, probe_params(True, epochs))


def test_a_probe_separates_separable_classes() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 400)
    # of very different scales and far from zero: without a bias, the probe must standardise them
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


def test_a_probe_depends_only_on_its_seed() -> None:
    random = np.random.default_rng(0)
    values, labels = random.normal(size=(64, 8)), random.integers(0, 4, 64)
    one, same, other = (fitted(values, labels, seed, 1).weights for seed in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_the_epochs_of_a_probe_take_the_views_in_turn() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 64)
    first, second = random.normal(size=(2, 64, 8)).astype(np.float32)
    params = probe_params(standardise=False, epochs=2)

    def weights(*views: np.ndarray) -> np.ndarray:
        return fit_probe(views, labels, 4, 1, params).weights

    assert np.array_equal(weights(first), weights(first, first))
    assert not np.array_equal(weights(first, second), weights(first))
    assert np.array_equal(weights(first, second), weights(first, second, first))  # two epochs
    scaled = fit_probe([first, second + 3], labels, 4, 1, probe_params(True, 1))
    every = np.concatenate([first, second + 3])
    np.testing.assert_allclose(scaled.mean, every.mean(0), atol=1e-6)
    np.testing.assert_allclose(scaled.scale, every.std(0), rtol=1e-5)
