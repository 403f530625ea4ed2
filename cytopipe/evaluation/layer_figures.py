"""Scores and figures of the task `layers` (CytoNet Figure 6 A and B)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from plotly.colors import hex_to_rgb

from cytopipe.evaluation import charts
from cytopipe.evaluation.dots import PALETTE
from cytopipe.evaluation.layer_patches import IGNORED, in_fraction
from cytopipe.evaluation.samples import Score
from cytopipe.learning.networks import LAYERS

CLASSES = ("background", *(f"layer_{number}" for number in range(1, LAYERS)))
# of the classes; the last colour is for IGNORED
_PALETTE = map(hex_to_rgb, PALETTE[: LAYERS - 1])
COLOURS = np.array([(225, 225, 225), *_PALETTE, (255, 255, 255)], np.uint8)
SHOWN_PX = 256  # largest edge of an example; chosen, not measured: keeps the page small


@dataclass(frozen=True)
class Result:
    """The outcome of one training.

    Attributes
    ----------
    mode : `probe` or `finetune`.
    fraction, fold : of the training patches.
    f1 : (LAYERS,) of each class on the test patches; NaN for a class that they do not contain
        and that is not predicted there.
    """

    mode: str
    fraction: float
    fold: int
    f1: NDArray[np.float64]

    @property
    def macro_f1(self) -> float:
        return float(np.nanmean(self.f1))


def score_layers(results: Sequence[Result]) -> list[Score]:
    """Macro-F1 of each result, and the F1 of each class for the largest fraction."""
    largest = max(result.fraction for result in results)
    scores: list[Score] = []
    for result in results:
        split = f"{result.mode} {100 * result.fraction:g}%"
        scores.append((split, result.fold, "macro_f1", result.macro_f1))
        if result.fraction == largest:
            scores += [
                (split, result.fold, f"f1_{name}", float(value))
                for name, value in zip(CLASSES, result.f1, strict=True)
                if np.isfinite(value)
            ]
    return scores


def fraction_panel(results: Sequence[Result], ranks: NDArray[np.int64]) -> charts.Panel:
    """Macro-F1 by the number of training patches."""
    fractions = sorted({result.fraction for result in results})
    counts = [int(in_fraction(ranks, fraction).sum()) for fraction in fractions]
    series = {}
    for mode in dict.fromkeys(result.mode for result in results):
        values = [
            [r.macro_f1 for r in results if (r.mode, r.fraction) == (mode, fraction)]
            for fraction in fractions
        ]
        series[mode] = (counts, np.mean(values, axis=1), np.std(values, axis=1))
    shares = ", ".join(f"{100 * f:g}% ({n})" for f, n in zip(fractions, counts, strict=True))
    return charts.lines(
        "Macro-F1 by training data",
        f"Mean and standard deviation over five folds of {shares} of the training patches.",
        "patches, of which four fifths train",
        "macro-F1",
        series,
        log_x=True,
    )


def class_panel(results: Sequence[Result]) -> charts.Panel:
    """F1 of each class with all training patches."""
    largest = max(result.fraction for result in results)
    series = {}
    for mode in dict.fromkeys(result.mode for result in results):
        f1 = np.stack([r.f1 for r in results if (r.mode, r.fraction) == (mode, largest)])
        series[mode] = (f1.mean(0), f1.std(0))
    names = [name.replace("_", " ") for name in CLASSES]
    caption = (
        f"With {100 * largest:g}% of the training patches, mean and standard deviation over folds."
    )
    return charts.bars("F1 by layer", caption, "F1", names, series)


def example_panel(
    images: NDArray[np.uint8],
    truth: NDArray[np.int64],
    predicted: Mapping[str, NDArray[np.int64]],
    names: Sequence[str],
    count: int,
) -> charts.Panel:
    """Evenly chosen test patches, beside their true and predicted layers; then the colour key.

    Parameters
    ----------
    images, truth : (n, h, w) of the test patches, and their classes (n, rows, columns).
    predicted : mode to the predicted classes (n, rows, columns).
    names : names of the n test patches.
    """
    chosen = np.linspace(0, len(names) - 1, min(count, len(names))).astype(int)
    step = -(-images.shape[1] // SHOWN_PX)
    pictures, labels = [], []
    for index in chosen:
        pictures += [images[index, ::step, ::step], COLOURS[truth[index]]]
        labels += [names[index], "annotated"]
        for mode, classes in predicted.items():
            pictures.append(COLOURS[np.where(truth[index] == IGNORED, IGNORED, classes[index])])
            labels.append(mode)
    for colour, name in zip(COLOURS, CLASSES, strict=False):  # the key
        pictures.append(np.full((4, 8, 3), colour, np.uint8))
        labels.append(name.replace("_", " "))
    caption = (
        "The image as the network sees it, mirrored beyond the annotated part; the annotated "
        "layers and the predicted ones in the cells of the network's map; then the colours."
    )
    return charts.pictures("Test patches", caption, pictures, labels, 2 + len(predicted))
