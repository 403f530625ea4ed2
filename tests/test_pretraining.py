import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import ranks
import torch
import yaml
from striped_study import params, train, write_study
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from cytopipe.files import InputError
from cytopipe.formats import tables
from cytopipe.learning import augmentation, checkpoints, networks, optimisers
from cytopipe.learning.distributed import World
from cytopipe.learning.loading import Batch
from cytopipe.learning.step import step
from cytopipe.pretraining.dataset import build_objective
from cytopipe.study.config import Optimiser


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study"))


def test_training_lowers_the_loss(study: Path, tmp_path: Path) -> None:
    optimiser = {**vars(params().optimiser), "name": "adamw", "learning_rate": 0.03}
    train(study, tmp_path, params(epochs=12, batch_size=18, optimiser=optimiser))
    metrics = tables.read(tables.MetricRow, tmp_path / "metrics.parquet")
    assert metrics.epoch.tolist() == list(range(12)) and metrics.step.tolist()[-1] == 24
    assert metrics.loss.iloc[-3:].mean() < metrics.loss.iloc[0] - 0.3
    assert not (tmp_path / "checkpoint.pt").exists()


@pytest.mark.parametrize("loss", ["simclr", "supcon", "supervised", "distance"])
def test_every_loss_decreases(study: Path, tmp_path: Path, loss: str) -> None:
    optimiser = {**vars(params().optimiser), "name": "adamw", "learning_rate": 0.03}
    settings = params(loss=loss, epochs=10, batch_size=15, optimiser=optimiser, projection=24)
    dataset = "areas" if loss.startswith("sup") else "patches"
    train(study, tmp_path, settings, dataset)
    metrics = tables.read(tables.MetricRow, tmp_path / "metrics.parquet")
    assert metrics.loss.iloc[-2:].mean() < 0.9 * metrics.loss.iloc[0]
    content = checkpoints.load(tmp_path / "final.pt")
    assert content["classes"] == (["A", "B", "C"] if loss.startswith("sup") else [])
    heads = {"supervised": ("classifier", 3), "distance": ("distance", 35)}
    assert (content["plan"]["head"], content["plan"]["outputs"]) == heads.get(
        loss, ("projection", 24)
    )
    record = yaml.safe_load((tmp_path / "params.yaml").read_text())
    assert record["patches"] == (30 if dataset == "areas" else 36)  # without the test set
    assert checkpoints.load_encoder(tmp_path / "final.pt")[0].plan.outputs > 0


def test_losses_by_area_refuse_a_pretraining_data_set(study: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="patches: supcon needs training patches with areas"):
        train(study, tmp_path, params(loss="supcon"))


