"""A linear classifier of areas: the artifact in which the evaluation hands it to the map."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cytopipe import provenance
from cytopipe.files import InputError, atomic_write, reading, require


@dataclass(frozen=True)
class LinearClassifier:
    """A linear layer without bias on scaled features.

    Attributes
    ----------
    classes : names of the areas.
    mean, scale : (features,) what is subtracted from each feature, and what it is divided by.
    weights : (classes, features).
    """

    classes: tuple[str, ...]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    weights: NDArray[np.float32]

    def logits(self, features: NDArray[np.floating]) -> NDArray[np.floating]:
        """(n, classes) of features (n, features)."""
        return np.asarray((features - self.mean) / self.scale @ self.weights.T)


def write(classifier: LinearClassifier, path: Path) -> None:
    """Write a classifier as .npz; equal classifiers give equal bytes."""
    with atomic_write(path) as beside:
        np.savez(
            beside,
            allow_pickle=False,
            classes=np.array(classifier.classes),
            mean=classifier.mean,
            scale=classifier.scale,
            weights=classifier.weights,
            **{key: np.array(text) for key, text in provenance.entry().items()},
        )


def read(path: Path) -> LinearClassifier:
    """Read a classifier.

    Raises
    ------
    InputError
        If the file is missing or is not a classifier.
    """
    remedy = "delete it and rerun the evaluation"
    require(path, remedy)
    with reading(path, "classifier", remedy), open(path, "rb") as opened:
        arrays = np.load(opened, allow_pickle=False)
        classifier = LinearClassifier(
            tuple(arrays["classes"].tolist()), arrays["mean"], arrays["scale"], arrays["weights"]
        )
        shape = (len(classifier.classes), len(classifier.mean))
        if classifier.weights.shape != shape or len(classifier.scale) != shape[1]:
            raise InputError(
                f"{path}: {classifier.weights.shape} weights for {shape[0]} classes of {shape[1]} "
                f"features; {remedy}"
            )
    return classifier
