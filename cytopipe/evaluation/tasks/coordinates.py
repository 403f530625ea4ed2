"""Task `coordinates`: regressors of one brain tell where points of the others lie (section 7.3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold

from cytopipe import provenance
from cytopipe.evaluation import charts
from cytopipe.evaluation.samples import Samples, read_samples, write_scores
from cytopipe.files import InputError, Output
from cytopipe.logs import info
from cytopipe.study.config import CoordinatesTask

POSITION = ("x_mm", "y_mm", "z_mm")
AXES = {"x": "left-right", "y": "anterior-posterior", "z": "inferior-superior"}
# beside an error: that of predicting the mean position of the points that were fitted on
CONSTANT = ", constant"
_SHOWN = 2000  # points of a brain in the figure: a page of all of them would not open

Floats = NDArray[np.floating]


def errors_mm(truth_mm: Floats, predicted_mm: Floats) -> dict[str, float]:
    """Mean distances (mm) between true and predicted positions (n, 3) in the template.

    Returns
    -------
    error_x_mm, error_y_mm, error_z_mm : along left-right, anterior-posterior, inferior-superior:
        mean absolute differences, which Table 4 calls the Euclidean distance by dimension.
    error_3d_mm : the Euclidean distance in space.
    """
    apart = predicted_mm - truth_mm
    along = np.abs(apart).mean(0)
    found = {f"error_{axis}_mm": float(mean) for axis, mean in zip(AXES, along, strict=True)}
    return found | {"error_3d_mm": float(np.linalg.norm(apart, axis=1).mean())}


@dataclass(frozen=True)
class Transfer:
    """What the regressors of one brain say about all.

    Attributes
    ----------
    scores : (brain, fold, metric, value); for the fitted brain itself from the held-out fold.
    error_mm : (n,) distance in space of each sample, mean over the regressors that had not seen it.
    """

    scores: list[tuple[str, int, str, float]]
    error_mm: NDArray[np.float64]


def transfer(
    values: Floats,
    positions_mm: Floats,
    brains: NDArray[np.str_],
    *,
    brain: str,
    folds: int,
    seed: int,
) -> Transfer:
    """Fit a linear regression a fold on one brain, apply it to every brain.

    Parameters
    ----------
    values, positions_mm, brains : (n, d) raw features, (n, 3) template, (n,) of each sample.
    brain, folds, seed : the fitted brain; its shuffled folds.

    Neighbours on the cortex share much of their patches and fall into different folds: the error of
    the fitted brain's own held-out points is a lower bound, that of the other brains is the result.
    """
    own = np.flatnonzero(brains == brain)
    others = {str(name): np.flatnonzero(brains == name) for name in np.unique(brains)}
    scores = []
    total, times = np.zeros(len(values)), np.zeros(len(values))
    splits = KFold(folds, shuffle=True, random_state=seed).split(own)
    for fold, (fitted, held_out) in enumerate(splits):
        inputs = values[own[fitted]].astype(np.float64)
        regression = LinearRegression().fit(inputs, positions_mm[own[fitted]])
        mean_mm = positions_mm[own[fitted]].mean(0)
        for name, members in (others | {brain: own[held_out]}).items():
            truth_mm = positions_mm[members]
            predicted_mm = regression.predict(values[members].astype(np.float64))
            of_features = errors_mm(truth_mm, predicted_mm)
            of_nothing = errors_mm(truth_mm, np.broadcast_to(mean_mm, truth_mm.shape))
            scores += [(name, fold, metric, value) for metric, value in of_features.items()]
            scores += [(name, fold, m + CONSTANT, value) for m, value in of_nothing.items()]
            total[members] += np.linalg.norm(predicted_mm - truth_mm, axis=1)
            times[members] += 1
    return Transfer(scores, total / times)


@provenance.recorded
def run_coordinates(
    *,
    points: Mapping[str, Path],
    features: Mapping[str, Path],
    rows: Mapping[str, Path],
    scores: Output,
    html: Output,
    run: str,
    params: CoordinatesTask,
) -> None:
    """Score how well positions transfer from one brain to the others by linear regression.

    Parameters
    ----------
    points, features, rows : brain to points (PointRow), feature array (.npy), its rows.
    scores : the table to write (ScoreRow): `split` is the brain, `fold` the regressor's fold.
    html : the page of figures to write.
    run : the run whose features these are.

    Raises
    ------
    InputError
        If the brain to fit on is not among those given or has fewer points than folds.
    """
    fitted = params.named_brain
    if fitted not in points:
        raise InputError(
            f"evaluation.coordinates.brain is {fitted}; choose one of {', '.join(points)}"
        )
    found = read_samples(points, features, rows, most=params.points, seed=params.seed)
    samples = found.where(np.isfinite(found.points[list(POSITION)].to_numpy()).all(1))
    own = int((samples.points.brain == fitted).sum())
    if own <= params.folds:
        raise InputError(
            f"{points[fitted]}: {own} usable points with features, too few for "
            f"{params.folds} folds; look at the coordinates in the report"
        )
    if own <= samples.values.shape[1]:
        info(
            f"{fitted}: {own} points for {samples.values.shape[1]} features: the regression "
            "is not determined, take more points"
        )
    result = transfer(
        samples.values,
        samples.points[list(POSITION)].to_numpy(),
        samples.points.brain.to_numpy(str),
        brain=fitted,
        folds=params.folds,
        seed=params.seed,
    )
    write_scores(scores, run, "coordinates", result.scores)
    table = pd.DataFrame(result.scores, columns=["brain", "fold", "metric", "value"])
    means = table.groupby(["brain", "metric"]).value.agg(["mean", "std"])
    for brain in table.brain.unique():
        got, nothing = (means["mean"][brain, f"error_3d_mm{suffix}"] for suffix in ("", CONSTANT))
        info(f"{run}: {brain} off by {got:.1f} mm, a constant by {nothing:.1f} mm")
    heading = f"{run}: coordinates predicted by regressors of {fitted}"
    charts.write(heading, _panels(samples, result, means, params), html)


def _panels(
    samples: Samples, result: Transfer, means: pd.DataFrame, params: CoordinatesTask
) -> list[tuple[charts.Panel, str]]:
    brains = sorted(samples.points.brain.unique())

    def bars(metric: str) -> tuple[Floats, Floats]:
        of_brains = means.loc[[(brain, metric) for brain in brains]]
        return of_brains["mean"].to_numpy(), of_brains["std"].to_numpy()

    by_axis = {name: bars(f"error_{axis}_mm") for axis, name in AXES.items()}
    in_space = {"features": bars("error_3d_mm"), "constant": bars("error_3d_mm" + CONSTANT)}
    shown = samples.points.groupby("brain").sample(frac=1, random_state=params.seed)
    shown = shown.groupby("brain").head(_SHOWN).sort_index()
    chosen = shown.index.to_numpy()
    fitted = params.named_brain
    own = (
        f"Mean and deviation of {params.folds} regressors, each fitted on {fitted} without "
        f"one fold; {fitted} itself is scored on the fold that was held out, whose "
        "neighbours on the cortex are not."
    )
    return [
        (charts.Bars("Error by axis", "mean distance (mm)", brains, by_axis), own),
        (
            charts.Bars("Error in space", "mean distance (mm)", brains, in_space),
            "Beside the error of predicting the mean position of the fitted points for all.",
        ),
        (
            charts.Scatter(
                "Seen from the right",
                ("y (mm, to anterior)", "z (mm, to superior)"),
                shown[["y_mm", "z_mm"]].to_numpy(),
                {"error in space (mm)": result.error_mm[chosen]},
                {
                    "point": shown.point_id.to_numpy(),
                    "area": shown.area.to_numpy(),
                    "error (mm)": np.round(result.error_mm[chosen], 1),
                },
            ),
            "Where the points of all brains are placed badly.",
        ),
    ]
