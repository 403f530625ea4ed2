"""Points with their features, and the table of scores, as all tasks use them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytopipe import provenance
from cytopipe.evaluation.stored_features import Features, StoredFeatures, blocks_of, stored
from cytopipe.files import InputError, Output
from cytopipe.formats import tables

Score = tuple[str, int, str, float]  # split, fold, metric, value


@dataclass(frozen=True)
class Samples:
    """Points (PointRow, index 0 to n - 1) and their features (n, d), all finite."""

    points: pd.DataFrame
    values: NDArray[np.float32]

    def where(self, mask: NDArray[np.bool_]) -> "Samples":
        """The samples for which `mask` (n,) is true."""
        return Samples(self.points[mask].reset_index(drop=True), self.values[mask])


@dataclass(frozen=True)
class StoredSamples:
    """Usable points (PointRow, index 0 to n - 1), and where on disk their features lie."""

    points: pd.DataFrame
    features: StoredFeatures

    def where(self, mask: NDArray[np.bool_]) -> "StoredSamples":
        """The samples for which `mask` (n,) is true."""
        return StoredSamples(self.points[mask].reset_index(drop=True), self.features.where(mask))

    def blocks(self) -> Iterator[Samples]:
        """Read the samples in blocks; points without features are left out."""
        start = 0
        for values in blocks_of(self.features):
            points = self.points.iloc[start : start + len(values)].reset_index(drop=True)
            yield _with_features(points, values)
            start += len(values)

    def read(self) -> Samples:
        """Read the samples; points without features are left out."""
        return _with_features(self.points, self.features[:])


def _with_features(points: pd.DataFrame, values: Features) -> Samples:
    finite = np.asarray(np.isfinite(values).all(1))
    samples = Samples(points, values)
    return samples if finite.all() else samples.where(finite)


def find_samples(
    points: Mapping[str, Path],
    features: Mapping[str, Path],
    rows: Mapping[str, Path],
    *,
    most: int | None = None,
    seed: int = 0,
) -> StoredSamples:
    """Find the usable points of brains, and their features.

    Parameters
    ----------
    points, features, rows : brain to its points (PointRow), its .npy array and the table of the
        array's rows (FeatureRow). The arrays are not read.
    most : largest number of points per brain, drawn without replacement; None for all.
    seed : of the draws. All runs draw the same points.

    Raises
    ------
    InputError
        If rows and points of a brain differ.
    """
    frames, places, lengths = [], [], []
    for number, (brain, path) in enumerate(points.items()):
        table = tables.read(tables.PointRow, path)
        listed = tables.read(tables.FeatureRow, rows[brain])
        if len(table) != len(listed) or (table.point_id != listed.point_id).any():
            raise InputError(f"{rows[brain]}: not the rows of {path}; rerun the features")
        # the points' own status, not that of the features: all runs draw from the same points
        usable = np.flatnonzero(table.status == "ok")
        if most is not None and len(usable) > most:
            drawn = np.random.default_rng(seed).choice(len(usable), most, replace=False)
            usable = usable[np.sort(drawn)]
        lengths.append(len(table))
        frames.append(table.iloc[usable])
        places.append(np.stack(np.broadcast_arrays(number, usable), axis=1))
    located = stored([features[brain] for brain in points], lengths, np.concatenate(places))
    return StoredSamples(pd.concat(frames, ignore_index=True), located)


def read_samples(
    points: Mapping[str, Path],
    features: Mapping[str, Path],
    rows: Mapping[str, Path],
    *,
    most: int | None,
    seed: int,
) -> Samples:
    """Read the usable points of brains that have features; the arguments are as in `find_samples`.

    Raises
    ------
    InputError
        If rows and points of a brain differ, or no brain has a usable point with features.
    """
    samples = find_samples(points, features, rows, most=most, seed=seed).read()
    if samples.points.empty:
        raise InputError(f"{', '.join(map(str, points.values()))}: no usable point has features")
    return samples


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
