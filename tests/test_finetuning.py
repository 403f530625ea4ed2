from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from test_evaluation import OPTIMISER
from two_areas import save, write_study

from cytopipe import evaluation
from cytopipe.evaluation.labelled_patches import select_patches
from cytopipe.evaluation.tasks import finetuning
from cytopipe.files import InputError
from cytopipe.formats import tables
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


def run(folder: Path, **changed: Any) -> pd.DataFrame:
    evaluation.run_finetuning(
        patches=folder / "patches.parquet",
        weights=folder / "final.pt",
        atlas=[],
        scores=folder / "scores.parquet",
        html=folder / "finetuning.html",
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
        network, trained = finetuning.classifier_of(
            study / "final.pt", 2, projected=False, seed=seed
        )
        start = network.backbone.state_dict()
        assert trained["epochs"] == 5 and all(torch.equal(saved[k], start[k]) for k in saved)
    save(study, epochs=0)
    same, _ = finetuning.classifier_of(study / "final.pt", 2, projected=False, seed=3)
    other, _ = finetuning.classifier_of(study / "final.pt", 2, projected=False, seed=4)
    name = "stages.1.weight"
    assert torch.equal(same.backbone.state_dict()[name], saved[name])
    assert not torch.equal(other.backbone.state_dict()[name], saved[name])


def test_pretrained_and_untrained_runs_have_their_own_number_of_epochs(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs = []
    monkeypatch.setattr(finetuning, "train", lambda *arguments: epochs.append(arguments[4]))
    run(study)
    save(study, epochs=5)
    run(study)
    assert epochs == [PARAMS.epochs_scratch, PARAMS.epochs]


def test_training_updates_batch_norm_and_scoring_does_not(study: Path) -> None:
    table = tables.read(tables.PatchRow, study / "patches.parquet")
    data = select_patches(table, None, None, "areas")
    network, trained = finetuning.classifier_of(study / "final.pt", 2, projected=False, seed=1)
    rows = {split: table.iloc[members] for split, members in data.splits.items()}
    patches = finetuning.patches_of(rows["train"], trained, PARAMS, seed=1)
    finetuning.train(network, patches, data.labels[data.splits["train"]], trained, 2, 1, PARAMS)
    trained_on = {k: v.clone() for k, v in network.state_dict().items()}
    assert trained_on["backbone.stages.2.num_batches_tracked"] == 2 * (64 // 16)
    seen = finetuning.patches_of(rows["seen"], trained, PARAMS, seed=None)
    logits = finetuning.logits_of(network, seen, 16, PARAMS)
    assert all(torch.equal(v, network.state_dict()[k]) for k, v in trained_on.items())
    # in the order of the split, without augmentation
    window = seen[0, 17].windows
    with torch.inference_mode():
        single = network(window[None].float() / 255)
    assert np.allclose(logits[17], single[0].numpy(), atol=1e-5) and len(logits) == 30


def test_a_loss_that_is_not_finite_is_an_error(study: Path) -> None:
    with pytest.raises(InputError, match=r"the loss is \S+ in epoch \d of seed 1; lower"):
        run(study, optimiser=OPTIMISER | {"learning_rate": 1e30})
