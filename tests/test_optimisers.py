import numpy as np
import pytest
import torch
from torch import nn

from cytopipe.learning.optimisers import LARS, build, set_rate
from cytopipe.study.config import Optimiser


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


def test_a_weight_of_zero_is_updated_without_adaptation() -> None:
    weight = nn.Parameter(torch.zeros(2))
    weight.grad = torch.ones(2)
    group = {"params": [weight], "weight_decay": 0.1, "trust": 0.02}
    LARS([group], rate=0.5, momentum=0.0).step()
    torch.testing.assert_close(weight.detach(), torch.full((2,), -0.5))


@pytest.mark.parametrize(
    ("exclude", "adapted"),
    [("bias", {"0.weight", "1.weight"}), ("bias_and_norm", {"0.weight"})],
)
def test_all_parameters_but_biases_are_decayed(exclude: str, adapted: set[str]) -> None:
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


def test_the_rate_is_constant_or_decreases_along_a_cosine() -> None:
    model = nn.Linear(3, 2)
    for schedule, expected in {"constant": [0.02] * 3, "cosine": [0.02, 0.01, 0.0]}.items():
        optimiser = build(model, settings(), batch_size=512)
        rates = []
        for done in (0.0, 0.5, 1.0):
            set_rate(optimiser, settings(schedule=schedule), 512, done)
            rates += [group["lr"] for group in optimiser.param_groups]
        assert rates == pytest.approx([rate for rate in expected for _ in optimiser.param_groups])


def test_adamw_decays_all_parameters_but_biases() -> None:
    """Two steps of Loshchilov & Hutter's algorithm 2, in NumPy."""
    random = np.random.default_rng(1)
    model = nn.Linear(3, 2).double()
    optimiser = build(
        model, settings(name="adamw", learning_rate=0.1, weight_decay=0.5), batch_size=128
    )
    parts = [model.weight, model.bias]
    values = [part.detach().numpy().copy() for part in parts]
    moments = [(np.zeros_like(v), np.zeros_like(v)) for v in values]
    for step in (1, 2):
        gradients = [random.normal(size=v.shape) for v in values]
        for part, gradient in zip(parts, gradients, strict=True):
            part.grad = torch.tensor(gradient)
        optimiser.step()
        for at, (value, gradient, decay) in enumerate(
            zip(values, gradients, (0.5, 0.0), strict=True)
        ):
            m, v = moments[at]
            m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
            moments[at] = (m, v)
            scaled = m / (1 - 0.9**step) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
            values[at] = value - 0.05 * (scaled + decay * value)
    for part, value in zip(parts, values, strict=True):
        np.testing.assert_allclose(part.detach().numpy(), value, rtol=1e-10)