def test_the_same_seed_gives_the_same_bytes(study: Path, tmp_path: Path) -> None:
    files = [train(study, tmp_path / name, params(epochs=1)) / "final.pt" for name in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()
    other = train(study, tmp_path / "c", params(epochs=1, seed=2)) / "final.pt"
    assert files[0].read_bytes() != other.read_bytes()


@pytest.mark.parametrize("name", ["lars", "adamw"])
def test_an_interrupted_run_ends_with_the_same_bits(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    settings = params(optimiser={**vars(params().optimiser), "name": name, "schedule": "cosine"})
    whole = train(study, tmp_path / "whole", settings)

    steps = 0
    apply = augmentation.apply

    def killed(*arguments: Any) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps in (2, 7):  # in the middle of the first and of the second epoch, of 4 steps each
            os.kill(os.getpid(), signal.SIGUSR1 if steps == 2 else signal.SIGTERM)
        return apply(*arguments)

    monkeypatch.setattr(augmentation, "apply", killed)
    for _ in range(2):
        with pytest.raises(SystemExit) as exited:
            train(study, tmp_path / "parts", settings)
        assert exited.value.code == 85
        assert (tmp_path / "parts" / "checkpoint.pt").exists()
        assert not (tmp_path / "parts" / "final.pt").exists()
    parts = train(study, tmp_path / "parts", settings)
    assert steps == 12  # none was repeated
    assert (parts / "final.pt").read_bytes() == (whole / "final.pt").read_bytes()
    metrics = [tables.read(tables.MetricRow, f / "metrics.parquet") for f in (whole, parts)]
    pd.testing.assert_frame_equal(*metrics)


def test_a_checkpoint_of_other_params_is_not_resumed(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: Any) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGTERM)
        return apply(*arguments)

    apply = augmentation.apply
    with monkeypatch.context() as patch:
        patch.setattr(augmentation, "apply", killed)
        with pytest.raises(SystemExit):
            train(study, tmp_path / "a", params(seed=5))
    resumed = train(study, tmp_path / "a", params()) / "final.pt"
    fresh = train(study, tmp_path / "b", params()) / "final.pt"
    assert resumed.read_bytes() == fresh.read_bytes()


def test_zero_epochs_keep_the_random_weights(study: Path, tmp_path: Path) -> None:
    train(study, tmp_path, params(epochs=0, seed=4))
    encoder, settings = checkpoints.load_encoder(tmp_path / "final.pt")
    assert settings == params(epochs=0, seed=4).model_dump()
    expected = networks.build(networks.Plan("small", 16, "projection", 256), seed=4).state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in encoder.state_dict().items())
    assert len(tables.read(tables.MetricRow, tmp_path / "metrics.parquet")) == 0
    assert yaml.safe_load((tmp_path / "params.yaml").read_text())["patches"] == 36


def test_fewer_patches_than_a_batch_are_refused(study: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="36 patches are fewer than a batch of 64"):
        train(study, tmp_path, params(batch_size=64))


def test_bfloat16_trains_too(study: Path, tmp_path: Path) -> None:
    train(study, tmp_path, params(epochs=1, precision="bfloat16"))
    assert np.isfinite(tables.read(tables.MetricRow, tmp_path / "metrics.parquet").loss).all()


def test_checkpointing_changes_no_bits(study: Path, tmp_path: Path) -> None:
    """Batch norm is updated once per batch, although activations are computed twice."""
    settings = {"architecture": "small_vit", "patch_px": 32, "epochs": 1}
    weights = []
    for on in (False, True):
        folder = train(study, tmp_path / str(on), params(checkpointing=on, **settings))
        weights.append(checkpoints.load(folder / "final.pt")["weights"])
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    updates = [int(v) for k, v in weights[1].items() if k.endswith("num_batches_tracked")]
    assert updates and set(updates) == {4}  # steps in an epoch of 36 patches


@pytest.mark.parametrize("optimiser", ["lars", "adamw"])
@pytest.mark.parametrize("loss", ranks.LOSSES)
def test_no_step_waits_for_the_device(loss: str, optimiser: str) -> None:
    """Fake tensors have no values: reading one, which would wait for a GPU, raises an error."""
    settings = params(loss=loss, precision="bfloat16", distance="same_hemisphere")
    changed = {**vars(settings.optimiser), "name": optimiser}
    world = World(0, 1, torch.device("cpu"))
    with FakeTensorMode(allow_non_fake_inputs=True):
        objective = build_objective(ranks.patches(), settings, None, world.device)
        encoder = networks.build(
            networks.Plan("small", 16, objective.head, objective.outputs), seed=0
        )
        built = optimisers.build(encoder, Optimiser(**changed), settings.batch_size)
        windows = torch.zeros(8, 1, 24, 24, dtype=torch.uint8)
        batch = Batch(windows, torch.zeros(8, objective.views, 9), torch.arange(8))
        mean_loss = step(encoder, built, objective, batch, world, settings)
        with pytest.raises(DataDependentOutputException):
            float(mean_loss)


def test_a_damaged_checkpoint_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"not a readable .* delete it and run again"):
        checkpoints.load(tmp_path / "checkpoint.pt")
