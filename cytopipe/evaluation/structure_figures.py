"""Figures of the task `structure` (CytoNet Figure 4)."""

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
)  # fmt: skip
from cytopipe.numerics.geometry import Floats

_LOWEST = -0.5  # lower R2 are drawn here; chosen, not measured: too many components give far less
_LAYERS = "layer_"
_OF_LAYERS = {"thickness_mm": "thickness of layers", "cells_per_mm2": "cells in layers"}

Panels = list[charts.Panel]


def panels(scores: pd.DataFrame, sources: Sequence[Source], attributed: int, folds: int) -> Panels:
    """R2 by number of components and from raw inputs, parts of components, explained variance.

    Parameters
    ----------
    scores : one row per R2: split, fold, target, input, r2.
    attributed : number of first components whose part in each target is shown.
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
    """One panel per target with all splits; the six layers share a panel per split."""
    splits = list(dict.fromkeys(means.index.get_level_values("split")))
    panels: Panels = []
    for target in targets:
        if not target.startswith(_LAYERS):
            caption = f"R2 on held-out points, {how}; below {_LOWEST:g} it is drawn there."
            series = {split: _curve(means, split, target) for split in splits}
            panels.append(_lines(target, caption, series))
    for quantity, what in _OF_LAYERS.items():
        of_layers = [n for n in targets if n.startswith(_LAYERS) and n.endswith(quantity)]
        for split in splits:
            curves = {name: _curve(means, split, name) for name in of_layers}
            series = {
                name.removesuffix(f"_{quantity}").replace("_", " "): curve
                for name, curve in curves.items()
                if len(curve[0])
            }
            if series:
                title = f"{what}, {split}"
                panels.append(_lines(title, f"R2 of the {title}, {how}.", series))
    return panels


def _lines(
    title: str, caption: str, series: Mapping[str, tuple[Floats, Floats, Floats]]
) -> charts.Panel:
    return charts.lines(title, caption, "principal components", "R2", series, log_x=True)


def _curve(means: pd.DataFrame, split: str, target: str) -> tuple[Floats, Floats, Floats]:
    """Numbers of components, mean R2 and standard deviation of one target."""
    inputs = means.index.get_level_values("input").unique()
    counts = sorted(int(name.split()[0]) for name in inputs if name != RAW)
    known = [count for count in counts if (split, target, name_of(count)) in means.index]
    rows = means.loc[[(split, target, name_of(count)) for count in known]]
    return np.array(known, float), rows["mean"].to_numpy(), rows["std"].to_numpy()


def _raw(means: pd.DataFrame, targets: Sequence[str]) -> charts.Panel:
    known = means.xs(RAW, level="input").index.get_level_values("target")
    shown = [target for target in targets if target in known]
    series = {}
    for split in dict.fromkeys(means.index.get_level_values("split")):
        rows = means.reindex([(split, target, RAW) for target in shown])
        series[split] = (rows["mean"].to_numpy(), rows["std"].to_numpy())
    caption = (
        "R2 on held-out samples of regressions on all dimensions, where these are fewer than the "
        "samples."
    )
    return charts.bars("From raw inputs", caption, "R2", shown, series)


def _attribution(sources: Sequence[Source], count: int) -> charts.Panel:
    names: list[str] = []
    parts = []
    for source in sources:
        if source.split == FEATURES:
            names += source.targets
            rows = attribution(source, count)
            missing = count - rows.shape[1]
            parts.append(np.pad(rows, [(0, 0), (0, missing)], constant_values=np.nan))
    return charts.matrix(
        "Parts of components",
        "Absolute coefficient of each component in a regression on all of these, times the "
        "component's standard deviation over the target's. Components are of the points, for "
        "densities of cells of the patches of layers.",
        names,
        [f"PC {n + 1}" for n in range(count)],
        np.vstack(parts),
        x="component",
        y="target",
        value="part",
    )


def _variance(sources: Sequence[Source]) -> charts.Panel:
    series: dict[str, tuple[NDArray[np.intp], Floats, Floats]] = {}
    for source in sources:
        shares = explained_variance(source)
        counts = np.arange(1, len(shares) + 1)
        # a split's first source are the points; a second one, patches of layers, is not shown
        series.setdefault(source.split, (counts, shares, np.zeros(len(shares))))
    caption = (
        "Cumulative share of the variance of the points. Profiles are z-scored, features are not."
    )
    return charts.lines(
        "Explained variance", caption, "principal components", "share", series, log_x=True
    )
