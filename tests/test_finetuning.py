import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from test_distributed import processes
from test_evaluation import OPTIMISER
from two_areas import TRAINED, save, write_study

from cytopipe import evaluation, rule_job
from cytopipe.cluster import launching
from cytopipe.evaluation.tasks import finetuning
from cytopipe.files import InputError
from cytopipe.formats import tables
from cytopipe.learning import augmentation, checkpoints, networks, training
from cytopipe.learning.loading import open_section
from cytopipe.study.config import FinetuningTask

PARAMS = FinetuningTask(
    dataset="areas",
    epochs=1,
    epochs_scratch=3,
    batch_size=16,
    optimiser=OPTIMISER | {"learning_rate": 1.0},
    precision="float32",
    projected=False,
    workers=0,
    cache_mb=10,
    seeds=[1],
)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_study(tmp_path)


def run(study: Path, folder: Path | None = None, **changed: Any) -> pd.DataFrame:
    """The scores, in `folder` or with the study."""
    folder = folder or study
    evaluation.run_finetuning(
        patches=study / "patches.parquet",
        weights=study / "final.pt",
        atlas=[],
        scores=folder / "scores.parquet",
        html=folder / "finetuning.html",
        network=folder / "network.pt",
        run="x",
        threads=1,
        params=FinetuningTask(**vars(PARAMS) | changed),
    )
    return tables.read(tables.ScoreRow, folder / "scores.parquet")


def test_an_encoder_learns_areas_from_scratch(study: Path) -> None:
    table = run(study)
    assert set(table.task) == {"finetuning"} and set(table.split) == {"seen", "transfer"}
    assert table.value[table.metric == "macro_f1"].min() > 0.9
    assert "Confusion, transfer" in (study / "finetuning.html").read_text()


def test_the_projected_variant_and_bfloat16(study: Path) -> None:
    table = run(study, projected=True, precision="bfloat16")
    means = table[table.metric == "top1"].groupby("task").value.mean()
    assert set(means.index) == {"finetuning", "finetuning_projected"} and means.min() > 0.9
    # not on the outputs of a run that was a classifier itself
    save(study, head="classifier")
    assert set(run(study, projected=True, epochs_scratch=1).task) == {"finetuning"}


def test_the_same_seed_gives_the_same_scores(study: Path) -> None:
    few = {"epochs_scratch": 1, "seeds": [1, 2]}
    one, other, third = run(study, **few), run(study, **few), run(study, seeds=[1])
    pd.testing.assert_frame_equal(one, other)
    assert set(one.fold) == {1, 2} and len(third) * 2 == len(one)


def test_training_starts_from_pretrained_weights_or_draws_untrained_ones_anew(study: Path) -> None:
    saved = save(study, epochs=5).backbone.state_dict()
    for seed in (3, 4):
        network = finetuning.classifier_of(study / "final.pt", 2, projected=False, seed=seed)
        start = network.backbone.state_dict()
        assert all(torch.equal(saved[k], start[k]) for k in saved)
    save(study, epochs=0)
    same, other = (
        finetuning.classifier_of(study / "final.pt", 2, projected=False, seed=seed).backbone
        for seed in (3, 4)
    )
    name = "stages.1.weight"
    assert torch.equal(same.state_dict()[name], saved[name])
    assert not torch.equal(other.state_dict()[name], saved[name])


def test_what_the_task_does_not_set_is_as_in_the_run(study: Path) -> None:
    for epochs, expected in ((0, PARAMS.epochs_scratch), (5, PARAMS.epochs)):
        trained = TRAINED | {"epochs": epochs, "checkpointing": True, "compile": True}
        made = finetuning.training_params(trained, 10, PARAMS, Path("final.pt"))
        assert made.checkpointing and made.compile and made.margin == trained["margin"]
        assert made.epochs == expected and made.batch_size == 10 and made.precision == "float32"
        assert made.optimiser == PARAMS.optimiser
    with pytest.raises(InputError, match=r"final\.pt: .*margin is missing"):
        lacking = {key: value for key, value in TRAINED.items() if key != "margin"}
        finetuning.training_params(lacking, 10, PARAMS, Path("final.pt"))


def test_the_network_is_saved_and_predicts_as_it_was_scored(study: Path) -> None:
    """A loaded network, on patches cut by hand, is as often right as the scores say."""
    scores = run(study)
    encoder, params = checkpoints.load_encoder(study / "network.pt")
    assert params["loss"] == "supervised" and encoder.plan.head == "classifier"
    assert checkpoints.load(study / "network.pt")["classes"] == ["P", "Q"]
    table = tables.read(tables.PatchRow, study / "patches.parquet")
    table = table[table.split == "seen"].reset_index(drop=True)
    with open_section("x", table.image[0], 10.0, 10.0, 10**6) as reader:
        windows = [reader.window(x, y, 16) for x, y in zip(table.x_um, table.y_um, strict=True)]
    _, logits = encoder.embed(np.stack(windows))
    right = (np.array(["P", "Q"])[logits.argmax(1)] == table.area).mean()
    assert right == scores.value[(scores.split == "seen") & (scores.metric == "top1")].item()


