"""Figures of the task `structure`: the counterparts of CytoNet Figure 4."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytopipe.evaluation import charts
from cytopipe.evaluation.regression import (
    FEATURES,
    RAW,
    Source,
    attribution,
    explained_variance,
    name_of,
)

_LOWEST = -0.5  # an R2 below is drawn here: on too many components it may be far below
_LAYERS = "layer_"

Floats = NDArray[np.float64]
Panels = list[tuple[charts.Panel, str]]


def panels(scores: pd.DataFrame, sources: Sequence[Source], attributed: int, folds: int) -> Panels:
    """R2 by components and from all of them, parts of the components, explained variance.

    Parameters
    ----------
    scores : split, fold, target, input, r2 of a row.
    sources : what was regressed on.
    attributed : first components whose part in each target is shown.
    """
    means = scores.groupby(["split", "target", "input"]).r2.agg(["mean", "std"]).fillna(0)
    means["mean"] = means["mean"].clip(lower=_LOWEST)
    targets = list(dict.fromkeys(name for source in sources for name in source.targets))
    return [
        *_curves(means, targets, f"mean and deviation of {folds} folds"),
        _raw(means, targets),
        _attribution(sources, attributed),
        _variance(sources),
    ]


def _curves(means: pd.DataFrame, targets: Sequence[str], how: str) -> Panels:
    """A panel a target, features beside profiles; the six layers share one a split."""
    splits = list(dict.fromkeys(means.index.get_level_values("split")))
    found: Panels = []
    single = [name for name in targets if not name.startswith(_LAYERS)]
    for target in single:
        series = {split: _curve(means, split, target) for split in splits}
        caption = f"R2 on held-out points, {how}; below {_LOWEST:g} it is drawn there."
        found.append((_lines(target, series), caption))
    for quantity in ("thickness_mm", "cells_per_mm2"):
        of_layers = [n for n in targets if n.startswith(_LAYERS) and n.endswith(quantity)]
        for split in splits:
            curves = {name: _curve(means, split, name) for name in of_layers}
            series = {
                name.removesuffix(f"_{quantity}").replace("_", " "): curve
                for name, curve in curves.items()
                if len(curve[0])
            }
            if series:
                what = {"thickness_mm": "thickness of layers", "cells_per_mm2": "cells in layers"}
                title = f"{what[quantity]}, {split}"
                found.append((_lines(title, series), f"R2 of the {title}, {how}."))
    return found


def _lines(title: str, series: Mapping[str, tuple[Floats, Floats, Floats]]) -> charts.Lines:
    return charts.Lines(title, "principal components", "R2", series, log_x=True)


def _curve(means: pd.DataFrame, split: str, target: str) -> tuple[Floats, Floats, Floats]:
    """Numbers of components, mean R2 and deviation of one target."""
    inputs = means.index.get_level_values("input").unique()
    counts = sorted(int(name.split()[0]) for name in inputs if name != RAW)
    keys = {count: (split, target, name_of(count)) for count in counts}
    known = [count for count, key in keys.items() if key in means.index]
    of_known = means.loc[[keys[count] for count in known]]
    return np.array(known, float), of_known["mean"].to_numpy(), of_known["std"].to_numpy()


def _raw(means: pd.DataFrame, targets: Sequence[str]) -> tuple[charts.Panel, str]:
    known = means.xs(RAW, level="input").index.get_level_values("target")
    shown = [target for target in targets if target in known]
    series = {}
    for split in dict.fromkeys(means.index.get_level_values("split")):
        of_split = means.reindex([(split, target, RAW) for target in shown])
        series[split] = (of_split["mean"].to_numpy(), of_split["std"].to_numpy())
    return (
        charts.Bars("From raw inputs", "R2", shown, series),
        "R2 on held-out samples of regressions on all dimensions, where these are fewer than the "
        "samples.",
    )


def _attribution(sources: Sequence[Source], count: int) -> tuple[charts.Panel, str]:
    names: list[str] = []
    found = []
    for source in sources:
        if source.split == FEATURES:
            names += source.targets
            shares = attribution(
                source.values, source.targets, count, standardise=source.standardise
            )
            missing = count - shares.shape[1]
            found.append(np.pad(shares, [(0, 0), (0, missing)], constant_values=np.nan))
    return (
        charts.Matrix(
            "Parts of components",
            names,
            [f"PC {n + 1}" for n in range(count)],
            np.vstack(found),
            x="component",
            y="target",
            value="part",
        ),
        "Absolute coefficient of each component in a regression on all of these, times the "
        "component's standard deviation over the target's. Components are of the points, for "
        "densities of cells of the patches of layers.",
    )


def _variance(sources: Sequence[Source]) -> tuple[charts.Panel, str]:
    series: dict[str, tuple[NDArray[np.intp], Floats, Floats]] = {}
    for source in sources:
        shares = explained_variance(source.values, standardise=source.standardise)
        counts = np.arange(1, len(shares) + 1)
        # the first source of a split has the points, a second one patches of layers
        series.setdefault(source.split, (counts, shares, np.zeros(len(shares))))
    return (
        charts.Lines("Explained variance", "principal components", "share", series, log_x=True),
        "Cumulative share of the variance of the points. Profiles are z-scored, features are not.",
    )
