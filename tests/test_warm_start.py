"""A run that continues from the trained network of another run."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from striped_study import params, train, write_study
from test_config import changed

from cytopipe.files import InputError
from cytopipe.formats import tables
from cytopipe.learning import augmentation, checkpoints
from cytopipe.study import config as study_config

ADAMW = {**vars(params().optimiser), "name": "adamw", "learning_rate": 0.03}
# too slow to move a weight that is not 0 by a thousandth of it
STILL = {**ADAMW, "learning_rate": 1e-9, "weight_decay": 0.0}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def trained(study: Path) -> Path:
    """The network that a longer training ends with, and its metrics."""
    settings = params(epochs=12, batch_size=18, optimiser=ADAMW)
    return train(study, study / "trained", settings) / "final.pt"


def weights(path: Path) -> dict[str, torch.Tensor]:
    content: dict[str, torch.Tensor] = checkpoints.load(path)["weights"]
    return content


def parameters_equal(one: Path, other: Path, part: str) -> bool:
    """Whether all weights of a part are equal, apart from the statistics of batch norm."""
    pairs = [
        (value, weights(other)[name])
        for name, value in weights(one).items()
        if name.startswith(part) and "running" not in name and "batches" not in name
    ]
    assert pairs
    return all(
        value.shape == start.shape and torch.allclose(value, start, atol=1e-6)
        for value, start in pairs
    )


def test_a_run_continues_where_the_other_ended(study: Path, trained: Path, tmp_path: Path) -> None:
    settings = params(epochs=1, batch_size=18, optimiser=ADAMW, seed=2)
    cold = train(study, tmp_path / "cold", settings)
    started = settings.model_copy(update={"start": "trained"})
    warm = train(study, tmp_path / "warm", started, start=trained)
    before, first, without = (
        tables.read(tables.MetricRow, path / "metrics.parquet").loss
        for path in (trained.parent, warm, cold)
    )
    assert first[0] < (before.iloc[-1] + without[0]) / 2
    assert checkpoints.load(warm / "final.pt")["params"]["start"] == "trained"


def test_the_head_starts_at_random_if_it_is_another(
    study: Path, trained: Path, tmp_path: Path
) -> None:
    same = {"start": "trained", "epochs": 1, "optimiser": STILL, "seed": 2}
    simclr = train(study, tmp_path / "a", params(loss="simclr", **same), start=trained)
    assert parameters_equal(simclr / "final.pt", trained, "backbone")
    assert parameters_equal(simclr / "final.pt", trained, "head")
    areas = train(study, tmp_path / "b", params(loss="supervised", **same), "areas", trained)
    assert parameters_equal(areas / "final.pt", trained, "backbone")
    # the same kind of head with other classes
    other = tables.read(tables.PatchRow, study / "areas.parquet")
    names = {"A": "X", "B": "Y", "C": "Z"}
    tables.write(tables.PatchRow, other.assign(area=other.area.map(names)), study / "other.parquet")
    reseeded = params(loss="supervised", **{**same, "seed": 3})
    again = train(study, tmp_path / "c", reseeded, "other", areas / "final.pt")
    assert not parameters_equal(again / "final.pt", areas / "final.pt", "head")
    # and with the same ones
    more = train(study, tmp_path / "d", reseeded, "areas", areas / "final.pt")
    assert parameters_equal(more / "final.pt", areas / "final.pt", "head")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "small_vit", "patch_px": 32}, "is small for patches of 16 px of 10 um"),
        (
            {"spacing_um": 20.0},
            "but the run is small for patches of 16 px of 20 um; correct",
        ),
        ({"start": None}, "give both or neither"),
    ],
)
def test_another_network_is_refused(
    study: Path, trained: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    settings = params(**{"start": "trained", **changes})
    with pytest.raises(InputError, match=message):
        train(study, tmp_path, settings, start=trained)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_another_start_is_not_resumed(
    study: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = augmentation.apply

    def killed(*arguments: Any) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGTERM)
        return apply(*arguments)

    settings = params(start="trained", epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr(augmentation, "apply", killed)
        with pytest.raises(SystemExit):
            train(study, tmp_path / "a", settings, start=trained)
    other = train(study, tmp_path / "other", params(epochs=0, seed=7)) / "final.pt"
    resumed, fresh = (
        train(study, tmp_path / name, settings, start=other) / "final.pt" for name in "ab"
    )
    assert resumed.read_bytes() == fresh.read_bytes()


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ({"a": {"start": "b"}}, "pretraining.runs.a.start is b, which is not a run; give one of"),
        ({"a": {"start": "b"}, "b": {"start": "a"}}, "b.start is a, so the run continues from it"),
        ({"a": {"start": "a"}}, "a.start is a, so the run continues from itself"),
        (
            {"a": {"start": "b", "architecture": "r50_vit"}, "b": {}},
            "a.start is b, whose architecture is r50 and not r50_vit; give both the same",
        ),
        ({"a": {"start": "b"}, "b": {"spacing_um": 4}}, "whose spacing_um is 4 and not 2"),
        ({"a": {"start": "b", "epochs": 0}, "b": {}}, "but its epochs are 0; give at least 1"),
    ],
)
def test_a_start_that_leads_nowhere_is_an_error_of_the_config(
    runs: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        study_config.check(changed("pretraining.runs", runs))


def test_a_start_is_a_run_of_the_same_network() -> None:
    """Also of another loss and data set, and along a chain."""
    runs = {"a": {}, "b": {"start": "a", "epochs": 10}, "c": {"start": "b", "loss": "simclr"}}
    study_config.check(changed("pretraining.runs", runs))
