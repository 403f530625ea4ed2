"""What a network is trained for, by name: the views it sees, its head, and the loss of a batch.

An objective holds what it knows of the patches (positions, labels, nodes) as tensors on the device;
a batch brings row numbers alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cytopipe.files import InputError
from cytopipe.learning import distributed, geodesic, losses
from cytopipe.learning.distributed import World
from cytopipe.learning.losses import Rows
from cytopipe.learning.losses.distance import OUTPUTS, following
from cytopipe.learning.networks import PROJECTED

COORDINATES = ["x_mm", "y_mm", "z_mm"]
LABELLED = ("supcon", "supervised")  # objectives that need an area for every patch
PLACED = ("spatialnce", "distance")  # objectives that need a position for every patch

# projected features (n, views, outputs) and row numbers (n,) of this process' patches
LossOfRows = Callable[[Tensor, Tensor, World], Rows]
# distances (n, m) in mm between patches of the table by their row numbers (n,) and (m,)
Apart = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Settings:
    """Which loss, and its numbers; those of other losses are ignored.

    Attributes
    ----------
    loss : `spatialnce`, `simclr`, `supcon`, `supervised` or `distance`, see `losses`.
    temperature : tau of the three contrastive losses.
    sigma_mm : bandwidth of SpatialNCE.
    distance : what SpatialNCE and the distance task go by: `euclidean` in the template,
        `same_hemisphere` (the same, infinite between hemispheres), or `geodesic`.
    """

    loss: Literal["spatialnce", "simclr", "supcon", "supervised", "distance"]
    temperature: float
    sigma_mm: float
    distance: Literal["euclidean", "same_hemisphere", "geodesic"]


@dataclass(frozen=True)
class Objective:
    """An objective on the patches of one table.

    Attributes
    ----------
    views : how often each patch of a batch is drawn.
    head, outputs : for `networks.Plan`.
    classes : areas, in the order of the logits of a classifier; empty for losses without labels.
    rows : losses of a process' own patches.
    """

    views: int
    head: str
    outputs: int
    classes: tuple[str, ...]
    rows: LossOfRows

    def loss(self, projected: Tensor, rows: Tensor, world: World) -> tuple[Tensor, Tensor]:
        """What to differentiate and the mean loss of the whole batch, see `distributed.mean`.

        Parameters
        ----------
        projected : (n * views, outputs), the views of a patch after one another.
        rows : (n,) row numbers of the patches in the table.
        """
        by_patch = projected.view(len(rows), self.views, -1)
        found = self.rows(by_patch, rows, world)
        return distributed.mean(found.losses, found.valid, world)


def trained_on(table: pd.DataFrame, loss: str, dataset: str) -> pd.DataFrame:
    """The rows of a data set (PATCHES) that a loss is trained on, never one of a test set.

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
            raise InputError(f"{dataset}: all patches are of {rows.area[0]}; {remedy}")
    if loss in PLACED:
        lost = rows[COORDINATES].isna().any(axis=1)
        if lost.any():
            raise InputError(
                f"{dataset}: {loss} needs positions, {lost.sum()} patches have none "
                f"(the first is {rows.point_id[lost].iloc[0]}); {remedy}"
            )
    return rows


def build(
    table: pd.DataFrame, settings: Settings, table_mm: Path | None, device: torch.device
) -> Objective:
    """The objective of a run.

    Parameters
    ----------
    table : the patches, as from `trained_on`.
    table_mm : distances along the cortex, see `geodesic.read`; needed for `geodesic` alone.

    Raises
    ------
    InputError
        If `geodesic` is asked for without such a table.
    """
    if settings.loss == "supervised":
        classes, labels = _labels(table, device)
        return Objective(1, "classifier", len(classes), classes, _supervised(labels))
    if settings.loss == "distance":
        positions_mm, apart = _positions(table, device), _apart(table, settings, table_mm, device)
        return Objective(1, "distance", OUTPUTS, (), _distance(positions_mm, apart))
    if settings.loss == "supcon":
        classes, labels = _labels(table, device)
        return Objective(1, "projection", PROJECTED, classes, _supcon(labels, settings))
    if settings.loss == "simclr":
        return Objective(2, "projection", PROJECTED, (), _simclr(settings))
    apart = _apart(table, settings, table_mm, device)
    return Objective(1, "projection", PROJECTED, (), _spatialnce(apart, settings))


