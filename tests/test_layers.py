from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import f1_score

from cytopipe import evaluation
from cytopipe.evaluation.layer_figures import COLOURS
from cytopipe.evaluation.layer_patches import (
    IGNORED,
    averaged,
    cell_labels,
    fit_to_square,
    in_fraction,
)
from cytopipe.evaluation.tasks.layers import LayerNetwork, f1_of, finetune, probe
from cytopipe.files import InputError
from cytopipe.formats import tables
from cytopipe.learning import checkpoints, networks
from cytopipe.study import annotations
from cytopipe.study.config import LayersTask

PARAMS = LayersTask(
    spacing_um=64,
    patch_px=32,
    fractions=[0.1, 0.5, 1.0],
    probe_steps=60,
    finetune_steps=6,
    batch_size=8,
    optimiser={
        "name": "adamw",
        "learning_rate": 0.02,
        "schedule": "constant",
        "momentum": 0.9,
        "weight_decay": 0.01,
        "trust": 0.02,
        "lars_exclude": "bias",
    },
    precision="float32",
    examples=2,
    seed=1,
)


def test_averaging_is_over_areas() -> None:
    image = np.random.default_rng(0).random((8, 12)).astype(np.float32)
    expected = image.reshape(4, 2, 6, 2).mean((1, 3))
    assert np.allclose(averaged(image, 2.0), expected)
    assert averaged(image, 1.0) is image
    # 1.5 pixels become one: half of the middle pixel belongs to each side
    row = np.tile(np.array([[3.0, 6, 9]], np.float32), (3, 1))
    assert np.allclose(averaged(row, 1.5)[0], [(3 + 6 / 2) / 1.5, (6 / 2 + 9) / 1.5], atol=1e-4)


def test_a_square_is_mirrored_on_all_sides_of_a_centred_image() -> None:
    image = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.uint8)
    assert fit_to_square(image, 1.0, 6).tolist() == [
        [5, 5, 6, 7, 8, 8],
        [1, 1, 2, 3, 4, 4],
        [1, 1, 2, 3, 4, 4],
        [5, 5, 6, 7, 8, 8],
        [5, 5, 6, 7, 8, 8],
        [1, 1, 2, 3, 4, 4],
    ]


def test_cells_take_the_class_that_covers_most_of_them() -> None:
    random = np.random.default_rng(0)
    mask = random.integers(0, 7, (32, 32)).astype(np.uint8)
    mask[:8, :8] = 3  # a cell of a single class
    got = cell_labels(mask, 2.0, 16, 4, 4)
    for row in range(4):
        for column in range(4):
            cell = mask[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8]
            assert got[row, column] == np.bincount(cell.ravel()).argmax()
    assert got[0, 0] == 3


def test_cells_beyond_the_image_are_ignored() -> None:
    # 6 x 16 pixels in the middle of 16 rows: rows 5 to 10, cells of 4 rows
    got = cell_labels(np.full((6, 16), 2, np.uint8), 1.0, 16, 4, 4)
    assert got.tolist() == [[IGNORED] * 4, [2] * 4, [2] * 4, [IGNORED] * 4]
    # exactly half inside counts as inside
    assert cell_labels(np.full((8, 8), 1, np.uint8), 1.0, 12, 3, 3).tolist() == [
        [IGNORED, 1, IGNORED],
        [1, 1, 1],
        [IGNORED, 1, IGNORED],
    ]


