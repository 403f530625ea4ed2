"""Points with their features, and the table of scores, as all tasks use them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytopipe import provenance
from cytopipe.files import InputError, Output
from cytopipe.formats import tables
from cytopipe.formats.arrays import read_features

Score = tuple[str, int, str, float]  # split, fold, metric, value


@dataclass(frozen=True)
class Samples:
    """Points (PointRow, index 0 to n - 1) and their features (n, d), all finite."""

    points: pd.DataFrame
    values: NDArray[np.float32]

    def where(self, mask: NDArray[np.bool_]) -> "Samples":
        """The samples for which `mask` (n,) is true."""
        return Samples(self.points[mask].reset_index(drop=True), self.values[mask])


def read_samples(
    points: Mapping[str, Path],
    features: Mapping[str, Path],
    rows: Mapping[str, Path],
    *,
    most: int | None = None,
    seed: int = 0,
) -> Samples:
    """Read the usable points of brains that have features.

    Parameters
    ----------
    points, features, rows : brain to its points (PointRow), its .npy array and the table of the
        array's rows (FeatureRow). Arrays are memory-mapped: only the drawn rows are read.
    most : largest number of points per brain, drawn without replacement; None for all.
    seed : of the draws. All runs draw the same points.

    Raises
    ------
    InputError
        If rows and points of a brain differ, or no brain has a usable point with features.
    """
    frames, arrays = [], []
    for brain, path in points.items():
        table = tables.read(tables.PointRow, path)
        listed = tables.read(tables.FeatureRow, rows[brain])
        if len(table) != len(listed) or (table.point_id != listed.point_id).any():
            raise InputError(f"{rows[brain]}: not the rows of {path}; rerun the features")
        # the points' own status, not that of the features: all runs draw from the same points
        usable = np.flatnonzero(table.status == "ok")
        if most is not None and len(usable) > most:
            drawn = np.random.default_rng(seed).choice(len(usable), most, replace=False)
            usable = usable[np.sort(drawn)]
        values = np.asarray(read_features(features[brain], len(table))[usable], np.float32)
        finite = np.isfinite(values).all(1)
        frames.append(table.iloc[usable[finite]])
        arrays.append(values[finite])
    if not sum(map(len, frames)):
        raise InputError(f"{', '.join(map(str, points.values()))}: no usable point has features")
    return Samples(pd.concat(frames, ignore_index=True), np.concatenate(arrays))


@provenance.recorded
def run(*, parts: Sequence[Path], scores: Output) -> None:
    """Gather the scores of all tasks and runs in one table.

    Parameters
    ----------
    parts : one table per task and run; may be empty.
    scores : the table to write (ScoreRow).
    """
    frames = [tables.frame_of(tables.ScoreRow, [])]
    frames += [tables.read(tables.ScoreRow, part) for part in parts]
    tables.write(tables.ScoreRow, pd.concat(frames, ignore_index=True), scores)


def write_scores(path: Path, run: str, scores: Mapping[str, Sequence[Score]]) -> None:
    """Write the scores of one run: task to its scores."""
    rows = [
        tables.ScoreRow(run, task, *score) for task, listed in scores.items() for score in listed
    ]
    tables.write_rows(tables.ScoreRow, rows, path)
