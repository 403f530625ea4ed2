from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from cytopipe.files import InputError
from cytopipe.learning import geodesic, losses, objectives
from cytopipe.learning.distributed import World

ALONE = World(0, 1, torch.device("cpu"))
COUNT = 12


def table(**columns: Any) -> pd.DataFrame:
    """Patches of two hemispheres, four areas and a test set that no loss may see."""
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


def settings(loss: str, distance: str = "euclidean") -> objectives.Settings:
    return objectives.Settings(loss, 0.07, 10.0, distance)  # type: ignore[arg-type]


def write_table(path: Path, **changes: Any) -> geodesic.Geodesic:
    random = np.random.default_rng(5)
    nodes = random.uniform([-30, 0, 0], [30, 30, 30], (40, 3)).astype(np.float32)
    apart = 1.5 * np.linalg.norm(nodes[:, None] - nodes, axis=-1)
    side = np.where(nodes[:, 0] < 0, "L", "R")
    apart[side[:, None] != side] = np.inf
    arrays = {"nodes_mm": nodes, "hemisphere": side, "distances_mm": apart.astype(np.float32)}
    np.savez(path, **{**arrays, **changes})
    return geodesic.Geodesic(nodes, side == "L", apart.astype(np.float32))


def own_loss(
    objective: objectives.Objective, rows: torch.Tensor, outputs: torch.Tensor
) -> list[float]:
    loss, mean = objective.loss(outputs, rows, ALONE)
    assert float(loss) == float(mean)
    return [float(loss)]


ROWS = torch.tensor([7, 2, 9, 4, 0, 11])


@pytest.mark.parametrize("distance", ["euclidean", "same_hemisphere", "geodesic"])
def test_spatialnce_takes_the_distance_between_the_rows_of_the_batch(
    tmp_path: Path, distance: str
) -> None:
    surface = write_table(tmp_path / "table.npz")
    frame = table()
    objective = objectives.build(
        frame, settings("spatialnce", distance), tmp_path / "table.npz", ALONE.device
    )
    assert (objective.views, objective.head, objective.outputs) == (1, "projection", 256)
    p = frame[["x_mm", "y_mm", "z_mm"]].to_numpy()[ROWS]
    left = p[:, 0] < 0
    apart = np.linalg.norm(p[:, None] - p, axis=-1)
    if distance == "same_hemisphere":
        apart[left[:, None] != left] = np.inf
    if distance == "geodesic":
        away = np.linalg.norm(p[:, None] - surface.nodes_mm, axis=-1)
        away[left[:, None] != surface.left] = np.inf
        nodes = away.argmin(1)
        apart = surface.distances_mm[nodes[:, None], nodes].astype(float)
    z = torch.randn(6, 256, generator=torch.Generator().manual_seed(1))
    expected = losses.spatialnce(z, torch.tensor(apart), temperature=0.07, sigma_mm=10).mean()
    loss, mean = objective.loss(z, ROWS, ALONE)
    assert float(loss) == pytest.approx(float(expected), rel=1e-5) == float(mean)


def test_simclr_pairs_the_two_views_of_a_patch() -> None:
    objective = objectives.build(table(), settings("simclr"), None, ALONE.device)
    assert objective.views == 2 and objective.classes == ()
    z = torch.randn(12, 256, generator=torch.Generator().manual_seed(1))
    unit = torch.nn.functional.normalize(z.double(), dim=1)
    similarity = (unit @ unit.T / 0.07).fill_diagonal_(-np.inf)
    other = torch.tensor([1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10])
    expected = torch.nn.functional.cross_entropy(similarity, other)
    assert own_loss(objective, ROWS, z) == pytest.approx([float(expected)], rel=1e-5)


def test_labels_are_areas_in_alphabetical_order() -> None:
    frame = table(area=["B", "a", "C", "B"] * 3)
    scratch = objectives.build(frame, settings("supervised"), None, ALONE.device)
    assert scratch.classes == ("B", "C", "a")
    assert (scratch.head, scratch.outputs) == ("classifier", 3)
    logits = torch.zeros(6, 3)
    labels = [("B", "C", "a").index(frame.area[row]) for row in ROWS.tolist()]
    logits[torch.arange(6), labels] = 50
    assert own_loss(scratch, ROWS, logits) == pytest.approx([0], abs=1e-6)
    contrastive = objectives.build(frame, settings("supcon"), None, ALONE.device)
    z = torch.randn(6, 256, generator=torch.Generator().manual_seed(1))
    expected = losses.supcon(z, torch.tensor(labels), temperature=0.07).mean()
    assert own_loss(contrastive, ROWS, z) == pytest.approx([float(expected)])


