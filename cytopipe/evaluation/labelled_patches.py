"""Patches of labelled areas: on which a classifier is trained, and on which it is scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytopipe.evaluation.stored_features import StoredFeatures, stored
from cytopipe.files import InputError
from cytopipe.formats import tables
from cytopipe.logs import info

TESTS = ("seen", "transfer", "unseen")


@dataclass(frozen=True)
class LabelledPatches:
    """The usable patches of a data set by split, with their areas as numbers.

    Attributes
    ----------
    areas : names of the classes.
    labels : (n,) class of each patch; meaningless for a patch that is in no split.
    splits : split to its rows, increasing: `train` and those of TESTS that have patches.
    """

    areas: list[str]
    labels: NDArray[np.int64]
    splits: dict[str, NDArray[np.intp]]

    @property
    def tests(self) -> list[str]:
        return [split for split in TESTS if split in self.splits]


def select_patches(
    table: pd.DataFrame, usable: NDArray[np.bool_], areas: Sequence[str] | None, name: str
) -> LabelledPatches:
    """Select the usable patches of a data set.

    Patches without features are left out, and so are those whose area is not a class, because no
    prediction could be right. The log counts both.

    Parameters
    ----------
    table : the data set (PatchRow).
    usable : (n,) whether a patch has the features that are needed.
    areas : the classes; None for all areas of the split `train`.
    name : name of the data set, for messages.

    Raises
    ------
    InputError
        If there are fewer than two classes.
    """
    if areas is None:
        areas = sorted(table.area[usable & (table.split == "train")].unique())
    if len(areas) < 2:
        raise InputError(
            f"{name}: {len(areas)} areas in the split 'train', a classifier needs two; lower "
            "min_probability in config/config.yaml or look at the areas in the report"
        )
    labels = pd.Index(areas).get_indexer(pd.Index(table.area))
    known = labels >= 0
    info(
        f"{name}: {len(areas)} areas; left out {np.sum(~usable)} patches without features and "
        f"{np.sum(usable & ~known)} of areas that are not in training"
    )
    rows = {s: np.flatnonzero(usable & known & (table.split == s)) for s in ("train", *TESTS)}
    splits = {split: members for split, members in rows.items() if len(members)}
    return LabelledPatches(list(areas), labels.astype(np.int64), splits)


def features_of(
    patches: pd.DataFrame, arrays: Sequence[Path], rows: Sequence[Path]
) -> StoredFeatures:
    """Find the features (patches, d) of the patches' points; NaN for a point without features.

    Parameters
    ----------
    arrays, rows : .npy arrays of brains or data sets, and the tables of their rows (FeatureRow) in
        the same order. If several contain a point, the first one counts.

    Raises
    ------
    InputError
        If there are no patches, or no table has a row for one of their points.
    """
    if patches.empty:
        raise InputError("areas: the data set has no patches; look at the areas in the report")
    points = pd.Index(patches.point_id)
    pending = np.arange(len(points))
    places = np.empty((len(points), 2), np.intp)
    lengths = []
    for number, rows_path in enumerate(rows):
        listed = pd.Index(tables.read(tables.FeatureRow, rows_path).point_id)
        lengths.append(len(listed))
        # a point drawn repeatedly has several rows, all alike
        first = np.flatnonzero(~listed.duplicated())
        at = listed[first].get_indexer(points[pending])
        places[pending[at >= 0]] = np.stack(np.broadcast_arrays(number, first[at[at >= 0]]), axis=1)
        pending = pending[at < 0]
    if len(pending):
        raise InputError(
            f"{', '.join(map(str, rows)) or 'no features'}: no row for point {points[pending[0]]}; "
            "rerun the features"
        )
    return stored(arrays, lengths, places)


def views_of(patches: pd.DataFrame, array: Path, rows: Path) -> list[StoredFeatures]:
    """Find the features (patches, d) of training patches in each of their augmented views.

    A point that was drawn several times shows another view in each of its rows, and another one in
    the next item of the list, so that an epoch of a probe sees what an epoch on images would.

    Parameters
    ----------
    patches : rows of a data set (PatchRow).
    array, rows : written by `features.run_views`: the first view of all points, then the second.

    Raises
    ------
    InputError
        If a point has no views.
    """
    listed = tables.read(tables.FeatureRow, rows).point_id
    points = pd.Index(listed.unique())
    at = points.get_indexer(pd.Index(patches.point_id))
    if (at < 0).any():
        missing = patches.point_id.iloc[int(np.argmax(at < 0))]
        raise InputError(f"{rows}: no row for point {missing}; rerun the features")
    draw = patches.groupby("point_id").cumcount().to_numpy()
    count = len(listed) // len(points)
    places = [(draw + view) % count * len(points) + at for view in range(count)]
    return [
        stored([array], [len(listed)], np.stack([np.zeros_like(each), each], axis=1))
        for each in places
    ]
