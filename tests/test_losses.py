import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from cytopipe.learning import losses
from cytopipe.learning.distances import Euclidean, Geodesic, SameHemisphere, euclidean_mm
from cytopipe.learning.losses import infonce, simclr, spatialnce, supcon, supervised

LABELS = torch.tensor([0, 1, 0, 2, 1, 0, 3, 1, 0, 2, 1, 0])  # only one patch has label 3


def batch(count: int = 12, spread_mm: float = 30.0) -> tuple[Tensor, Tensor]:
    random = np.random.default_rng(3)
    features = random.normal(size=(count, 5)).astype(np.float32)
    positions = random.uniform(0, spread_mm, (count, 3)).astype(np.float32)
    return torch.from_numpy(features), torch.from_numpy(positions)


def by_position(features: Tensor, positions_mm: Tensor) -> Tensor:
    distances_mm = euclidean_mm(positions_mm, positions_mm)
    return spatialnce(features, distances_mm, temperature=0.07, sigma_mm=10).mean()


def by_hand(features: Tensor, weights: np.ndarray) -> list[float]:
    """The loss of every patch: equation 1 of CytoNet for any weights, NaN if all are zero."""
    z = features.double().numpy()
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    off = 1 - np.eye(len(z))
    w, e = weights * off, np.exp(z @ z.T / 0.07) * off
    with np.errstate(invalid="ignore"):
        return [
            -sum(w[i, j] * np.log(e[i, j] / e[i].sum()) for j in range(len(z)) if j != i)
            / w[i].sum()
            for i in range(len(z))
        ]


def test_spatialnce_is_the_papers_formula() -> None:
    features, positions = batch()
    p = positions.double().numpy()
    expected = by_hand(features, np.exp(-((p[:, None] - p) ** 2).sum(-1) / (2 * 10**2)))
    distances_mm = euclidean_mm(positions, positions)
    result = spatialnce(features, distances_mm, temperature=0.07, sigma_mm=10)
    np.testing.assert_allclose(result.values.numpy(), expected, rtol=1e-5)
    assert float(result.mean()) == pytest.approx(np.mean(expected), rel=1e-5)


def test_embeddings_that_follow_positions_have_a_lower_loss() -> None:
    # four places 100 mm apart with three patches each: the best embeddings name the place
    place = torch.arange(12) // 3
    positions = torch.stack([100.0 * place, torch.arange(12) % 3.0, torch.zeros(12)], dim=1)
    right = torch.nn.functional.one_hot(place).float()
    values = [float(by_position(z, positions)) for z in (right, right.roll(1, dims=0))]
    # two neighbours share the probability: log 2, and more when the embeddings disagree
    assert values[0] == pytest.approx(np.log(2), abs=1e-3)
    assert values[1] > 4


def test_a_patch_without_neighbours_contributes_nothing() -> None:
    features, positions = batch()
    features, positions = features.requires_grad_(), positions.clone()
    positions[0] = 1e4  # ten metres away: its weights are zero
    loss = by_position(features, positions)
    # the far patch remains a candidate k for the others, but has no loss of its own
    p = positions.double().numpy()
    weights = np.exp(-((p[:, None] - p) ** 2).sum(-1) / 200)
    expected = by_hand(features.detach(), weights)[1:]
    assert loss.item() == pytest.approx(np.mean(expected), rel=1e-5)
    loss.backward()
    assert features.grad is not None and torch.isfinite(features.grad).all()


def test_a_batch_without_neighbours_has_a_loss_of_zero() -> None:
    features, _ = batch(3)
    positions = torch.tensor([[0.0, 0, 0], [1e4, 0, 0], [0, 1e4, 0]])
    assert float(by_position(features, positions)) == 0


def test_half_precision_embeddings_do_not_overflow() -> None:
    features, positions = batch()
    with torch.autocast("cpu", torch.bfloat16):
        loss = by_position(features.half() * 100, positions)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(by_position(features, positions)), rel=1e-2)


def test_supcon_divides_by_the_number_of_others_with_the_label() -> None:
    """The formula of the ISBI paper: -1 / (N_y - 1) sum of log p over the same label."""
    features, _ = batch()
    y = LABELS.numpy()
    expected = np.array(by_hand(features, (y[:, None] == y).astype(float)))
    result = supcon(features, LABELS, temperature=0.07)
    assert result.valid.tolist() == [label != 3 for label in y]
    np.testing.assert_allclose(result.values.numpy(), np.nan_to_num(expected), rtol=1e-5)
    assert float(result.mean()) == pytest.approx(np.nanmean(expected), rel=1e-5)


def test_simclr_is_the_cross_entropy_with_the_other_view_as_target() -> None:
    features, _ = batch()
    patches = torch.arange(6).repeat_interleave(2)
    z = torch.nn.functional.normalize(features.double(), dim=1)
    similarity = (z @ z.T / 0.07).fill_diagonal_(-np.inf)
    other = torch.arange(12) ^ 1
    expected = torch.nn.functional.cross_entropy(similarity, other)
    loss = simclr(features, patches, temperature=0.07).mean()
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def test_supervised_is_minus_the_log_of_the_right_class() -> None:
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(12, 4)))
    e = np.exp(logits.numpy())
    expected = -np.log(e[np.arange(12), LABELS] / e.sum(1))
    np.testing.assert_allclose(supervised(logits, LABELS).values.numpy(), expected, rtol=1e-10)


