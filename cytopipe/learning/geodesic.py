"""A table of distances along the cortex between the nodes of a template's mid-surface."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cytopipe.files import InputError, require

CHUNK = 4096  # patches whose nearest nodes are sought at a time


@dataclass(frozen=True)
class Geodesic:
    """Nodes and their distances.

    Attributes
    ----------
    nodes_mm : (k, 3) template RAS.
    left : (k,) bool, of the left hemisphere.
    distances_mm : (k, k) float32 along the surface, infinite where no way leads.
    """

    nodes_mm: NDArray[np.float32]
    left: NDArray[np.bool_]
    distances_mm: NDArray[np.float32]


def read(path: Path) -> Geodesic:
    """Read an .npz of nodes_mm (k, 3), hemisphere (k,) of L and R, and distances_mm (k, k).

    Raises
    ------
    InputError
        If it is missing or its arrays do not fit together.
    """
    require(path, "run the stage that writes it, or choose another distance for this run")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            nodes = np.asarray(arrays["nodes_mm"], np.float32)
            hemisphere = np.asarray(arrays["hemisphere"])
            table = np.asarray(arrays["distances_mm"], np.float32)
    except (KeyError, ValueError, OSError) as error:
        raise InputError(f"{path}: no table of distances ({error}); delete it and rerun") from error
    count = len(nodes)
    if nodes.shape != (count, 3) or hemisphere.shape != (count,) or table.shape != (count, count):
        raise InputError(
            f"{path}: {nodes.shape} nodes, {hemisphere.shape} hemispheres and {table.shape} "
            "distances do not fit together; delete it and rerun"
        )
    if not np.isin(hemisphere, ["L", "R"]).all() or not (table >= 0).all():
        raise InputError(
            f"{path}: hemispheres are L or R and distances not negative; delete it and rerun"
        )
    return Geodesic(nodes, hemisphere == "L", table)


def nearest_nodes(
    positions_mm: NDArray[np.float32], left: NDArray[np.bool_], geodesic: Geodesic
) -> NDArray[np.int64]:
    """The nearest node (n,) of its own hemisphere for each position (n, 3).

    Raises
    ------
    InputError
        If there are positions in a hemisphere without nodes.
    """
    nearest = np.empty(len(positions_mm), np.int64)
    for side in (True, False):
        nodes, mine = np.flatnonzero(geodesic.left == side), np.flatnonzero(left == side)
        if len(mine) and not len(nodes):
            raise InputError(
                f"{len(mine)} patches are of hemisphere {'L' if side else 'R'}, of which the table "
                "of geodesic distances has no nodes; choose another distance for this run"
            )
        places = torch.from_numpy(geodesic.nodes_mm[nodes])
        for start in range(0, len(mine), CHUNK):
            some = mine[start : start + CHUNK]
            apart = torch.cdist(
                torch.from_numpy(positions_mm[some]),
                places,
                compute_mode="donot_use_mm_for_euclid_dist",
            )
            nearest[some] = nodes[apart.argmin(1).numpy()]
    return nearest
