"""Task `coordinates`: how well regressors of one brain predict positions in the others (7.3)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold

from cytopipe import provenance
from cytopipe.evaluation import charts
from cytopipe.evaluation.samples import Score, StoredSamples, find_samples, write_scores
from cytopipe.evaluation.stored_features import Features, StoredFeatures
from cytopipe.files import InputError, Output
from cytopipe.logs import info
from cytopipe.numerics.geometry import Floats
from cytopipe.study.config import CoordinatesTask

POSITION = ["x_mm", "y_mm", "z_mm"]
AXES = {"x": "left-right", "y": "anterior-posterior", "z": "inferior-superior"}
# suffix of the error of a baseline, which predicts the mean position of the fitted points
CONSTANT = ", constant"


def errors_mm(truth_mm: Floats, predicted_mm: Floats) -> dict[str, float]:
    """Mean distances (mm) between true and predicted positions (n, 3) in the template.

    Returns
    -------
    error_x_mm, error_y_mm, error_z_mm : mean absolute differences along each axis; in Table 4,
        the Euclidean distance by dimension.
    error_3d_mm : mean Euclidean distance.
    """
    difference_mm = predicted_mm - truth_mm
    along = np.abs(difference_mm).mean(0)
    errors = {f"error_{axis}_mm": float(mean) for axis, mean in zip(AXES, along, strict=True)}
    return errors | {"error_3d_mm": float(np.linalg.norm(difference_mm, axis=1).mean())}


def transfer(
    values: Features | StoredFeatures,
    positions_mm: Floats,
    brains: NDArray[np.str_],
    *,
    brain: str,
    folds: int,
    seed: int,
) -> tuple[list[Score], Floats]:
    """Fit a linear regression per fold on one brain, and apply it to every brain.

    Neighbouring points share much of their patches and fall into different folds. The error on the
    fitted brain's own held-out points is therefore a lower bound; that of the others is the result.

    Parameters
    ----------
    values, positions_mm, brains : (n, d) raw features, (n, 3) in the template and (n,) of samples.
        Stored features are read brain by brain.
    brain, folds, seed : the brain to fit on, and its shuffled folds.

    Returns
    -------
    Scores, whose split is the brain; those of the fitted brain are of the held-out fold. And the
    Euclidean error (n,) of each sample in mm, mean over the regressors that were not fitted on it.
    """
    own = np.flatnonzero(brains == brain)
    by_brain = {str(name): np.flatnonzero(brains == name) for name in np.unique(brains)}
    scores: list[Score] = []
    total, times = np.zeros(len(values)), np.zeros(len(values))
    splits = KFold(folds, shuffle=True, random_state=seed).split(own)
    for fold, (fitted, held_out) in enumerate(splits):
        inputs = values[own[fitted]].astype(np.float64)
        regression = LinearRegression().fit(inputs, positions_mm[own[fitted]])
        mean_mm = positions_mm[own[fitted]].mean(0)
        for name, members in (by_brain | {brain: own[held_out]}).items():
            truth_mm = positions_mm[members]
            predicted_mm = regression.predict(values[members].astype(np.float64))
            errors = errors_mm(truth_mm, predicted_mm)
            baseline = errors_mm(truth_mm, np.broadcast_to(mean_mm, truth_mm.shape))
            scores += [(name, fold, metric, value) for metric, value in errors.items()]
            scores += [(name, fold, m + CONSTANT, value) for m, value in baseline.items()]
            total[members] += np.linalg.norm(predicted_mm - truth_mm, axis=1)
            times[members] += 1
    return scores, total / times


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
    points, features, rows : brain to its points (PointRow), .npy array and rows (FeatureRow).
    scores : the table to write (ScoreRow): `split` is the brain, `fold` the regressor's fold.
    html, run : as in `run_areas`.

    Raises
    ------
    InputError
        If the brain to fit on is not among `points`, or has no more points than folds.
    """
    fitted = params.named_brain
    if fitted not in points:
        raise InputError(
            f"evaluation.coordinates.brain is {fitted}; choose one of {', '.join(points)}"
        )
    samples = find_samples(points, features, rows, most=params.points, seed=params.seed)
    samples = samples.where(np.isfinite(samples.points[POSITION].to_numpy()).all(1))
    samples = samples.where(samples.features.finite())
    own = int((samples.points.brain == fitted).sum())
    if own <= params.folds:
        raise InputError(
            f"{points[fitted]}: {own} usable points with features, too few for "
            f"{params.folds} folds; look at the coordinates in the report"
        )
    if own <= samples.features.width:
        info(
            f"{fitted}: {own} points for {samples.features.width} features: the regression "
            "is underdetermined, use more points"
        )
    listed, error_mm = transfer(
        samples.features,
        samples.points[POSITION].to_numpy(),
        samples.points.brain.to_numpy(str),
        brain=fitted,
        folds=params.folds,
        seed=params.seed,
    )
    write_scores(scores, run, {"coordinates": listed})
    table = pd.DataFrame(listed, columns=["brain", "fold", "metric", "value"])
    means = table.groupby(["brain", "metric"]).value.agg(["mean", "std"])
    for brain in table.brain.unique():
        error, baseline = (means["mean"][brain, f"error_3d_mm{end}"] for end in ("", CONSTANT))
        info(f"{run}: {brain} off by {error:.1f} mm, a constant by {baseline:.1f} mm")
    heading = f"{run}: coordinates predicted by regressors of {fitted}"
    charts.write(heading, _panels(samples, error_mm, means, params), html)


def _panels(
    samples: StoredSamples, error_mm: Floats, means: pd.DataFrame, params: CoordinatesTask
) -> list[charts.Panel]:
    brains = sorted(samples.points.brain.unique())

    def bars(metric: str) -> tuple[Floats, Floats]:
        of_brains = means.loc[[(brain, metric) for brain in brains]]
        return of_brains["mean"].to_numpy(), of_brains["std"].to_numpy()

    by_axis = {name: bars(f"error_{axis}_mm") for axis, name in AXES.items()}
    in_space = {"features": bars("error_3d_mm"), "constant": bars("error_3d_mm" + CONSTANT)}
    fitted = params.named_brain
    by_axis_caption = (
        f"Mean and deviation of {params.folds} regressors, each fitted on {fitted} without "
        f"one fold; {fitted} itself is scored on the fold that was held out, whose "
        "neighbours on the cortex are not."
    )
    in_space_caption = (
        "Beside the error of predicting the mean position of the fitted points for all."
    )
    return [
        charts.bars("Error by axis", by_axis_caption, "mean distance (mm)", brains, by_axis),
        charts.bars("Error in space", in_space_caption, "mean distance (mm)", brains, in_space),
        charts.scatter(
            "Seen from the right",
            "Where the points of all brains are placed badly.",
            ("y (mm, to anterior)", "z (mm, to superior)"),
            samples.points[["y_mm", "z_mm"]].to_numpy(),
            {"error in space (mm)": error_mm},
            {
                "point": samples.points.point_id.to_numpy(),
                "area": samples.points.area.to_numpy(),
                "error (mm)": np.round(error_mm, 1),
            },
        ),
    ]