def test_training_updates_batch_norm_and_scoring_does_not(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained_on = {}

    def train(encoder: networks.Encoder, *others: Any) -> None:
        training.train(encoder, *others)
        trained_on.update({k: v.clone() for k, v in encoder.state_dict().items()})

    monkeypatch.setattr(finetuning, "train", train)
    run(study, epochs_scratch=2)
    assert trained_on["backbone.stages.2.num_batches_tracked"] == 2 * (64 // 16)
    scored = checkpoints.load(study / "network.pt")["weights"]
    assert all(torch.equal(v, scored[k]) for k, v in trained_on.items())


def test_an_interrupted_run_ends_with_the_same_weights_and_scores(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the training of either variant and between trainings, while it is scored."""
    settings = {"projected": True, "seeds": [1, 2], "epochs_scratch": 2}
    whole = run(study, tmp_path / "whole", **settings)
    steps = scored = 0
    apply, crop = augmentation.apply, augmentation.centre_crop

    def killed_in_training(*arguments: Any) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps in (2, 15):  # of 8 in each of 4 trainings
            os.kill(os.getpid(), signal.SIGUSR1 if steps == 2 else signal.SIGTERM)
        return apply(*arguments)

    def killed_in_scoring(*arguments: Any) -> torch.Tensor:
        nonlocal scored
        scored += 1
        if scored == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return crop(*arguments)

    monkeypatch.setattr(augmentation, "apply", killed_in_training)
    monkeypatch.setattr(augmentation, "centre_crop", killed_in_scoring)
    for _ in range(3):
        with pytest.raises(SystemExit) as exited:
            run(study, tmp_path / "parts", **settings)
        assert exited.value.code == launching.INTERRUPTED
        assert not (tmp_path / "parts" / "scores.parquet").exists()
    parts = run(study, tmp_path / "parts", **settings)
    assert steps == 4 * 8  # none was repeated
    pd.testing.assert_frame_equal(parts, whole)
    files = [tmp_path / name / "network.pt" for name in ("parts", "whole")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert not list((tmp_path / "parts").glob("checkpoint*"))


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2])
def test_killed_processes_resume_to_the_same_weights(
    study: Path, tmp_path: Path, size: int
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert processes(size, "finetune", whole, study, 0) == [0] * size
    for kill_at in (6, 12):  # in either variant, of 12 steps each
        assert processes(size, "finetune", parts, study, kill_at) == [launching.INTERRUPTED] * size
        assert list(parts.glob("checkpoint*")) and not (parts / "scores.parquet").exists()
    assert processes(size, "finetune", parts, study, 0) == [0] * size
    assert (parts / "network.pt").read_bytes() == (whole / "network.pt").read_bytes()
    scores = [tables.read(tables.ScoreRow, f / "scores.parquet") for f in (whole, parts)]
    pd.testing.assert_frame_equal(*scores)
    assert not list(parts.glob("checkpoint*"))


@pytest.mark.slow
def test_the_rule_starts_processes_that_share_batches_and_scoring(
    study: Path, tmp_path: Path
) -> None:
    """Two processes learn what one learns, apart from the order of sums."""
    alone = run(study)
    rule_job.run(
        rule="evaluation_finetuning",
        files={
            "atlas": [],
            "patches": str(study / "patches.parquet"),
            "weights": str(study / "final.pt"),
            "scores": str(tmp_path / "scores.parquet"),
            "html": str(tmp_path / "figures.html"),
            "network": str(tmp_path / "network.pt"),
        },
        params={"params": PARAMS.model_dump(exclude_unset=True), "run": "x", "version": 1},
        wildcards={"run": "x", "task": "finetuning"},
        threads=2,
        resources={"nodes": 1, "tasks_per_node": 2, "mpi": ""},
        log=str(tmp_path / "log.txt"),
    )
    shared = tables.read(tables.ScoreRow, tmp_path / "scores.parquet")
    assert shared.value.tolist() == pytest.approx(alone.value.tolist(), abs=0.05)
    one, two = (checkpoints.load(folder / "network.pt")["weights"] for folder in (study, tmp_path))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0.01, atol=0.01)
    assert (tmp_path / "log.txt").read_text().count("epoch 1 of 3: loss") == 1


def test_a_loss_that_is_not_finite_is_an_error(study: Path) -> None:
    with pytest.raises(
        InputError,
        match=r"finetuning: the loss is \S+ in epoch \d; lower evaluation.finetuning.opt",
    ):
        run(study, optimiser=OPTIMISER | {"learning_rate": 1e30})
