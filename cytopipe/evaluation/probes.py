"""Linear probes: classifiers of a single linear layer on frozen features."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional

from cytopipe.evaluation.stored_features import Features, StoredFeatures, blocks_of, loaded
from cytopipe.learning import optimisers
from cytopipe.study.config import AreasTask


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
    views: Sequence[Features | StoredFeatures],
    labels: NDArray[np.int64],
    classes: int,
    seed: int,
    params: AreasTask,
) -> Probe:
    """Train a linear classifier without bias by cross-entropy (CytoNet section 3.5).

    `params.standardise` brings each feature to mean 0 and standard deviation 1. The paper trains on
    raw features. Those of untrained networks and profiles differ in scale by orders of magnitude,
    so one learning rate would compare scales rather than features.

    The paper also augments the patches. With a frozen network that is the same as a probe on the
    features of augmented patches: as many views as epochs (`features.views`) show each patch in a
    new view in each epoch, fewer views repeat themselves.

    Parameters
    ----------
    views : features (n, d), finite, of the same samples, which the epochs take in turn. Those that
        exceed `params.cache_mb` are read batch by batch.
    labels : (n,) class of each sample.
    seed : of the initial weights and of the order.
    """
    optimiser, batch_size = params.optimiser, params.batch_size
    width = views[0].shape[1]
    mean, scale = np.zeros(width, np.float32), np.ones(width, np.float32)
    if params.standardise:
        mean, scale = _moments(views)
    targets = torch.from_numpy(labels)
    random = torch.Generator().manual_seed(seed)
    layer = nn.Linear(width, classes, bias=False)
    bound = width**-0.5  # as torch initialises it, but from our seed
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=random)
    steps = optimisers.build(layer, optimiser, batch_size)
    for epoch in range(params.epochs):
        features = loaded(views[epoch % len(views)], params.cache_mb)
        order = torch.randperm(len(features), generator=random)
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            inputs = torch.from_numpy((features[chosen.numpy()] - mean) / scale)
            loss = functional.cross_entropy(layer(inputs), targets[chosen])
            done = (epoch + start / len(order)) / params.epochs
            optimisers.set_rate(steps, optimiser, batch_size, done)
            steps.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            steps.step()
    return Probe(mean, scale, layer.weight.detach().numpy())


def _moments(views: Sequence[Features | StoredFeatures]) -> tuple[Features, Features]:
    """Mean and standard deviation (d,) of all views, read in blocks and summed in float64."""
    scaler = StandardScaler()
    for features in views:
        for block in blocks_of(features):
            scaler.partial_fit(block)
    spread = np.sqrt(scaler.var_)
    # constant features stay zero
    return scaler.mean_.astype(np.float32), np.where(spread > 1e-8, spread, 1).astype(np.float32)
