"""The map of one brain: a table with one row per point, in the order of the points."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import softmax

from cytopipe import provenance
from cytopipe.files import InputError, Output
from cytopipe.formats import linear_classifier, tables
from cytopipe.formats.linear_classifier import LinearClassifier
from cytopipe.logs import info
from cytopipe.mapping import reference as references
from cytopipe.mapping.reference import Reference
from cytopipe.mapping.smoothing import point_graph, random_walk
from cytopipe.study.config import Mapping

# points whose features are in memory at a time: 160 MB of 2,048 features
_BLOCK = 20_000
# kept areas per point, as many as the papers' top-3 accuracy; a row of all of Julich-Brain's areas
# would take as much room as the features
_KEPT = ("predicted", "second", "third")
# digits of probabilities, margins and novelties: rounded numbers take a third of the room
_DIGITS = 4


def classify(
    features: NDArray[np.float32],
    usable: NDArray[np.bool_],
    brain: str,
    classifier: LinearClassifier,
    reference: Reference,
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Classify points block by block, so that few features are in memory.

    Parameters
    ----------
    features, usable : (n, features), may be a memory map; whether a point has features (n,).
    brain : the brain of the points, which decides the threshold of novelty.

    Returns
    -------
    Calibrated probabilities (n, classes); logit margins (n,), the difference of the two largest
    logits before they are calibrated, as in the paper; and novelties (n,), distances in units of
    the threshold. All NaN for points without features.
    """
    probabilities = np.full((len(features), len(classifier.classes)), np.nan, np.float32)
    margins, novelties = np.full((2, len(features)), np.nan)
    rows = np.flatnonzero(usable)
    threshold = reference.novelty.threshold(brain)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        values = np.asarray(features[block], np.float32)
        logits = classifier.logits(values)
        top = np.partition(logits, -2, axis=1)[:, -2:]
        margins[block] = top[:, 1] - top[:, 0]
        probabilities[block] = softmax(logits / reference.temperature, axis=1)
        novelties[block] = reference.novelty.distance(values) / threshold
    return probabilities, margins, novelties


@provenance.recorded
def run(
    *,
    brain: str,
    points: Path,
    features: Path,
    rows: Path,
    classifier: Path,
    reference: Path,
    areas: Output,
    threads: int,
    params: Mapping,
) -> None:
    """Predict the area of every point of a brain.

    A point without features has no area, and the status that says why. A point whose features are
    unlike those of all training points keeps its prediction, with the status `unlike_training`.

    Parameters
    ----------
    points : points of the brain (PointRow).
    features, rows : .npy array of the points, and the table of its rows (FeatureRow).
    classifier, reference : of the evaluation, and of `run_reference`.
    areas : written: the map (MapRow), rows in the order of the points.

    Raises
    ------
    InputError
        If the features belong to other points, or are not those of the classifier.
    """
    table = tables.read(tables.PointRow, points)
    listed = tables.read(tables.FeatureRow, rows)
    if len(table) != len(listed) or (table.point_id != listed.point_id).any():
        raise InputError(f"{rows}: not the rows of {points}; rerun the features")
    judge, usual = linear_classifier.read(classifier), references.read(reference)
    array = np.load(features, mmap_mode="r")
    if array.shape != (len(table), len(judge.mean)):
        raise InputError(
            f"{features}: {array.shape}, {points} and {classifier} need "
            f"{(len(table), len(judge.mean))}; rerun the features"
        )
    usable = (listed.status == "ok").to_numpy(bool)
    probabilities, margins, novelties = classify(array, usable, brain, judge, usual)
    foreign = novelties > 1
    mapped = _best(probabilities)
    if params.smoothing_mm > 0 and usable.any():
        graph = point_graph(table[usable])
        smoothed = random_walk(graph, probabilities[usable], ~foreign[usable], params.smoothing_mm)
        changed = smoothed.argmax(1) != mapped[usable]
        info(f"{brain}: smoothing changes {changed.mean():.1%} of the points")
        mapped[usable] = smoothed.argmax(1)
    status = np.where(foreign, "unlike_training", listed.status.to_numpy(str))
    frame = _frame(table.point_id, judge.classes, probabilities, mapped)
    frame["margin"] = np.round(margins, _DIGITS)
    frame["novelty"] = np.round(novelties, _DIGITS)
    frame["status"] = status
    tables.write(tables.MapRow, frame, areas)
    info(
        f"{brain}: {usable.sum()} of {len(table)} points mapped, {foreign.sum()} "
        f"({foreign.sum() / max(usable.sum(), 1):.1%}) unlike the training data"
    )


def _best(probabilities: NDArray[np.float32]) -> NDArray[np.intp]:
    """(n,) most probable class; -1 without probabilities."""
    known = np.isfinite(probabilities[:, 0])
    best = np.full(len(probabilities), -1, np.intp)
    best[known] = probabilities[known].argmax(1)
    return best


def _frame(
    point_ids: "pd.Series[str]",
    classes: tuple[str, ...],
    probabilities: NDArray[np.float32],
    mapped: NDArray[np.intp],
) -> pd.DataFrame:
    """The columns of a MapRow that name areas, with their probabilities."""
    names = np.array([*classes, ""])  # -1 takes the last one: no area
    frame = pd.DataFrame({"point_id": point_ids, "mapped": names[mapped]})
    known = np.isfinite(probabilities[:, 0])
    order = np.full((len(probabilities), len(_KEPT)), -1, np.intp)
    kept = min(len(_KEPT), len(classes))
    order[known, :kept] = np.argsort(-probabilities[known], axis=1, kind="stable")[:, :kept]
    for rank, column in enumerate(_KEPT):
        of_rank = np.take_along_axis(probabilities, order[:, rank, None], 1)[:, 0]
        frame[column] = names[order[:, rank]]
        name = "probability" if rank == 0 else f"{column}_probability"
        rounded = np.round(of_rank.astype(np.float64), _DIGITS)
        frame[name] = np.where(order[:, rank] < 0, np.nan, rounded)
    return frame