def test_distance_is_the_error_of_location_and_pair() -> None:
    positions = np.array([[10.0, 20, 30], [40, 20, 30], [10, 60, 30]])
    outputs = np.zeros((3, 35))
    outputs[:, :3] = positions / 100
    outputs[0, 2] += 0.5  # 50 mm off
    outputs[1, 3], outputs[2, 4] = 0.3, 0.4
    # pairs 0-1, 1-2, 2-0 are 30, 50 and 40 mm apart, the embeddings 0.3, 0.5 and 0.4
    distances_mm = torch.tensor([30.0, 70.0, torch.inf])
    result = losses.distance(torch.tensor(outputs), torch.tensor(positions), distances_mm)
    np.testing.assert_allclose(result.values.numpy(), [0.25, 0.04, 0], atol=1e-12)
    assert result.valid.all()


def test_equal_embeddings_have_a_finite_gradient() -> None:
    outputs = torch.zeros(4, 35, requires_grad=True)
    losses.distance(outputs, torch.ones(4, 3), torch.ones(4)).mean().backward()
    assert outputs.grad is not None and torch.isfinite(outputs.grad).all()


def test_gradients_agree_with_finite_differences() -> None:
    random = np.random.default_rng(0)
    features = torch.tensor(random.normal(size=(6, 4)), requires_grad=True)
    outputs = torch.tensor(random.normal(size=(6, 35)), requires_grad=True)
    weights, positions = torch.rand(6, 6), 100 * torch.rand(6, 3)
    weights[2] = 0
    labels = torch.tensor([0, 1, 0, 1, 1, 2])
    assert gradcheck(lambda z: infonce(z, weights, temperature=0.5).mean(), features)
    assert gradcheck(lambda z: supcon(z, labels, temperature=0.5).mean(), features)
    assert gradcheck(lambda z: supervised(z, labels).mean(), features)
    assert gradcheck(
        lambda z: losses.distance(z, positions, 10 * torch.arange(6.0)).mean(), outputs
    )


def test_losses_of_some_patches_equal_those_computed_for_all() -> None:
    features, positions = batch()
    own = torch.tensor([1, 4, 6, 11])
    distances_mm = euclidean_mm(positions, positions)
    outputs = torch.randn(12, 35, generator=torch.Generator().manual_seed(0))
    next_mm = distances_mm[torch.arange(12), torch.arange(12).roll(-1)]
    patches = torch.arange(6).repeat_interleave(2)
    pairs = [
        (
            spatialnce(features, distances_mm, temperature=0.07, sigma_mm=10),
            spatialnce(features, distances_mm[own], temperature=0.07, sigma_mm=10, own=own),
        ),
        (
            supcon(features, LABELS, temperature=0.07),
            supcon(features, LABELS, temperature=0.07, own=own),
        ),
        (
            simclr(features, patches, temperature=0.07),
            simclr(features, patches, temperature=0.07, own=own),
        ),
        (
            losses.distance(outputs, positions, next_mm),
            losses.distance(outputs, positions[own], next_mm[own], own=own),
        ),
    ]
    for whole, part in pairs:
        torch.testing.assert_close(part.values, whole.values[own])
        assert torch.equal(part.valid, whole.valid[own])


def test_distances_between_rows() -> None:
    positions_mm = torch.tensor([[-1.0, 0, 0], [2, 0, 0], [-1, 3, 0], [1, 0, 0], [2, 0, 4]])
    is_left = positions_mm[:, 0] < 0
    a, b = torch.tensor([0, 1]), torch.tensor([2, 3, 4])
    root, inf = 18**0.5, torch.inf
    torch.testing.assert_close(
        Euclidean(positions_mm)(a, b), torch.tensor([[3.0, 2.0, 5.0], [root, 1.0, 4.0]])
    )
    torch.testing.assert_close(
        SameHemisphere(positions_mm, is_left)(a, b),
        torch.tensor([[3.0, inf, inf], [inf, 1.0, 4.0]]),
    )
    table_mm = torch.tensor([[0.0, 7, inf], [7, 0, inf], [inf, inf, 0]])
    nodes = torch.tensor([1, 2, 0, 1, 2])
    torch.testing.assert_close(
        Geodesic(nodes, table_mm)(a, b), torch.tensor([[7.0, 0.0, inf], [inf, inf, 0.0]])
    )


def test_patches_at_an_infinite_distance_have_no_weight() -> None:
    features, positions = batch()
    left = positions[:, 0] > 15
    everyone = torch.arange(len(positions))
    distances_mm = SameHemisphere(positions, left)(everyone, everyone)
    moved = positions.clone()
    moved[left, 1] += 1e4
    loss = spatialnce(features, distances_mm, temperature=0.07, sigma_mm=10).mean()
    assert float(loss) == pytest.approx(float(by_position(features, moved)), rel=1e-4)