def test_the_distance_task_is_solved_by_the_positions_themselves() -> None:
    frame = table()
    objective = objectives.build(frame, settings("distance"), None, ALONE.device)
    assert (objective.head, objective.outputs) == ("distance", 35)
    p = torch.tensor(frame[["x_mm", "y_mm", "z_mm"]].to_numpy()[ROWS] / 100)
    outputs = torch.cat([p, p, torch.zeros(6, 29)], dim=1)
    assert own_loss(objective, ROWS, outputs) == pytest.approx([0], abs=1e-10)
    outputs[2, 0] += 0.6  # 60 mm off in one of six patches
    assert own_loss(objective, ROWS, outputs) == pytest.approx([0.06], rel=1e-5)


def test_test_sets_are_never_trained_on() -> None:
    splits = ["pretrain", "train", "seen", "transfer", "unseen", "train"] * 2
    frame = table(split=splits)
    assert set(objectives.trained_on(frame, "spatialnce", "d").split) == {"pretrain", "train"}
    labelled = objectives.trained_on(frame, "supcon", "d")
    assert labelled.split.tolist() == ["train"] * 4 and labelled.index.tolist() == [0, 1, 2, 3]
    assert labelled.point_id.tolist() == ["p1", "p5", "p7", "p11"]


@pytest.mark.parametrize("loss", ["supcon", "supervised"])
def test_losses_by_area_refuse_a_data_set_without(loss: str) -> None:
    with pytest.raises(InputError, match=f"d1: {loss} needs training patches with areas, all"):
        objectives.trained_on(table(split="pretrain", area=""), loss, "d1")
    some = ["", "", ""] + ["A"] * 9
    with pytest.raises(InputError, match=f"d1: {loss} needs training patches with areas, 3 have"):
        objectives.trained_on(table(area=some), loss, "d1")
    with pytest.raises(InputError, match="d1: all patches are of A"):
        objectives.trained_on(table(area="A"), loss, "d1")
    # the other losses do not look at areas
    assert len(objectives.trained_on(table(area=""), "simclr", "d1")) == COUNT


@pytest.mark.parametrize("loss", ["spatialnce", "distance"])
def test_losses_by_position_refuse_a_data_set_without(loss: str) -> None:
    lost = [0.0] * COUNT
    lost[3] = lost[8] = np.nan
    with pytest.raises(InputError, match=f"d1: {loss} needs positions, 2 patches .* is p3"):
        objectives.trained_on(table(z_mm=lost), loss, "d1")
    assert len(objectives.trained_on(table(z_mm=lost), "simclr", "d1")) == COUNT


def test_geodesic_distances_need_a_table_that_fits(tmp_path: Path) -> None:
    chosen = settings("spatialnce", "geodesic")
    with pytest.raises(InputError, match="geodesic, but no table"):
        objectives.build(table(), chosen, None, ALONE.device)
    with pytest.raises(InputError, match="not found"):
        objectives.build(table(), chosen, tmp_path / "none.npz", ALONE.device)
    path = tmp_path / "table.npz"
    write_table(path, distances_mm=np.zeros((3, 3), np.float32))
    with pytest.raises(InputError, match=r"\(3, 3\) distances do not fit"):
        objectives.build(table(), chosen, path, ALONE.device)
    write_table(path, distances_mm=np.full((40, 40), np.nan, np.float32))
    with pytest.raises(InputError, match="not negative"):
        objectives.build(table(), chosen, path, ALONE.device)
    write_table(path, hemisphere=np.full(40, "L"))
    with pytest.raises(InputError, match="6 patches are of hemisphere R"):
        objectives.build(table(), chosen, path, ALONE.device)
    path.write_bytes(b"torn")
    with pytest.raises(InputError, match="no table of distances"):
        objectives.build(table(), chosen, path, ALONE.device)
