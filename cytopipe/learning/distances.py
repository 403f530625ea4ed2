"""Distances between patches in mm: in space, within a hemisphere, or along the cortex.

Each class holds what it needs of the k patches of a data set as tensors on the device. Called with
row numbers (n,) and (m,), it returns their distances (n, m).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cytopipe.files import InputError, reading, require

CHUNK = 4096  # patches at a time when nearest nodes are looked up, which bounds the memory


@dataclass(frozen=True)
class Euclidean:
    """Distances in the template.

    Attributes
    ----------
    positions_mm : (k, 3) template RAS.
    """

    positions_mm: Tensor

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        return euclidean_mm(self.positions_mm[a], self.positions_mm[b])


@dataclass(frozen=True)
class SameHemisphere:
    """Euclidean distances within a hemisphere, infinite between the two.

    Near the midline, places of both hemispheres are closer in space than along the cortex.

    Attributes
    ----------
    positions_mm : (k, 3) template RAS.
    is_left : (k,) bool, whether a patch lies in the left hemisphere.
    """

    positions_mm: Tensor
    is_left: Tensor

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        distances_mm = euclidean_mm(self.positions_mm[a], self.positions_mm[b])
        return distances_mm.masked_fill(self.is_left[a][:, None] != self.is_left[b], torch.inf)


@dataclass(frozen=True)
class Geodesic:
    """Distances along the cortex, between the surface nodes nearest to the patches.

    Attributes
    ----------
    nodes : (k,) int64, the node of each patch.
    table_mm : (nodes, nodes) float32, infinite between nodes that no path connects.
    """

    nodes: Tensor
    table_mm: Tensor

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        return self.table_mm[self.nodes[a][:, None], self.nodes[b]]


Distances = Euclidean | SameHemisphere | Geodesic


def euclidean_mm(a: Tensor, b: Tensor) -> Tensor:
    """Distances (n, m) of positions (n, 3) and (m, 3), in their unit.

    By differences: the expansion |a|^2 + |b|^2 - 2ab loses the small distances that matter here.
    """
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def read_geodesic(
    path: Path, positions_mm: NDArray[np.float32], is_left: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The node nearest to each position, in its hemisphere, and the distances between all nodes.

    Parameters
    ----------
    path : .npz of nodes_mm (nodes, 3), hemisphere (nodes,) of L and R, and distances_mm (nodes,
        nodes) along the mid-surface of the template.
    positions_mm, is_left : (k, 3) template RAS and (k,) hemisphere of the patches.

    Returns
    -------
    nodes (k,) and table_mm (nodes, nodes), see `Geodesic`.

    Raises
    ------
    InputError
        If the file is missing, its arrays do not fit together, or it has no nodes in a hemisphere.
    """
    require(path, "run the stage that writes it, or choose another distance for this run")
    with (
        reading(path, "table of geodesic distances", "delete it and rerun"),
        path.open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        nodes_mm = np.asarray(arrays["nodes_mm"], np.float32)
        hemisphere = np.asarray(arrays["hemisphere"])
        table_mm = np.asarray(arrays["distances_mm"], np.float32)
    count = len(nodes_mm)
    shapes = (nodes_mm.shape, hemisphere.shape, table_mm.shape)
    if shapes != ((count, 3), (count,), (count, count)):
        raise InputError(
            f"{path}: {shapes[0]} nodes, {shapes[1]} hemispheres and {shapes[2]} distances do not "
            "fit together; delete it and rerun"
        )
    if not np.isin(hemisphere, ["L", "R"]).all() or not (table_mm >= 0).all():
        raise InputError(
            f"{path}: hemispheres must be L or R and distances must not be negative or NaN; delete "
            "it and rerun"
        )
    nearest = np.empty(len(positions_mm), np.int64)
    for side, members in (("L", is_left), ("R", ~is_left)):
        nodes, rows = np.flatnonzero(hemisphere == side), np.flatnonzero(members)
        if len(rows) and not len(nodes):
            raise InputError(
                f"{path}: no nodes in hemisphere {side}, where {len(rows)} patches lie; choose "
                "another distance for this run"
            )
        side_mm = torch.from_numpy(nodes_mm[nodes])
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            distances_mm = euclidean_mm(torch.from_numpy(positions_mm[chunk]), side_mm)
            nearest[chunk] = nodes[distances_mm.argmin(1).numpy()]
    return nearest, table_mm
