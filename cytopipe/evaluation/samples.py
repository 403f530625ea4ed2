"""Points with their features, as the tasks take them: rows of all brains, one feature array."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytopipe import provenance
from cytopipe.files import InputError, Output
from cytopipe.formats import tables


@dataclass(frozen=True)
class Samples:
    """Points (PointRow, index 0 to n - 1) and their features (n, d), all finite."""

    points: pd.DataFrame
    values: NDArray[np.float32]

    def where(self, chosen: NDArray[np.bool_]) -> "Samples":
        """Those of a mask (n,)."""
        return Samples(self.points[chosen].reset_index(drop=True), self.values[chosen])


def read_samples(
    points: Mapping[str, Path],
    features: Mapping[str, Path],
    rows: Mapping[str, Path],
    *,
    most: int | None,
    seed: int,
) -> Samples:
    """Usable points of brains with features, at most so many a brain, drawn at random.

    Parameters
    ----------
    points, features, rows : brain to its points (PointRow), its .npy array and the table of the
        array's rows (FeatureRow). Arrays are mapped: only the rows that are drawn are read.
    most : points of a brain to draw without replacement; None for all.
    seed : of the draws; the same for every run, so that runs are compared on the same points.

    Raises
    ------
    InputError
        If rows and points of a brain differ, or no brain has a usable point.
    """
    frames, arrays = [], []
    for brain, path in points.items():
        table = tables.read(tables.PointRow, path)
        listed = tables.read(tables.FeatureRow, rows[brain])
        if len(table) != len(listed) or (table.point_id != listed.point_id).any():
            raise InputError(f"{rows[brain]}: not the rows of {path}; rerun the features")
        # the status comes from the points: all runs draw from the same ones
        usable = np.flatnonzero(table.status == "ok")
        if most is not None and len(usable) > most:
            chosen = np.random.default_rng(seed).choice(len(usable), most, replace=False)
            usable = usable[np.sort(chosen)]
        values = np.asarray(np.load(features[brain], mmap_mode="r")[usable], np.float32)
        finite = np.isfinite(values).all(1)
        frames.append(table.iloc[usable[finite]])
        arrays.append(values[finite])
    found = pd.concat(frames, ignore_index=True) if frames else tables.frame_of(tables.PointRow, [])
    if found.empty:
        raise InputError(f"{', '.join(map(str, points.values()))}: no usable point has features")
    return Samples(found, np.concatenate(arrays))


@provenance.recorded
def run(*, parts: Sequence[Path], scores: Output) -> None:
    """Gather the scores of all tasks and runs in one table.

    Parameters
    ----------
    parts : one table per task and run; there may be none.
    scores : the table to write (ScoreRow).
    """
    every = [
        tables.frame_of(tables.ScoreRow, []),
        *(tables.read(tables.ScoreRow, part) for part in parts),
    ]
    tables.write(tables.ScoreRow, pd.concat(every, ignore_index=True), scores)


def write_scores(
    path: Path, run: str, task: str, scores: Sequence[tuple[str, int, str, float]]
) -> None:
    """Write the scores of one run and task: (split, fold, metric, value) each."""
    tables.write_rows(
        tables.ScoreRow, [tables.ScoreRow(run, task, *score) for score in scores], path
    )
