"""Linear probes: classifiers of a single linear layer on frozen features."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from cytopipe.learning import optimisers
from cytopipe.study.config import AreasTask

Features = NDArray[np.float32]


@dataclass(frozen=True)
class Probe:
    """A linear layer without bias on standardised features."""

    mean: Features
    scale: Features
    weights: Features

    def logits(self, features: Features) -> Features:
        """(n, classes) of features (n, d)."""
        return np.asarray((features - self.mean) / self.scale @ self.weights.T)


def fit_probe(
    features: Features,
    labels: NDArray[np.int64],
    classes: int,
    seed: int,
    params: AreasTask,
) -> Probe:
    """Train a linear classifier without bias by cross-entropy (CytoNet section 3.5).

    `params.standardise` brings each feature to mean 0 and standard deviation 1. The paper trains on
    raw features. Those of untrained networks and profiles differ in scale by orders of magnitude,
    so one learning rate would compare scales rather than features.

    Parameters
    ----------
    features, labels : (n, d) finite, (n,) class of each.
    seed : of the initial weights and of the order.
    """
    optimiser, batch_size = params.optimiser, params.batch_size
    mean = features.mean(0) if params.standardise else np.zeros(features.shape[1], np.float32)
    spread = features.std(0) if params.standardise else np.ones(features.shape[1], np.float32)
    scale = np.where(spread > 1e-8, spread, 1).astype(np.float32)  # constant features stay zero
    inputs: Tensor = torch.from_numpy(((features - mean) / scale).astype(np.float32))
    targets = torch.from_numpy(labels)
    random = torch.Generator().manual_seed(seed)
    layer = nn.Linear(features.shape[1], classes, bias=False)
    bound = features.shape[1] ** -0.5  # as torch initialises it, but from our seed
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=random)
    steps = optimisers.build(layer, optimiser, batch_size)
    for epoch in range(params.epochs):
        order = torch.randperm(len(inputs), generator=random)
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            loss = functional.cross_entropy(layer(inputs[chosen]), targets[chosen])
            done = (epoch + start / len(order)) / params.epochs
            optimisers.set_rate(steps, optimiser, batch_size, done)
            steps.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            steps.step()
    return Probe(mean, scale, layer.weight.detach().numpy())
