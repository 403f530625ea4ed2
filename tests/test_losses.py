import numpy as np
import pytest
import torch

from cytopipe.learning.losses import euclidean_mm, spatialnce


def batch(count: int = 12, spread_mm: float = 30.0) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(3)
    features = random.normal(size=(count, 5)).astype(np.float32)
    positions = random.uniform(0, spread_mm, (count, 3)).astype(np.float32)
    return torch.from_numpy(features), torch.from_numpy(positions)


def test_spatialnce_is_the_papers_formula() -> None:
    z, p = (tensor.numpy().astype(np.float64) for tensor in batch())
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    w = np.exp(-((p[:, None] - p) ** 2).sum(-1) / (2 * 10**2)) * (1 - np.eye(len(z)))
    e = np.exp(z @ z.T / 0.07) * (1 - np.eye(len(z)))
    rows = [
        -sum(w[i, j] * np.log(e[i, j] / e[i].sum()) for j in range(len(z)) if j != i) / w[i].sum()
        for i in range(len(z))
    ]
    loss = spatialnce(*batch(), temperature=0.07, sigma_mm=10)
    assert float(loss) == pytest.approx(np.mean(rows), rel=1e-5)


def test_features_that_follow_positions_have_a_lower_loss() -> None:
    # four places 100 mm apart, three patches each: the best features say which place it is
    place = torch.arange(12) // 3
    positions = torch.stack([100.0 * place, torch.arange(12) % 3.0, torch.zeros(12)], dim=1)
    right = torch.nn.functional.one_hot(place).float()
    wrong = right.roll(1, dims=0)
    values = [
        float(spatialnce(z, positions, temperature=0.07, sigma_mm=10)) for z in (right, wrong)
    ]
    # two neighbours share the probability: log 2, and more when the features disagree
    assert values[0] == pytest.approx(np.log(2), abs=1e-3)
    assert values[1] > 4


def test_a_row_without_neighbours_contributes_nothing() -> None:
    features, positions = batch()
    features, positions = features.requires_grad_(), positions.clone()
    positions[0] = 1e4  # ten metres away: its weights vanish
    loss = spatialnce(features, positions, temperature=0.07, sigma_mm=10)
    # the far patch stays among the candidates k of the others, and has no row of its own
    z = torch.nn.functional.normalize(features, dim=1).double()
    similarity = (z @ z.T / 0.07).fill_diagonal_(-np.inf)
    chance = similarity.log_softmax(1).fill_diagonal_(0)[1:]
    w = torch.exp(-(torch.cdist(positions.double(), positions.double()) ** 2) / 200)
    w = w.fill_diagonal_(0)[1:]
    expected = (-(w * chance).sum(1) / w.sum(1)).mean().item()
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert features.grad is not None and torch.isfinite(features.grad).all()


def test_no_row_with_neighbours_is_a_loss_of_zero() -> None:
    features, _ = batch(3)
    positions = torch.tensor([[0.0, 0, 0], [1e4, 0, 0], [0, 1e4, 0]])
    assert float(spatialnce(features, positions, temperature=0.07, sigma_mm=10)) == 0


def test_half_precision_features_do_not_overflow() -> None:
    features, positions = batch()
    with torch.autocast("cpu", torch.bfloat16):
        loss = spatialnce(features.half() * 100, positions, temperature=0.07, sigma_mm=10)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(
        float(spatialnce(features, positions, temperature=0.07, sigma_mm=10)), rel=1e-2
    )


def test_the_distance_is_a_choice() -> None:
    features, positions = batch()
    side = positions[:, 0] > 15

    def same_side_mm(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return euclidean_mm(a, b).where(side[:, None] == side, torch.tensor(torch.inf))

    loss = spatialnce(features, positions, temperature=0.07, sigma_mm=10, distance=same_side_mm)
    moved = positions.clone()
    moved[side, 1] += 1e4
    apart = spatialnce(features, moved, temperature=0.07, sigma_mm=10)
    assert float(loss) == pytest.approx(float(apart), rel=1e-4)
