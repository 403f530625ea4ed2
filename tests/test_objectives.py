from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from striped_study import params

from cytopipe.files import InputError
from cytopipe.learning import losses, objectives
from cytopipe.pretraining.dataset import build_objective, training_rows

CPU = torch.device("cpu")
COUNT = 12


def table(**columns: Any) -> pd.DataFrame:
    """Patches of two hemispheres and four areas."""
    random = np.random.default_rng(2)
    x_mm = random.uniform(5, 30, COUNT) * np.where(np.arange(COUNT) % 2, 1, -1)
    frame = pd.DataFrame(
        {
            "point_id": [f"p{n}" for n in range(COUNT)],
            "hemisphere": np.where(x_mm < 0, "L", "R"),
            "split": "train",
            "x_mm": x_mm,
            "y_mm": random.uniform(0, 30, COUNT),
            "z_mm": random.uniform(0, 30, COUNT),
            "area": [f"A{n % 4}" for n in range(COUNT)],
        }
    )
    return frame.assign(**columns)


def objective_of(
    frame: pd.DataFrame, loss: str, distance: str = "euclidean", geodesic: Path | None = None
) -> objectives.Objective:
    return build_objective(frame, params(loss=loss, distance=distance), geodesic, CPU)


def write_geodesic(path: Path, **changes: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes, whether they lie on the left, and their distances, as written."""
    random = np.random.default_rng(5)
    nodes = random.uniform([-30, 0, 0], [30, 30, 30], (40, 3)).astype(np.float32)
    apart = 1.5 * np.linalg.norm(nodes[:, None] - nodes, axis=-1)
    side = np.where(nodes[:, 0] < 0, "L", "R")
    apart[side[:, None] != side] = np.inf
    arrays = {"nodes_mm": nodes, "hemisphere": side, "distances_mm": apart.astype(np.float32)}
    np.savez(path, **{**arrays, **changes})
    return nodes, side == "L", apart.astype(np.float32)


ROWS = torch.tensor([7, 2, 9, 4, 0, 11])  # of the patches of a batch


def mean_loss(objective: objectives.Objective, outputs: torch.Tensor) -> float:
    """The mean loss of the batch ROWS in a single process."""
    rows = ROWS.repeat_interleave(objective.views)
    return float(objective(outputs, rows, torch.arange(len(rows))).mean())


@pytest.mark.parametrize("distance", ["euclidean", "same_hemisphere", "geodesic"])
def test_spatialnce_uses_the_distances_between_the_patches_of_the_batch(
    tmp_path: Path, distance: str
) -> None:
    nodes_mm, is_left, table_mm = write_geodesic(tmp_path / "table.npz")
    frame = table()
    objective = objective_of(frame, "spatialnce", distance, tmp_path / "table.npz")
    assert (objective.views, objective.head, objective.outputs) == (1, "projection", 256)
    p = frame[["x_mm", "y_mm", "z_mm"]].to_numpy()[ROWS]
    left = p[:, 0] < 0
    distances_mm = np.linalg.norm(p[:, None] - p, axis=-1)
    if distance == "same_hemisphere":
        distances_mm[left[:, None] != left] = np.inf
    if distance == "geodesic":
        away = np.linalg.norm(p[:, None] - nodes_mm, axis=-1)
        away[left[:, None] != is_left] = np.inf
        nodes = away.argmin(1)
        distances_mm = table_mm[nodes[:, None], nodes].astype(float)
    z = torch.randn(6, 256, generator=torch.Generator().manual_seed(1))
    expected = losses.spatialnce(
        z, torch.tensor(distances_mm), temperature=0.07, sigma_mm=10
    ).mean()
    assert mean_loss(objective, z) == pytest.approx(float(expected), rel=1e-5)


def test_simclr_pairs_the_two_views_of_a_patch() -> None:
    objective = objective_of(table(), "simclr")
    assert objective.views == 2 and objective.classes == ()
    z = torch.randn(12, 256, generator=torch.Generator().manual_seed(1))
    unit = torch.nn.functional.normalize(z.double(), dim=1)
    similarity = (unit @ unit.T / 0.07).fill_diagonal_(-np.inf)
    other = torch.tensor([1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10])
    expected = torch.nn.functional.cross_entropy(similarity, other)
    assert mean_loss(objective, z) == pytest.approx(float(expected), rel=1e-5)


def test_labels_are_areas_in_alphabetical_order() -> None:
    frame = table(area=["B", "a", "C", "B"] * 3)
    scratch = objective_of(frame, "supervised")
    assert scratch.classes == ("B", "C", "a")
    assert (scratch.head, scratch.outputs) == ("classifier", 3)
    logits = torch.zeros(6, 3)
    labels = [("B", "C", "a").index(frame.area[row]) for row in ROWS.tolist()]
    logits[torch.arange(6), labels] = 50
    assert mean_loss(scratch, logits) == pytest.approx(0, abs=1e-6)
    contrastive = objective_of(frame, "supcon")
    z = torch.randn(6, 256, generator=torch.Generator().manual_seed(1))
    expected = losses.supcon(z, torch.tensor(labels), temperature=0.07).mean()
    assert mean_loss(contrastive, z) == pytest.approx(float(expected))


def test_the_positions_themselves_solve_the_distance_task() -> None:
    frame = table()
    objective = objective_of(frame, "distance")
    assert (objective.head, objective.outputs) == ("distance", 35)
    p = torch.tensor(frame[["x_mm", "y_mm", "z_mm"]].to_numpy()[ROWS] / 100)
    outputs = torch.cat([p, p, torch.zeros(6, 29)], dim=1)
    assert mean_loss(objective, outputs) == pytest.approx(0, abs=1e-10)
    outputs[2, 0] += 0.6  # 60 mm off in one of six patches
    assert mean_loss(objective, outputs) == pytest.approx(0.06, rel=1e-5)


def test_test_sets_are_never_trained_on() -> None:
    splits = ["pretrain", "train", "seen", "transfer", "unseen", "train"] * 2
    frame = table(split=splits)
    assert set(training_rows(frame, "spatialnce", "d").split) == {"pretrain", "train"}
    labelled = training_rows(frame, "supcon", "d")
    assert labelled.split.tolist() == ["train"] * 4 and labelled.index.tolist() == [0, 1, 2, 3]
    assert labelled.point_id.tolist() == ["p1", "p5", "p7", "p11"]


@pytest.mark.parametrize("loss", ["supcon", "supervised"])
def test_losses_by_area_refuse_a_data_set_without_areas(loss: str) -> None:
    with pytest.raises(InputError, match=f"d1: {loss} needs training patches with areas, all"):
        training_rows(table(split="pretrain", area=""), loss, "d1")
    some = ["", "", ""] + ["A"] * 9
    with pytest.raises(InputError, match=f"d1: {loss} needs training patches with areas, 3 have"):
        training_rows(table(area=some), loss, "d1")
    with pytest.raises(InputError, match="d1: all patches belong to A"):
        training_rows(table(area="A"), loss, "d1")
    # the other losses do not use areas
    assert len(training_rows(table(area=""), "simclr", "d1")) == COUNT


@pytest.mark.parametrize("loss", ["spatialnce", "distance"])
def test_losses_by_position_refuse_a_data_set_without_positions(loss: str) -> None:
    lost = [0.0] * COUNT
    lost[3] = lost[8] = np.nan
    with pytest.raises(InputError, match=f"d1: {loss} needs positions, 2 patches .* is p3"):
        training_rows(table(z_mm=lost), loss, "d1")
    assert len(training_rows(table(z_mm=lost), "simclr", "d1")) == COUNT


@pytest.mark.parametrize("distance", ["same_hemisphere", "geodesic"])
def test_an_unknown_hemisphere_is_an_error(distance: str) -> None:
    frame = table(hemisphere=["L", "", "R"] * 4)
    with pytest.raises(InputError, match=f"distance is {distance}, .* of 4 patches .* is p1"):
        objective_of(frame, "spatialnce", distance)
    objective_of(frame, "spatialnce")


def test_geodesic_distances_need_a_valid_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="geodesic, but there is no table"):
        objective_of(table(), "spatialnce", "geodesic")
    with pytest.raises(InputError, match="not found"):
        objective_of(table(), "spatialnce", "geodesic", tmp_path / "none.npz")
    path = tmp_path / "table.npz"
    write_geodesic(path, distances_mm=np.zeros((3, 3), np.float32))
    with pytest.raises(InputError, match=r"\(3, 3\) distances do not fit"):
        objective_of(table(), "spatialnce", "geodesic", path)
    write_geodesic(path, distances_mm=np.full((40, 40), np.nan, np.float32))
    with pytest.raises(InputError, match="must not be negative"):
        objective_of(table(), "spatialnce", "geodesic", path)
    write_geodesic(path, hemisphere=np.full(40, "L"))
    with pytest.raises(InputError, match="no nodes in hemisphere R, where 6 patches lie"):
        objective_of(table(), "spatialnce", "geodesic", path)
    path.write_bytes(b"torn")
    with pytest.raises(InputError, match="not a readable table of geodesic distances"):
        objective_of(table(), "spatialnce", "geodesic", path)
