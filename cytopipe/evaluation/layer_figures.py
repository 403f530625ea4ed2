"""Scores and figures of the task `layers` (CytoNet Figure 6 A and B)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from plotly.colors import hex_to_rgb

from cytopipe.evaluation import charts
from cytopipe.evaluation.layer_patches import IGNORED, LayerPatches, share_of
from cytopipe.learning.networks import LAYERS

CLASSES = ("background", *(f"layer_{number}" for number in range(1, LAYERS)))
# colours that colour-blind people can tell apart; the last is for what lies beyond a patch
COLOURS = np.array(
    [
        (225, 225, 225),
        *(hex_to_rgb(name) for name in charts.PALETTE[: LAYERS - 1]),
        (255, 255, 255),
    ],
    np.uint8,
)
SHOWN_PX = 256  # edge of an example, at most


@dataclass(frozen=True)
class Result:
    """What one training gave.

    Attributes
    ----------
    mode : `probe` or `finetune`.
    fraction, fold : of the training patches.
    f1 : (LAYERS,) of each class on the test patches; NaN for one that they do not show.
    """

    mode: str
    fraction: float
    fold: int
    f1: NDArray[np.float64]

    @property
    def macro_f1(self) -> float:
        return float(np.nanmean(self.f1))


def scores_of(results: Sequence[Result]) -> list[tuple[str, int, str, float]]:
    """Split, fold, metric and value; the classes' own F1 for the largest fraction alone."""
    largest = max(result.fraction for result in results)
    found = []
    for result in results:
        split = f"{result.mode} {100 * result.fraction:g}%"
        found.append((split, result.fold, "macro_f1", result.macro_f1))
        if result.fraction == largest:
            found += [
                (split, result.fold, f"f1_{name}", float(value))
                for name, value in zip(CLASSES, result.f1, strict=True)
                if np.isfinite(value)
            ]
    return found


def fraction_panel(results: Sequence[Result], ranks: NDArray[np.int64]) -> tuple[charts.Panel, str]:
    """Macro-F1 by the number of training patches."""
    fractions = sorted({result.fraction for result in results})
    counts = [int(share_of(ranks, fraction).sum()) for fraction in fractions]
    series = {}
    for mode in dict.fromkeys(result.mode for result in results):
        values = [
            [r.macro_f1 for r in results if (r.mode, r.fraction) == (mode, fraction)]
            for fraction in fractions
        ]
        series[mode] = (counts, np.mean(values, axis=1), np.std(values, axis=1))
    shares = ", ".join(f"{100 * f:g}% ({n})" for f, n in zip(fractions, counts, strict=True))
    return charts.Lines(
        "Macro-F1 by training data", "patches, of which four fifths train", "macro-F1", series, True
    ), f"Mean and standard deviation over five folds of {shares} of the training patches."


def class_panel(results: Sequence[Result]) -> tuple[charts.Panel, str]:
    """F1 of each class with all training patches."""
    largest = max(result.fraction for result in results)
    series = {}
    for mode in dict.fromkeys(result.mode for result in results):
        f1 = np.stack([r.f1 for r in results if (r.mode, r.fraction) == (mode, largest)])
        series[mode] = (f1.mean(0), f1.std(0))
    names = [name.replace("_", " ") for name in CLASSES]
    return charts.Bars("F1 by layer", "F1", names, series), (
        f"With {100 * largest:g}% of the training patches, mean and standard deviation over folds."
    )


def example_panel(
    tested: LayerPatches,
    predicted: Mapping[str, NDArray[np.int64]],
    names: Sequence[str],
    count: int,
) -> tuple[charts.Panel, str]:
    """Test patches, evenly chosen, beside their true and predicted layers; then the colours' key.

    Parameters
    ----------
    predicted : mode to (n, rows, columns).
    names : of the n test patches.
    """
    chosen = np.linspace(0, len(names) - 1, min(count, len(names))).astype(int)
    step = -(-tested.images.shape[1] // SHOWN_PX)
    pictures, captions = [], []
    for place in chosen:
        labels = tested.labels[place]
        pictures += [tested.images[place, ::step, ::step], COLOURS[labels]]
        captions += [names[place], "annotated"]
        for mode, answers in predicted.items():
            pictures.append(COLOURS[np.where(labels == IGNORED, IGNORED, answers[place])])
            captions.append(mode)
    for colour, name in zip(COLOURS, CLASSES, strict=False):  # the key
        pictures.append(np.full((4, 8, 3), colour, np.uint8))
        captions.append(name.replace("_", " "))
    return charts.Pictures("Test patches", pictures, captions, 2 + len(predicted)), (
        "The image as the network sees it, mirrored beyond the annotated part; the annotated "
        "layers and the predicted ones in the cells of the network's map; then the colours."
    )
