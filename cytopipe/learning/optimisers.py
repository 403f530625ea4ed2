"""Optimisers, and the parameters to which weight decay and LARS apply."""

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:  # so that importing this module does not need pydantic
    from cytopipe.study.config import Optimiser


def build(model: nn.Module, settings: "Optimiser", batch_size: int) -> torch.optim.Optimizer:
    """The optimiser of a model's trainable parameters, for batches of `batch_size` patches."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            bias = name.split(".")[-1] == "bias"
            one_dimensional = settings.lars_exclude == "bias_and_norm" and parameter.ndim == 1
            groups.setdefault((not bias, not bias and not one_dimensional), []).append(parameter)
    rate = settings.learning_rate * batch_size / 256
    parameters: list[dict[str, Any]] = [
        {
            "params": members,
            "weight_decay": settings.weight_decay if decayed else 0.0,
            "trust": settings.trust if adapted else None,
        }
        for (decayed, adapted), members in groups.items()
    ]
    if settings.name == "lars":
        return LARS(parameters, rate, settings.momentum)
    if settings.name == "sgd":
        return torch.optim.SGD(parameters, rate, settings.momentum, nesterov=True)
    return torch.optim.AdamW(parameters, rate)


def set_rate(
    optimiser: torch.optim.Optimizer, settings: "Optimiser", batch_size: int, done: float
) -> None:
    """Set the learning rate of the next step; `done` (0 to 1) is the fraction of training done."""
    rate = settings.learning_rate * batch_size / 256
    if settings.schedule == "cosine":
        rate *= (1 + math.cos(math.pi * done)) / 2
    for group in optimiser.param_groups:
        group["lr"] = rate


class LARS(torch.optim.Optimizer):
    """SGD with Nesterov momentum and layer-wise adaptive rates (You, Gitman & Ginsburg 2017).

    If its group has a `trust`, the decayed gradient u = g + decay w of a parameter is scaled by
    trust |w| / (|g| + decay |w|). Then, as in torch's SGD, v <- momentum v + u and
    w <- w - rate (u + momentum v).
    """

    def __init__(self, parameters: Iterable[dict[str, Any]], rate: float, momentum: float) -> None:
        defaults = {"lr": rate, "momentum": momentum, "weight_decay": 0.0, "trust": None}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                update = weight.grad + group["weight_decay"] * weight
                if group["trust"] is not None:
                    update *= local_rate(weight, weight.grad, group["trust"], group["weight_decay"])
                state = self.state[weight]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(weight)
                velocity = state["momentum"].mul_(group["momentum"]).add_(update)
                weight -= group["lr"] * (update + group["momentum"] * velocity)


def local_rate(weight: Tensor, gradient: Tensor, trust: float, weight_decay: float) -> Tensor:
    """The factor trust |w| / (|g| + decay |w|), a scalar tensor; 1 if either norm is 0."""
    w, g = weight.norm(), gradient.norm()
    # torch.where decides on the device: an `if` would wait for the GPU at every layer
    return torch.where((w > 0) & (g > 0), trust * w / (g + weight_decay * w), torch.ones_like(w))
