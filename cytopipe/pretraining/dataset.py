"""Which patches of a data set a run is trained on, and the objective that its params name."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cytopipe.files import InputError
from cytopipe.learning import distances, objectives
from cytopipe.study.config import PretrainingRun

COORDINATES = ["x_mm", "y_mm", "z_mm"]
LABELLED = ("supcon", "supervised")  # losses that need an area for every patch
PLACED = ("spatialnce", "distance")  # losses that need a position for every patch


def training_rows(table: pd.DataFrame, loss: str, dataset: str) -> pd.DataFrame:
    """The rows of a data set (PatchRow) that a loss is trained on; never those of a test set.

    Raises
    ------
    InputError
        If the loss needs areas or positions that the data set lacks.
    """
    rows = table[table.split.isin(["pretrain", "train"])].reset_index(drop=True)
    remedy = "choose another dataset for this run in config/config.yaml"
    if loss in LABELLED:
        rows = rows[rows.split == "train"].reset_index(drop=True)
        if rows.empty or (rows.area == "").any():
            raise InputError(
                f"{dataset}: {loss} needs training patches with areas, "
                f"{(rows.area == '').sum() if len(rows) else 'all'} have none; {remedy}"
            )
        if rows.area.nunique() == 1:
            raise InputError(f"{dataset}: all patches belong to {rows.area[0]}; {remedy}")
    if loss in PLACED:
        lost = rows[COORDINATES].isna().any(axis=1)
        if lost.any():
            raise InputError(
                f"{dataset}: {loss} needs positions, {lost.sum()} patches have none "
                f"(the first is {rows.point_id[lost].iloc[0]}); {remedy}"
            )
    return rows


def build_objective(
    table: pd.DataFrame, params: PretrainingRun, geodesic: Path | None, device: torch.device
) -> objectives.Objective:
    """The objective of a run on the patches of a table from `training_rows`.

    Parameters
    ----------
    geodesic : distances along the cortex, see `distances.read_geodesic`; only used where
        `params.distance` is geodesic.

    Raises
    ------
    InputError
        If the geodesic distances are missing, or a distance needs hemispheres that are unknown.
    """
    objective = _objective(table, params, geodesic, device)
    if objective.head == "projection":
        objective.outputs = params.projection
    return objective


def _objective(
    table: pd.DataFrame, params: PretrainingRun, geodesic: Path | None, device: torch.device
) -> objectives.Objective:
    if params.loss == "simclr":
        return objectives.SimCLR(params.temperature)
    if params.loss in LABELLED:
        names, indices = np.unique(table.area.to_numpy(str), return_inverse=True)
        classes, labels = tuple(names.tolist()), torch.from_numpy(indices).to(device)
        if params.loss == "supcon":
            return objectives.SupCon(labels, classes, params.temperature)
        return objectives.Supervised(labels, classes)
    positions_mm = torch.from_numpy(table[COORDINATES].to_numpy(np.float32, copy=True)).to(device)
    between = _distances(table, positions_mm, params, geodesic)
    if params.loss == "distance":
        return objectives.Distance(positions_mm, between)
    return objectives.SpatialNCE(between, params.temperature, params.sigma_mm)


def _distances(
    table: pd.DataFrame, positions_mm: Tensor, params: PretrainingRun, geodesic: Path | None
) -> distances.Distances:
    """The distances that `params.distance` names."""
    if params.distance == "euclidean":
        return distances.Euclidean(positions_mm)
    unknown = ~table.hemisphere.isin(["L", "R"])
    if unknown.any():
        raise InputError(
            f"pretraining: distance is {params.distance}, but the hemisphere of {unknown.sum()} "
            f"patches is unknown (the first is {table.point_id[unknown].iloc[0]}); "
            "choose euclidean in config/config.yaml"
        )
    is_left = (table.hemisphere == "L").to_numpy(bool, copy=True)
    if params.distance == "same_hemisphere":
        return distances.SameHemisphere(
            positions_mm, torch.from_numpy(is_left).to(positions_mm.device)
        )
    if geodesic is None:
        raise InputError(
            "pretraining: distance is geodesic, but there is no table of distances along the "
            "cortex; choose euclidean or same_hemisphere in config/config.yaml"
        )
    arrays = distances.read_geodesic(geodesic, positions_mm.cpu().numpy(), is_left)
    return distances.Geodesic(*(torch.from_numpy(a).to(positions_mm.device) for a in arrays))
