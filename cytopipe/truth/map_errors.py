"""Errors of the map of areas: the true area at each point against the predicted one."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytopipe.formats.tables import TruthRow
from cytopipe.mapping.scoring import agreement
from cytopipe.numerics.geometry import section_to_pixels
from cytopipe.truth.ground_truth import TruthBrain

# what `agreement` returns, and its words in the table
_WORDS = {
    "map accuracy": "points with their true area",
    "map macro_f1": "macro-F1",
    "prediction macro_f1": "macro-F1 before smoothing",
    "unlike_training": "points unlike the training data",
}


def true_areas(
    truth: TruthBrain, points: pd.DataFrame, names: Mapping[int, str]
) -> NDArray[np.str_]:
    """The true area (n,) of points (PointRow); empty outside the true cortex and its areas.

    Parameters
    ----------
    names : of the labels in the ground truth.
    """
    areas = np.full(len(points), "", object)
    at_um = points[["x_um", "y_um"]].to_numpy(np.float64)
    with_tissue = set(truth.with_tissue)
    for section, rows in points.groupby("section").indices.items():
        if section not in with_tissue:
            continue
        page = truth.page(int(section), "area")
        full_um = truth.full_spacing_um[int(section)]
        pixels = np.rint(section_to_pixels(at_um[rows], truth.spacing_um, full_um)).astype(int)
        columns, lines = pixels.T
        inside = (columns >= 0) & (lines >= 0)
        inside &= (columns < page.shape[1]) & (lines < page.shape[0])
        labels = page[lines[inside], columns[inside]]
        areas[rows[inside]] = [names.get(int(label), "") for label in labels]
    return areas.astype(str)


def map_rows(
    brains: Mapping[str, tuple[NDArray[np.str_], pd.DataFrame]], roles: Mapping[str, str]
) -> list[TruthRow]:
    """Rows of the truth table, for each role and each brain of it.

    Parameters
    ----------
    brains : brain to the true areas of its points, and to its map (MapRow). Points without a true
        area or without a prediction do not count.
    roles : brain to role.
    """
    rows = []
    for role in dict.fromkeys(roles[brain] for brain in brains):
        known = {}
        for brain, (truth, areas) in brains.items():
            if roles[brain] == role:
                counts = (truth != "") & (areas["predicted"] != "").to_numpy(bool)
                known[brain] = truth[counts], areas[counts]
        if len(known) > 1:
            known["all"] = _together([*known.values()])
        scores = {brain: agreement(*of_brain) for brain, of_brain in known.items()}
        rows += [
            TruthRow(f"map, {words}, {role}", brain, values[metric], "", "", "")
            for metric, words in _WORDS.items()
            for brain, values in scores.items()
            if values
        ]
    return rows


def _together(
    parts: Sequence[tuple[NDArray[np.str_], pd.DataFrame]],
) -> tuple[NDArray[np.str_], pd.DataFrame]:
    truths, tables = zip(*parts, strict=True)
    return np.concatenate(truths), pd.concat(tables)