def _spatialnce(apart: Apart, settings: Settings) -> LossOfRows:
    def rows_of(projected: Tensor, rows: Tensor, world: World) -> Rows:
        features, everyone, own = _batch(projected, rows, world)
        return losses.spatialnce(
            features,
            apart(rows, everyone),
            temperature=settings.temperature,
            sigma_mm=settings.sigma_mm,
            own=own,
        )

    return rows_of


def _supcon(labels: Tensor, settings: Settings) -> LossOfRows:
    def rows_of(projected: Tensor, rows: Tensor, world: World) -> Rows:
        features, everyone, own = _batch(projected, rows, world)
        return losses.supcon(features, labels[everyone], temperature=settings.temperature, own=own)

    return rows_of


def _simclr(settings: Settings) -> LossOfRows:
    def rows_of(projected: Tensor, rows: Tensor, world: World) -> Rows:
        features, everyone, own = _batch(projected, rows, world)
        return losses.simclr(features, everyone, temperature=settings.temperature, own=own)

    return rows_of


def _supervised(labels: Tensor) -> LossOfRows:
    def rows_of(projected: Tensor, rows: Tensor, world: World) -> Rows:
        return losses.supervised(projected.flatten(0, 1), labels[rows])

    return rows_of


def _distance(positions_mm: Tensor, apart: Apart) -> LossOfRows:
    def rows_of(projected: Tensor, rows: Tensor, world: World) -> Rows:
        outputs, everyone, own = _batch(projected, rows, world)
        partners = following(own, len(everyone))
        apart_mm = apart(rows, everyone).gather(1, partners[:, None])[:, 0]
        return losses.distance(outputs, positions_mm[rows], apart_mm, own=own)

    return rows_of


def _batch(projected: Tensor, rows: Tensor, world: World) -> tuple[Tensor, Tensor, Tensor]:
    """All views of the batch, and which of them are this process' own.

    From projected (n, views, d) and rows (n,) of a process: features (m, d), row numbers (m,) and
    places (n * views,) of the own views among the m.
    """
    features = distributed.gather(projected, world)
    everyone = distributed.gather(rows, world)
    views = features.shape[1]
    places = torch.arange(features.shape[0] * views, device=rows.device).view(-1, views)
    own = distributed.share(places, world).flatten()
    return features.flatten(0, 1), everyone.repeat_interleave(views), own


def _labels(table: pd.DataFrame, device: torch.device) -> tuple[tuple[str, ...], Tensor]:
    """Areas in alphabetical order and the number of each patch's area."""
    classes, labels = np.unique(table.area.to_numpy(str), return_inverse=True)
    return tuple(str(name) for name in classes), torch.from_numpy(labels).to(device)


def _positions(table: pd.DataFrame, device: torch.device) -> Tensor:
    return torch.from_numpy(table[COORDINATES].to_numpy(np.float32, copy=True)).to(device)


def _apart(
    table: pd.DataFrame, settings: Settings, table_mm: Path | None, device: torch.device
) -> Apart:
    """The distance that the settings name."""
    positions_mm = _positions(table, device)
    is_left = (table.hemisphere == "L").to_numpy(bool, copy=True)
    left = torch.from_numpy(is_left).to(device)
    if settings.distance == "euclidean":
        return lambda a, b: losses.euclidean_mm(positions_mm[a], positions_mm[b])
    if settings.distance == "same_hemisphere":
        return lambda a, b: losses.same_hemisphere_mm(
            positions_mm[a], positions_mm[b], left[a], left[b]
        )
    if table_mm is None:
        raise InputError(
            "pretraining: distance is geodesic, but no table of distances along the cortex is "
            "given; choose euclidean or same_hemisphere in config/config.yaml"
        )
    surface = geodesic.read(table_mm)
    nearest = geodesic.nearest_nodes(positions_mm.cpu().numpy(), is_left, surface)
    nodes = torch.from_numpy(nearest).to(device)
    distances_mm = torch.from_numpy(surface.distances_mm).to(device)
    return lambda a, b: losses.geodesic_mm(distances_mm, nodes[a], nodes[b])
