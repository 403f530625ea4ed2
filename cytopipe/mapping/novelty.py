"""How far a point's features are from those that the classifier was trained on.

A softmax names an area for anything, a smear or a piece of cerebellum too. The distance to the k-th
nearest training point in feature space tells what is foreign (Sun et al., ICML 2022). Distances are
Euclidean between the first principal components of the features. On the demo, with 1 % of false
alarms, they find 70 % of patches of white matter, 100 % of the slide, 68 % of blurred and 34 % of
noisy patches. Mahalanobis distances find 40, 99, 46 and 43 %, and cosine distances, as in that
paper, at most 3 %. A foreign *area* is hardly found (1 to 5 %): the cortex varies smoothly, so the
features of an area that was left out of the training lie between those of the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from cytopipe.files import InputError

Features = NDArray[np.float32]

# points whose distances to the whole reference are held at a time: bounds the memory
_BLOCK = 1000


@dataclass(frozen=True)
class Novelty:
    """Training points in feature space, and the distances beyond which a point is foreign.

    Attributes
    ----------
    mean : (features,) of the training points.
    axes : (features, components) their principal axes.
    reference : (n, components) training points.
    brains : the brains from which they come.
    neighbours : the distance is that to the neighbour of this rank.
    own, other : distance that only the accepted share of held-out points exceeds, if the training
        points include their brain, and if they do not. `other` is NaN with a single brain.
    """

    mean: Features
    axes: Features
    reference: Features
    brains: tuple[str, ...]
    neighbours: int
    own: float
    other: float

    def project(self, features: Features) -> Features:
        """(n, components) of features (n, features)."""
        return np.asarray((features - self.mean) @ self.axes)

    def distance(self, features: Features) -> NDArray[np.float64]:
        """(n,) distance to the neighbour of the rank among the training points."""
        return kth_distance(self.project(features), self.reference, self.neighbours)

    def threshold(self, brain: str) -> float:
        """The distance beyond which a point of a brain is foreign."""
        if brain in self.brains or np.isnan(self.other):
            return self.own
        return self.other


def fit_novelty(
    training: Features,
    training_brains: NDArray[np.str_],
    held_out: Features,
    held_out_brains: NDArray[np.str_],
    components: int,
    neighbours: int,
    false_alarms: float,
) -> Novelty:
    """Choose the axes, and the thresholds from held-out points.

    `own` is the quantile 1 - `false_alarms` of the distances of held-out points. `other` is the
    same for the distances to the training points of the other brains: what a new brain, as
    different from the training brains as they are from each other, would show.

    Parameters
    ----------
    training, training_brains : (n, features) finite, and the brain (n,) of each.
    held_out, held_out_brains : the same of labelled points that the classifier was not trained on.

    Raises
    ------
    InputError
        If there are too few training points, or no held-out ones.
    """
    if len(training) <= neighbours or not len(held_out):
        raise InputError(
            f"mapping: {len(training)} training points and {len(held_out)} held-out points of seen "
            f"brains; more than {neighbours} and at least one are needed; label more sections, or "
            "lower mapping.neighbours in config/config.yaml"
        )
    mean = training.mean(0)
    centred = training - mean
    _, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    axes = np.ascontiguousarray(axes[:, ::-1][:, :components], np.float32)
    reference, tested = centred @ axes, (held_out - mean) @ axes
    brains = tuple(np.unique(training_brains).tolist())
    own = kth_distance(tested, reference, neighbours)
    other: list[NDArray[np.float64]] = []
    for brain in brains:
        rest = reference[training_brains != brain]
        if len(rest) > neighbours:
            other.append(kth_distance(tested[held_out_brains == brain], rest, neighbours))
    apart = np.concatenate([np.empty(0), *other])
    return Novelty(
        mean,
        axes,
        reference,
        brains,
        neighbours,
        float(np.quantile(own, 1 - false_alarms)),
        float(np.quantile(apart, 1 - false_alarms)) if len(apart) else float("nan"),
    )


def kth_distance(points: Features, reference: Features, rank: int) -> NDArray[np.float64]:
    """(n,) Euclidean distance of points (n, d) to the `rank`-th nearest of reference (m, d)."""
    sizes = (reference**2).sum(1)
    squares = np.empty(len(points))
    for start in range(0, len(points), _BLOCK):
        block = points[start : start + _BLOCK]
        apart = sizes - 2 * (block @ reference.T)
        nearest = np.partition(apart, rank - 1, axis=1)[:, rank - 1]
        squares[start : start + _BLOCK] = nearest + (block**2).sum(1)
    return np.sqrt(np.maximum(squares, 0))


def calibrated_temperature(logits: NDArray[np.floating], labels: Sequence[int]) -> float:
    """The temperature by which logits are divided so that their softmax is calibrated.

    The one with the largest likelihood of held-out labels (Guo et al., ICML 2017), between 0.05 and
    20.
    """
    logits = np.asarray(logits, np.float64)
    of_label = np.take_along_axis(logits, np.asarray(labels)[:, None], 1)[:, 0]

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float((logsumexp(scaled, axis=1) - of_label / np.exp(log_temperature)).mean())

    bounds = (np.log(0.05), np.log(20))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))
