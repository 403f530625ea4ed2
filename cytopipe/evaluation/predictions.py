"""What a classifier of areas answers on test patches: its scores and its figures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytopipe.evaluation import charts, metrics
from cytopipe.evaluation.adjacency import bin_names, margin_of, scores_by_hops
from cytopipe.evaluation.labelled import TESTS

Score = tuple[str, int, str, float]  # split, fold, metric, value

# a box of so many quantiles looks like that of all values, on a page that is far smaller
QUANTILES = np.linspace(0, 1, 401)


@dataclass(frozen=True)
class Answers:
    """Logits (n, classes) of the patches of a test split, and their classes (n,).

    Attributes
    ----------
    fold : seed of the classifier.
    """

    split: str
    fold: int
    truth: NDArray[np.int64]
    logits: NDArray[np.float32]

    @property
    def predicted(self) -> NDArray[np.intp]:
        return self.logits.argmax(1)


def scores_of(answers: Sequence[Answers], steps: NDArray[np.int64] | None) -> list[Score]:
    """F1 and accuracies and, given the hops between areas (classes, classes), errors by hops."""
    found: list[Score] = []
    for one in answers:
        values = metrics.scores(one.truth, one.logits)
        if steps is not None:
            distance = steps[one.truth, one.predicted]
            values |= scores_by_hops(distance, margin_of(one.logits), bin_names(steps))
        found += [(one.split, one.fold, metric, value) for metric, value in values.items()]
    return found


def mean_of(scores: Sequence[Score], split: str, metric: str) -> tuple[float, float]:
    """Mean and standard deviation over folds; NaN without any."""
    values = [v for s, _, m, v in scores if (s, m) == (split, metric)]
    return (float(np.mean(values)), float(np.std(values))) if values else (np.nan, np.nan)


def bars_of(title: str, y: str, scores: Sequence[Score], named: dict[str, str]) -> charts.Bars:
    """Metrics (metric to the name shown) side by side, a series a test split."""
    splits = [split for split in TESTS if any(s == split for s, *_ in scores)]
    series = {}
    for split in splits:
        means, deviations = zip(*(mean_of(scores, split, metric) for metric in named), strict=True)
        series[split] = (np.array(means), np.array(deviations))
    return charts.Bars(title, y, list(named.values()), series)


def scores_panel(title: str, scores: Sequence[Score]) -> tuple[charts.Panel, str]:
    """The four scores of each test split."""
    named = {
        "macro_f1": "macro-F1", "weighted_f1": "weighted F1", "top1": "top-1", "top3": "top-3"
    }  # fmt: skip
    return bars_of(title, "score", scores, named), (
        "Mean over seeds, and their standard deviation. Macro-F1 is over the areas that occur in a "
        "split, top-1 and top-3 are shares of its patches."
    )


def hops_panels(
    answers: Sequence[Answers], scores: Sequence[Score], steps: NDArray[np.int64]
) -> list[tuple[charts.Panel, str]]:
    """Errors and margins by hops, as in CytoNet Figure 5 B and C."""
    bins = bin_names(steps)
    named = {f"errors_{name}": _shown(name) for number, name in bins.items() if number != 0}
    others = steps[~np.eye(len(steps), dtype=bool)]
    panels: list[tuple[charts.Panel, str]] = [
        (
            bars_of("Errors by hops", "share of errors", scores, named),
            "Hops from the predicted to the true area in the atlas' adjacency graph: errors of one "
            f"hop are next to a border. Of all pairs of areas, {np.mean(others == 1):.0%} are one "
            f"hop apart and {np.mean(others == 2):.0%} two.",
        )
    ]
    for split in dict.fromkeys(one.split for one in answers):
        mine = [one for one in answers if one.split == split]
        distance = np.concatenate([steps[one.truth, one.predicted] for one in mine])
        margins = np.concatenate([margin_of(one.logits) for one in mine])
        series = {
            _shown(name): np.quantile(margins[distance == number], QUANTILES)
            for number, name in bins.items()
            if (distance == number).any()
        }
        panels.append(
            (
                charts.Boxes(f"Margin by hops, {split}", "hops", "logit margin", series),
                "Difference of the two largest logits: how sure the classifier is.",
            )
        )
    return panels


def confusion_panels(
    answers: Sequence[Answers], areas: Sequence[str]
) -> list[tuple[charts.Panel, str]]:
    """Where the patches of each area go, all seeds together; a panel a test split."""
    panels: list[tuple[charts.Panel, str]] = []
    for split in dict.fromkeys(one.split for one in answers):
        counts = np.zeros((len(areas), len(areas)))
        for one in answers:
            if one.split == split:
                np.add.at(counts, (one.truth, one.predicted), 1)
        of_area = counts.sum(1)
        occurs = of_area > 0
        shares = counts[occurs] / of_area[occurs, None]
        rows = [area for area, here in zip(areas, occurs, strict=True) if here]
        panels.append(
            (
                charts.Matrix(
                    f"Confusion, {split}",
                    rows,
                    areas,
                    shares,
                    x="predicted area",
                    y="true area",
                    value="share",
                ),
                "Share of an area's patches (row) that is predicted as each area (column).",
            )
        )
    return panels


def _shown(name: str) -> str:
    return name.replace("_", " ")
