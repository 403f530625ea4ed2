import numpy as np
import pytest
import torch
from torch import nn

from cytopipe.learning import networks
from cytopipe.learning.networks.r50 import R50
from cytopipe.learning.networks.small import Small
from cytopipe.learning.optimisers import LARS, Optimiser, build, set_rate

PLAN = networks.Plan("small", 32, "projection", networks.PROJECTED)


def settings(**changes: object) -> Optimiser:
    values = {
        "name": "lars",
        "learning_rate": 0.01,
        "schedule": "constant",
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "trust": 0.02,
        "lars_exclude": "bias",
        **changes,
    }
    return Optimiser(**values)  # type: ignore[arg-type]


def test_r50_has_the_parameters_and_the_map_of_the_paper() -> None:
    with torch.device("meta"):
        network = R50(2048)
        images = torch.empty(2, 1, 2048, 2048)
        assert network.feature_map(images).shape == (2, 2048, 32, 32)
        assert network(images).shape == (2, 2048)
    parameters = sum(p.numel() for p in network.parameters())
    assert parameters / 1e6 == pytest.approx(23.54, abs=0.005)


def test_the_projection_head_is_as_wide_as_the_backbone() -> None:
    encoder = networks.build(PLAN, seed=0)
    features, projected = encoder(torch.rand(4, 1, 32, 32))
    assert features.shape == (4, Small.width) and projected.shape == (4, 256)
    assert [type(layer) for layer in encoder.head] == [
        nn.Linear,
        nn.BatchNorm1d,
        nn.ReLU,
        nn.Linear,
    ]
    assert encoder.head[0].out_features == Small.width


def test_weights_follow_from_the_seed_alone() -> None:
    before = torch.random.get_rng_state()
    one, same, other = (networks.build(PLAN, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["head.0.weight"], other["head.0.weight"])


def test_two_lars_steps_follow_the_formula() -> None:
    random = np.random.default_rng(0)
    w0 = random.normal(size=(3, 2))
    weight = nn.Parameter(torch.tensor(w0))
    group = {"params": [weight], "weight_decay": 0.1, "trust": 0.02}
    optimiser = LARS([group], rate=0.5, momentum=0.9)
    w, v = w0.copy(), np.zeros_like(w0)
    for _ in range(2):
        g = random.normal(size=w.shape)
        rate = 0.02 * np.linalg.norm(w) / (np.linalg.norm(g) + 0.1 * np.linalg.norm(w))
        u = rate * (g + 0.1 * w)
        v = 0.9 * v + u
        w = w - 0.5 * (u + 0.9 * v)
        weight.grad = torch.tensor(g)
        optimiser.step()
    np.testing.assert_allclose(weight.detach().numpy(), w, rtol=1e-12)


def test_without_trust_lars_is_torchs_sgd() -> None:
    start = torch.randn(4, generator=torch.Generator().manual_seed(0))
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    group = {"params": [ours], "weight_decay": 0.1, "trust": None}
    steps = [
        LARS([group], rate=0.1, momentum=0.9),
        torch.optim.SGD([theirs], 0.1, 0.9, weight_decay=0.1, nesterov=True),
    ]
    for _ in range(3):
        for weight, optimiser in zip((ours, theirs), steps, strict=True):
            weight.grad = weight.detach() ** 2 + 1
            optimiser.step()
    torch.testing.assert_close(ours, theirs)


def test_a_weight_of_zero_is_moved_without_adaptation() -> None:
    weight = nn.Parameter(torch.zeros(2))
    weight.grad = torch.ones(2)
    group = {"params": [weight], "weight_decay": 0.1, "trust": 0.02}
    LARS([group], rate=0.5, momentum=0.0).step()
    torch.testing.assert_close(weight.detach(), torch.full((2,), -0.5))


@pytest.mark.parametrize(
    ("exclude", "adapted"),
    [("bias", {"0.weight", "1.weight"}), ("bias_and_norm", {"0.weight"})],
)
def test_biases_alone_are_not_decayed(exclude: str, adapted: set[str]) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    optimiser = build(model, settings(lars_exclude=exclude), batch_size=512)
    names = {parameter: name for name, parameter in model.named_parameters()}
    decayed, trusted = set(), set()
    for group in optimiser.param_groups:
        assert group["lr"] == pytest.approx(0.02)
        for parameter in group["params"]:
            decayed |= {names[parameter]} if group["weight_decay"] > 0 else set()
            trusted |= {names[parameter]} if group["trust"] is not None else set()
    assert decayed == {"0.weight", "1.weight"}
    assert trusted == adapted


def test_the_rate_is_constant_or_falls_along_a_cosine() -> None:
    model = nn.Linear(3, 2)
    for schedule, expected in {"constant": [0.02] * 3, "cosine": [0.02, 0.01, 0.0]}.items():
        optimiser = build(model, settings(), batch_size=512)
        rates = []
        for done in (0.0, 0.5, 1.0):
            set_rate(optimiser, settings(schedule=schedule), 512, done)
            rates += [group["lr"] for group in optimiser.param_groups]
        assert rates == pytest.approx([rate for rate in expected for _ in optimiser.param_groups])
