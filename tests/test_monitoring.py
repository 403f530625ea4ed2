"""What is watched while a network trains, compared with cases whose answer is known."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from striped_study import params, train, write_study

from cytopipe.files import InputError
from cytopipe.formats import tables
from cytopipe.learning import augmentation, checkpoints, monitoring, networks
from cytopipe.learning.monitoring import effective_rank, knn_accuracy


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study"))


def spread(shares: list[float], count: int = 40, width: int = 30) -> torch.Tensor:
    """Features whose singular values have these shares, far from the origin."""
    random = torch.Generator().manual_seed(0)
    left = torch.randn(count, len(shares), generator=random, dtype=torch.float64)
    left = torch.linalg.qr(left - left.mean(0)).Q
    right = torch.linalg.qr(torch.randn(width, len(shares), generator=random).double()).Q
    return left @ torch.diag(torch.tensor(shares).double()) @ right.T + 5.0


@pytest.mark.parametrize("size", [(40, 30), (20, 30)])
def test_the_effective_rank_is_that_of_known_singular_values(size: tuple[int, int]) -> None:
    assert effective_rank(spread([1.0] * 7, *size)) == pytest.approx(7, rel=1e-3)
    assert effective_rank(spread([1.0], *size)) == pytest.approx(1, rel=1e-3)
    shares = [0.5, 0.25, 0.25]
    entropy = -sum(share * math.log(share) for share in shares)
    assert effective_rank(spread(shares, *size)) == pytest.approx(math.exp(entropy), rel=1e-3)


def test_equal_features_have_rank_zero() -> None:
    assert effective_rank(torch.full((10, 6), 0.3)) == 0


def test_neighbours_in_other_sections_tell_the_area() -> None:
    random = np.random.default_rng(0)
    areas = np.array(["A", "B", "C"])[random.integers(0, 3, 90)]
    sections = random.integers(0, 5, 90)
    by_area = torch.from_numpy(np.eye(3)[np.unique(areas, return_inverse=True)[1]])
    noise = torch.from_numpy(random.normal(0, 0.05, (90, 3)))
    assert knn_accuracy(by_area + noise, areas, sections) == 1
    assert 0.1 < knn_accuracy(noise, areas, sections) < 0.6  # a third by chance
    # patches without an area are neither neighbours nor counted
    some = np.where(random.random(90) < 0.3, "", areas)
    assert knn_accuracy(by_area + noise, some, sections) == 1


def test_neighbours_in_the_same_section_do_not_count() -> None:
    sections = np.arange(40) % 4
    areas = np.where(sections < 2, "A", "B")
    # a section is most like itself, and then like one of the other area
    features = torch.from_numpy(np.eye(4)[sections] + 0.5 * np.eye(4)[(sections + 2) % 4])
    assert knn_accuracy(features, areas, sections) == 0


def test_without_areas_or_sections_to_compare_there_is_no_accuracy() -> None:
    features, sections = torch.rand(8, 4), np.arange(8) % 2
    assert math.isnan(knn_accuracy(features, np.full(8, ""), sections))
    assert math.isnan(knn_accuracy(features, np.full(8, "A"), sections))
    assert math.isnan(knn_accuracy(features, np.array(list("AABBAABB")), np.zeros(8, int)))


def test_metrics_of_a_single_step(study: Path, tmp_path: Path) -> None:
    """The first step of SGD moves the weights by rate x (1 + momentum) x gradient."""
    sgd = {"name": "sgd", "learning_rate": 0.001, "momentum": 0.5, "weight_decay": 0.0}
    settings = params(epochs=1, batch_size=32, optimiser={**vars(params().optimiser), **sgd})
    train(study, tmp_path, settings)
    start = networks.build(networks.Plan("small", 16, "projection", 256), settings.seed)
    trained = checkpoints.load(tmp_path / "final.pt")["weights"]
    squares = [
        float(((trained[name] - weight.detach()) ** 2).sum())
        for name, weight in start.named_parameters()
    ]
    rate = 0.001 * 32 / 256
    metrics = tables.read(tables.MetricRow, tmp_path / "metrics.parquet").iloc[0]
    assert metrics.learning_rate == pytest.approx(rate)
    expected = math.sqrt(sum(squares)) / rate / 1.5
    assert metrics.gradient_norm == pytest.approx(expected, rel=1e-3)
    assert math.isnan(metrics.knn_accuracy)  # the data set has no areas
    assert 1 < metrics.effective_rank < 36


def test_the_probe_does_not_change_the_training(study: Path, tmp_path: Path) -> None:
    weights = []
    for count in (0, 20):
        folder = train(study, tmp_path / str(count), params(probe_patches=count), "areas")
        weights.append(checkpoints.load(folder / "final.pt")["weights"])
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    without, probed = (
        tables.read(tables.MetricRow, tmp_path / name / "metrics.parquet") for name in ("0", "20")
    )
    assert without.effective_rank.isna().all() and (probed.effective_rank > 1).all()


def test_a_loss_that_is_not_finite_stops_the_training_within_the_epoch(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, apply = 0, augmentation.apply

    def counted(*arguments: Any) -> torch.Tensor:
        nonlocal steps
        steps += 1
        return apply(*arguments)

    monkeypatch.setattr(augmentation, "apply", counted)
    monkeypatch.setattr(monitoring, "CHECK_EVERY", 2)
    optimiser = {**vars(params().optimiser), "name": "sgd", "learning_rate": 1e30}
    message = r"pretraining\.common: the loss is \S+ in epoch 0; lower pretraining\.common\.optim"
    with pytest.raises(InputError, match=message):
        train(study, tmp_path, params(batch_size=2, epochs=1, optimiser=optimiser))
    assert steps <= 8  # of 18
