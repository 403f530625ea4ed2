"""How well the maps agree with labels, and what smoothing gains."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from sklearn.metrics import f1_score

from cytopipe import provenance
from cytopipe.files import InputError, Output
from cytopipe.formats import tables
from cytopipe.logs import info
from cytopipe.mapping.smoothing import point_graph
from cytopipe.study.config import Mapping

# column of the map to the name of its scores; both are the same without smoothing
COLUMNS = {"predicted": "prediction", "mapped": "map"}
# a label counts for the nearest point of the map in its section within this distance, which is the
# spacing of the points in the papers. Labels of the atlas lie on the points themselves
_REACH_UM = 1000.0

Labels = NDArray[np.str_]


def agreement(truth: Labels, areas: pd.DataFrame) -> dict[str, float]:
    """Scores of points of a map whose areas are known.

    Parameters
    ----------
    truth : (n,) area of each point.
    areas : their rows of the map (MapRow). A point without a prediction counts as wrong.

    Returns
    -------
    For `prediction` and `map` the `accuracy` and the `macro_f1` as scikit-learn defines it by
    default, over all areas that occur in the truth or on the map; and `unlike_training`, the share
    of the points with a prediction that have this status. Empty without points.
    """
    if not len(truth):
        return {}
    scores = {}
    for column, name in COLUMNS.items():
        named = areas[column].to_numpy(str)
        scores[f"{name} accuracy"] = float((named == truth).mean())
        scores[f"{name} macro_f1"] = float(f1_score(truth, named, average="macro", zero_division=0))
    known = areas["predicted"].to_numpy(str) != ""
    foreign = (areas["status"] == "unlike_training").to_numpy()[known]
    scores["unlike_training"] = float(foreign.mean()) if len(foreign) else float("nan")
    return scores


def patches_per_area(points: pd.DataFrame, areas: pd.DataFrame) -> dict[str, float]:
    """Connected patches of the map per area and hemisphere, before and after smoothing.

    An area of the brain is one patch in each hemisphere, so 1 is anatomically plausible.

    Parameters
    ----------
    points, areas : PointRow and MapRow of one brain, in the same order.
    """
    known = (areas["predicted"] != "").to_numpy(bool)
    if not known.any():
        return {}
    graph = point_graph(points[known])
    sides = points["hemisphere"].to_numpy(str)[known]
    scores = {}
    for column, name in COLUMNS.items():
        labels = np.char.add(areas[column].to_numpy(str)[known], sides)
        scores[f"{name} patches_per_area"] = graph.pieces(labels) / len(np.unique(labels))
    return scores


@provenance.recorded
def run_scores(
    *,
    patches: Path,
    points: dict[str, Path],
    areas: dict[str, Path],
    scores: Output,
    run: str,
    params: Mapping,
) -> None:
    """Compare the maps with the labels of the splits `seen`, `transfer` and `unseen`.

    Smoothing uses neighbours in sections that the classifier was trained on, so the scores of
    smoothed maps are fair for the transfer and unseen brains, and favourable for seen ones.

    Parameters
    ----------
    patches : the data set that the classifier was trained and tested on (PatchRow).
    points, areas : brain to its points (PointRow) and its map (MapRow).
    scores : written: table (ScoreRow) with the task `mapping`. The split is that of the labels;
        it is the name of a brain for `patches_per_area` and for the share of `unlike_training`
        among all points.
    run : the run that makes the map.

    Raises
    ------
    InputError
        If a map does not belong to the points.
    """
    table = tables.read(tables.PatchRow, patches)
    table = table[table.split.isin(["seen", "transfer", "unseen"])].drop_duplicates("point_id")
    labelled: dict[str, list[tuple[Labels, pd.DataFrame]]] = {}
    rows: list[tables.ScoreRow] = []

    def add(split: str, values: dict[str, float]) -> None:
        rows.extend(
            tables.ScoreRow(run, "mapping", split, params.seed, metric, value)
            for metric, value in values.items()
        )

    for brain, path in points.items():
        of_points, of_map = read_map(path, areas[brain])
        add(brain, patches_per_area(of_points, of_map))
        known = of_map["predicted"] != ""
        foreign = of_map["status"][known] == "unlike_training"
        add(brain, {"unlike_training": float(foreign.mean())} if known.any() else {})
        for split, own in table[table.brain == brain].groupby("split"):
            nearest = _nearest(own, of_points[known])
            reached = nearest >= 0
            matched = of_map[known].iloc[nearest[reached]]
            labelled.setdefault(str(split), []).append((own.area.to_numpy(str)[reached], matched))
    for split, parts in labelled.items():
        truth = np.concatenate([labels for labels, _ in parts])
        add(split, agreement(truth, pd.concat([matched for _, matched in parts])))
    tables.write_rows(tables.ScoreRow, rows, scores)
    for row in rows:
        if row.metric.endswith("accuracy"):
            info(f"{row.split}: {row.metric} {row.value:.3f}")


def read_map(points: Path, areas: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the points of a brain and its map.

    Raises
    ------
    InputError
        If they are not the same points.
    """
    of_points = tables.read(tables.PointRow, points)
    of_map = tables.read(tables.MapRow, areas)
    if len(of_points) != len(of_map) or (of_points.point_id != of_map.point_id).any():
        raise InputError(f"{areas}: belongs to other points than {points}; rerun the mapping")
    return of_points, of_map


def _nearest(labels: pd.DataFrame, points: pd.DataFrame) -> NDArray[np.intp]:
    """Row (n,) of the point nearest to each label in its section; -1 if none is near."""
    nearest = np.full(len(labels), -1, np.intp)
    of_section = points.groupby("section").indices
    for section, members in labels.groupby("section").indices.items():
        own = of_section.get(section)
        if own is None:
            continue
        tree = cKDTree(points[["x_um", "y_um"]].to_numpy(np.float64)[own])
        at_um = labels[["x_um", "y_um"]].to_numpy(np.float64)[members]
        away_um, near = tree.query(at_um, distance_upper_bound=_REACH_UM)
        reached = np.isfinite(away_um)
        nearest[members[reached]] = own[near[reached]]
    return nearest
