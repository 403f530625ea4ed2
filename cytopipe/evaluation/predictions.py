"""The predictions of area classifiers on test patches, their scores and their figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from cytopipe.evaluation import charts, metrics
from cytopipe.evaluation.adjacency import bin_names, margin_of, scores_by_hops
from cytopipe.evaluation.labelled_patches import TESTS, LabelledPatches
from cytopipe.evaluation.samples import Score, write_scores
from cytopipe.logs import info

# 401 quantiles draw the same box as all values, on a far smaller page
QUANTILES = np.linspace(0, 1, 401)


@dataclass(frozen=True)
class Predictions:
    """What a classifier predicts for the patches of a test split, each array (n,).

    Logits are not kept: those of a million patches and a hundred classes take half a gigabyte.

    Attributes
    ----------
    fold : seed of the classifier.
    classes : number of classes.
    truth, predicted : classes.
    rank : of the true class, see `metrics.rank_of_truth`.
    margin : difference of the two largest logits.
    probability : softmax of the predicted class.
    """

    split: str
    fold: int
    classes: int
    truth: NDArray[np.int64]
    predicted: NDArray[np.intp]
    rank: NDArray[np.intp]
    margin: NDArray[np.floating]
    probability: NDArray[np.floating]

    @classmethod
    def of_logits(
        cls, split: str, fold: int, truth: NDArray[np.int64], logits: NDArray[np.floating]
    ) -> "Predictions":
        """Those of (n, classes) logits."""
        return cls(
            split,
            fold,
            logits.shape[1],
            truth,
            logits.argmax(1),
            metrics.rank_of_truth(truth, logits),
            margin_of(logits),
            softmax(logits, axis=1).max(axis=1),
        )

    @classmethod
    def joined(cls, parts: Sequence["Predictions"]) -> "Predictions":
        """Those of consecutive blocks of a test split."""
        first = parts[0]
        arrays = ("truth", "predicted", "rank", "margin", "probability")
        whole = {name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays}
        return cls(first.split, first.fold, first.classes, **whole)


def score_predictions(
    predictions: Sequence[Predictions], steps: NDArray[np.int64] | None
) -> list[Score]:
    """F1, accuracies and, given the hops between areas (classes, classes), errors by hops."""
    scores: list[Score] = []
    for each in predictions:
        values = metrics.scores(each.truth, each.predicted, each.rank, each.classes)
        if steps is not None:
            distance = steps[each.truth, each.predicted]
            values |= scores_by_hops(distance, each.margin, bin_names(steps))
        scores += [(each.split, each.fold, metric, value) for metric, value in values.items()]
    return scores


def mean_of(scores: Sequence[Score], split: str, metric: str) -> tuple[float, float]:
    """Mean and standard deviation over folds; NaN if there is no such score."""
    values = [v for s, _, m, v in scores if (s, m) == (split, metric)]
    return (float(np.mean(values)), float(np.std(values))) if values else (np.nan, np.nan)


def macro_f1_text(scores: Sequence[Score], splits: Sequence[str]) -> str:
    """The mean macro-F1 of each split, for the log."""
    means = (f"{split} {mean_of(scores, split, 'macro_f1')[0]:.3f}" for split in splits)
    return "macro-F1 " + ", ".join(means)


def write_results(
    heading: str,
    titles: Mapping[str, str],
    scored: Mapping[str, Sequence[Score]],
    predictions: Sequence[Predictions],
    data: LabelledPatches,
    steps: NDArray[np.int64] | None,
    run: str,
    scores: Path,
    html: Path,
) -> None:
    """Log the scores of each task, and write their table and the page of figures.

    Parameters
    ----------
    titles, scored : task to the title of its panel, and to its scores.
    predictions, data, steps : of the first task, whose errors and confusions are shown.
    """
    panels = [scores_panel(titles[task], listed) for task, listed in scored.items()]
    if steps is not None:
        panels += _hops_panels(predictions, next(iter(scored.values())), steps)
    panels += _confusion_panels(predictions, data.areas)
    charts.write(f"{heading}: {run}", panels, html)
    for task, listed in scored.items():
        info(f"{run}: {task}, {macro_f1_text(listed, data.tests)}")
    write_scores(scores, run, scored)


def scores_panel(title: str, scores: Sequence[Score]) -> charts.Panel:
    """The five scores of each test split."""
    names = {
        "macro_f1": "macro-F1",
        "macro_f1_present": "macro-F1, present",
        "weighted_f1": "weighted F1",
        "top1": "top-1",
        "top3": "top-3",
    }
    caption = (
        "Mean over seeds, and their standard deviation. Macro-F1 is over the areas that occur in a "
        "split or are predicted there, as in the paper: an area that is only predicted counts as "
        "0. Macro-F1, present, leaves such areas out. Top-1 and top-3 are shares of the patches."
    )
    return _bars(title, caption, "score", scores, names)


def _bars(
    title: str, caption: str, y: str, scores: Sequence[Score], names: Mapping[str, str]
) -> charts.Panel:
    """Metrics (metric to displayed name) side by side, one series per test split."""
    series = {}
    for split in TESTS:
        if any(s == split for s, *_ in scores):
            moments = (mean_of(scores, split, metric) for metric in names)
            means, deviations = np.transpose([*moments])
            series[split] = (means, deviations)
    return charts.bars(title, caption, y, list(names.values()), series)


def _hops_panels(
    predictions: Sequence[Predictions], scores: Sequence[Score], steps: NDArray[np.int64]
) -> list[charts.Panel]:
    """Errors and margins by hops, as in CytoNet Figure 5 B and C."""
    bins = bin_names(steps)
    names = {number: name.replace("_", " ") for number, name in bins.items()}
    metric_names = {f"errors_{bins[number]}": names[number] for number in bins if number != 0}
    others = steps[~np.eye(len(steps), dtype=bool)]
    caption = (
        "Hops from the predicted to the true area in the atlas' adjacency graph: errors of one "
        f"hop are next to a border. Of all pairs of areas, {np.mean(others == 1):.0%} are one "
        f"hop apart and {np.mean(others == 2):.0%} two."
    )
    panels: list[charts.Panel] = [
        _bars("Errors by hops", caption, "share of errors", scores, metric_names)
    ]
    caption = "Difference of the two largest logits: how sure the classifier is."
    for split, members in _by_split(predictions).items():
        distance = np.concatenate([steps[each.truth, each.predicted] for each in members])
        margins = np.concatenate([each.margin for each in members])
        series = {
            name: np.quantile(margins[distance == number], QUANTILES)
            for number, name in names.items()
            if (distance == number).any()
        }
        title = f"Margin by hops, {split}"
        panels.append(charts.boxes(title, caption, "hops", "logit margin", series))
    return panels


def _confusion_panels(
    predictions: Sequence[Predictions], areas: Sequence[str]
) -> list[charts.Panel]:
    """Confusion matrix of each test split, over all seeds."""
    panels: list[charts.Panel] = []
    for split, members in _by_split(predictions).items():
        counts = np.zeros((len(areas), len(areas)))
        for each in members:
            np.add.at(counts, (each.truth, each.predicted), 1)
        occurs = np.flatnonzero(counts.sum(1)).tolist()
        panels.append(
            charts.matrix(
                f"Confusion, {split}",
                "Share of an area's patches (row) that is predicted as each area (column).",
                [areas[row] for row in occurs],
                areas,
                counts[occurs] / counts[occurs].sum(1, keepdims=True),
                x="predicted area",
                y="true area",
                value="share",
            )
        )
    return panels


def _by_split(predictions: Sequence[Predictions]) -> dict[str, list[Predictions]]:
    by_split: dict[str, list[Predictions]] = {}
    for each in predictions:
        by_split.setdefault(each.split, []).append(each)
    return by_split
