"""Labelled data sets of areas: which patches a classifier is trained on, which it is scored on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytopipe.files import InputError
from cytopipe.formats import tables
from cytopipe.logs import info

TESTS = ("seen", "transfer", "unseen")


@dataclass(frozen=True)
class Labelled:
    """Patches that can be used, by split, with their areas as numbers.

    Attributes
    ----------
    areas : names of the classes.
    labels : (n,) class of each patch; meaningless where it is in no split.
    splits : split to its rows, increasing; `train`, and those of TESTS that have any.
    """

    areas: list[str]
    labels: NDArray[np.int64]
    splits: dict[str, NDArray[np.intp]]

    @property
    def tests(self) -> list[str]:
        """The test splits that have patches."""
        return [split for split in TESTS if split in self.splits]


def labelled(
    table: pd.DataFrame, values: NDArray[np.floating] | None, areas: Sequence[str] | None, name: str
) -> Labelled:
    """Take the patches that can be used.

    Test patches of areas that a classifier does not know are left out, because no answer would be
    right; so are patches without features. Both are counted in the log.

    Parameters
    ----------
    table : the data set (PatchRow).
    values : (n, d) features of the patches, NaN for a patch without; None if none are needed.
    areas : the classes of a classifier that is trained already; None for the areas of `train`.
    name : of the data set, for messages.

    Raises
    ------
    InputError
        If there are fewer than two classes.
    """
    usable = np.full(len(table), True) if values is None else np.isfinite(values).all(axis=1)
    split_of, area_of = table.split.to_numpy(), table.area.to_numpy()
    if areas is None:
        areas = sorted(set(area_of[usable & (split_of == "train")]))
    if len(areas) < 2:
        raise InputError(
            f"{name}: {len(areas)} areas in the split 'train', a classifier needs two; lower "
            "min_probability in config/config.yaml or look at the areas in the report"
        )
    labels = pd.Index(areas).get_indexer(pd.Index(area_of))
    known = labels >= 0
    info(
        f"{name}: {len(areas)} areas; left out {np.sum(~usable)} patches without features and "
        f"{np.sum(usable & ~known)} of areas that are not in training"
    )
    rows = {s: np.flatnonzero(usable & known & (split_of == s)) for s in ("train", *TESTS)}
    splits = {split: members for split, members in rows.items() if len(members)}
    return Labelled(list(areas), labels.astype(np.int64), splits)


def features_of(
    patches: pd.DataFrame, arrays: Sequence[Path], rows: Sequence[Path]
) -> NDArray[np.float32]:
    """(patches, features) of the patches' points; NaN for a point without features.

    Parameters
    ----------
    arrays, rows : .npy arrays and the tables of their rows (FeatureRow) in the same order, of
        whole brains or of data sets. A point that is in several is taken from the first.

    Raises
    ------
    InputError
        If a point of `patches` has no row: patches and features are of different points.
    """
    if patches.empty:
        raise InputError("areas: the data set has no patches; look at the areas in the report")
    points = pd.Index(patches.point_id)
    open_places = np.arange(len(points))
    found: NDArray[np.float32] | None = None
    for array_path, rows_path in zip(arrays, rows, strict=True):
        array = np.load(array_path, mmap_mode="r")
        listed = pd.Index(tables.read(tables.FeatureRow, rows_path).point_id)
        # drawn with replacement, a point is in a data set more than once: each row says the same
        first = np.flatnonzero(~listed.duplicated())
        at = listed[first].get_indexer(points[open_places])
        if found is None:
            found = np.empty((len(points), array.shape[1]), np.float32)
        found[open_places[at >= 0]] = array[first[at[at >= 0]]]
        open_places = open_places[at < 0]
    if found is None or len(open_places):
        missing = points[open_places[0]]
        raise InputError(
            f"{', '.join(map(str, rows)) or 'no features'}: no row for point {missing}; "
            "rerun the features"
        )
    return found