@pytest.mark.parametrize("count", [100, 732, 735])
def test_a_fraction_is_its_first_ranks(count: int) -> None:
    ranks = np.array([-1, *range(count), -1])
    for percent in (1, 5, 10, 20, 29, 100):
        assert in_fraction(ranks, percent / 100).sum() == percent * count // 100
    assert (ranks[in_fraction(ranks, 0.05)] == np.arange(5 * count // 100)).all()


def test_f1_is_sklearns_and_without_padding() -> None:
    random = np.random.default_rng(0)
    truth, predicted = random.integers(0, 5, (2, 5, 8, 8))
    truth[:, 0], predicted[0, 3] = IGNORED, 5  # class 5 is predicted, but does not occur
    predicted[:, 0] = 6  # class 6 is predicted on padding only
    inside = truth != IGNORED
    expected = f1_score(truth[inside], predicted[inside], labels=range(6), average=None)
    assert np.allclose(f1_of(truth, predicted)[:6], expected) and expected[5] == 0
    assert np.isnan(f1_of(truth, predicted)[6])


def network() -> LayerNetwork:
    encoder = networks.build(networks.Plan("small", 32, "projection", 8), seed=3)
    return LayerNetwork(encoder.backbone, torch.nn.Identity()).eval()


def state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def test_probing_does_not_change_the_backbone_and_finetuning_trains_a_copy() -> None:
    frozen = network()
    before = state(frozen.backbone)
    images = torch.randint(0, 255, (6, 32, 32), dtype=torch.uint8)
    labels = torch.randint(0, 7, (6, 4, 4))
    with torch.no_grad():
        maps = frozen.feature_map(images)
    head = probe(frozen, maps, labels, 1, PARAMS)
    tuned = finetune(frozen, images, labels, 1, PARAMS)
    after = frozen.backbone.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [name for name, _ in head.named_parameters()] == ["weight"]  # no bias
    assert isinstance(tuned, LayerNetwork)
    changed = tuned.backbone.state_dict()
    assert not torch.equal(changed["stages.1.weight"], before["stages.1.weight"])
    assert changed["stages.2.num_batches_tracked"] == PARAMS.finetune_steps


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Patches of two gray values, whose classes are 0 and 4; some are smaller than the square."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(20):
        height, width = (64, 64) if number % 3 else (48, 40)
        mask = np.zeros((height, width), np.uint8)
        mask[:, : int(random.integers(8, width - 8))] = 4
        stripes = np.where(np.arange(width) % 8 < 4, 120, 250)  # class 4 is striped, class 0 plain
        image = np.where(mask == 4, stripes, 240) + random.integers(-5, 5, mask.shape)
        annotations.write_gray(image.astype(np.uint8), tmp_path / f"{number}.tif")
        annotations.write_gray(mask, tmp_path / f"{number}_layers.tif")
        rank = number - 5 if number >= 5 else -1
        rows.append(
            {
                "patch_id": f"p{number}",
                "brain": "B01",
                "image": str(tmp_path / f"{number}.tif"),
                "mask": str(tmp_path / f"{number}_layers.tif"),
                "cells": "",
                "spacing_um": 32.0,
                "width_px": width,
                "height_px": height,
                "split": "train" if number >= 5 else "test",
                "rank": rank,
            }
        )
    tables.write(tables.LayerPatchRow, pd.DataFrame(rows), tmp_path / "layers.parquet")
    encoder = networks.build(networks.Plan("small", 32, "projection", 8), seed=3)
    content = {"params": {}, "plan": vars(encoder.plan), "weights": encoder.state_dict()}
    checkpoints.save({**content, "version": 1, "classes": []}, tmp_path / "final.pt")
    return tmp_path


def run(folder: Path, **changed: Any) -> pd.DataFrame:
    values = vars(PARAMS) | changed
    evaluation.run_layers(
        patches=folder / "layers.parquet",
        weights=folder / "final.pt",
        scores=folder / "scores.parquet",
        html=folder / "layers.html",
        run="x",
        threads=1,
        params=LayersTask(**values),
    )
    return tables.read(tables.ScoreRow, folder / "scores.parquet")


def test_layers_of_different_texture_are_segmented(study: Path) -> None:
    table = run(study)
    macro = table[table.metric == "macro_f1"]
    # 10 % is one patch, fewer than the folds
    names = {f"{mode} {share}%" for mode in ("probe", "finetune") for share in (50, 100)}
    assert set(macro.split) == names and len(macro) == 4 * 5
    # predicting background everywhere would give 0.4
    assert macro.value[macro.split == "probe 100%"].min() > 0.7
    assert macro.value[macro.split == "finetune 100%"].min() > 0.7
    by_class = table[table.metric != "macro_f1"]
    assert set(by_class.metric) == {"f1_background", "f1_layer_4"}
    assert set(by_class.split) == {"probe 100%", "finetune 100%"}
    page = (study / "layers.html").read_text()
    assert "Test patches" in page and "F1 by layer" in page


def test_the_same_seed_gives_the_same_scores(study: Path) -> None:
    one, other = (run(study, fractions=[1.0], finetune_steps=2) for _ in range(2))
    pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"spacing_um": 16}, "has pixels of 32 um, 16 um are needed"),
        ({"patch_px": 24}, "32 px of 64 um do not fit into a square of 24"),
        ({"patch_px": 36}, "5 x 5 does not divide patches of 36"),
        ({"fractions": [0.2]}, "no fraction has 5 training patches"),
    ],
)
def test_patches_that_do_not_fit_are_an_error(study: Path, changed: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(study, **changed)


def test_colours_differ() -> None:
    assert len(np.unique(COLOURS, axis=0)) == 8
