"""How far apart patches lie, in mm: in space, within a hemisphere, or along the cortex.

Each class holds what it knows of the k patches of a data set as tensors on the device. Called with
row numbers (n,) and (m,), it returns their distances (n, m).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cytopipe.files import InputError, require

CHUNK = 4096  # patches whose nearest nodes are looked up at a time, which bounds the memory


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
    nodes : (k,) int64, the node of each patch, see `nearest_nodes`.
    distances_mm : (nodes, nodes), infinite between nodes that no path connects.
    """

    nodes: Tensor
    distances_mm: Tensor

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        return self.distances_mm[self.nodes[a][:, None], self.nodes[b]]


Distances = Euclidean | SameHemisphere | Geodesic


def euclidean_mm(a: Tensor, b: Tensor) -> Tensor:
    """Distances (n, m) of positions (n, 3) and (m, 3), in their unit.

    By differences: the expansion |a|^2 + |b|^2 - 2ab loses the small distances that matter here.
    """
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


@dataclass(frozen=True)
class Surface:
    """Nodes of a template's mid-surface and the distances between them along the cortex.

    Attributes
    ----------
    nodes_mm : (k, 3) template RAS.
    is_left : (k,) bool, whether a node lies in the left hemisphere.
    distances_mm : (k, k) float32, infinite between nodes that no path connects.
    """

    nodes_mm: NDArray[np.float32]
    is_left: NDArray[np.bool_]
    distances_mm: NDArray[np.float32]


def read_surface(path: Path) -> Surface:
    """Read an .npz of nodes_mm (k, 3), hemisphere (k,) of L and R, and distances_mm (k, k).

    Raises
    ------
    InputError
        If the file is missing or its arrays do not fit together.
    """
    require(path, "run the stage that writes it, or choose another distance for this run")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            nodes_mm = np.asarray(arrays["nodes_mm"], np.float32)
            hemisphere = np.asarray(arrays["hemisphere"])
            distances_mm = np.asarray(arrays["distances_mm"], np.float32)
    except (KeyError, ValueError, OSError) as error:
        raise InputError(
            f"{path}: not a table of geodesic distances ({error}); delete it and rerun"
        ) from error
    count = len(nodes_mm)
    shapes = (nodes_mm.shape, hemisphere.shape, distances_mm.shape)
    if shapes != ((count, 3), (count,), (count, count)):
        raise InputError(
            f"{path}: {shapes[0]} nodes, {shapes[1]} hemispheres and {shapes[2]} distances do not "
            "fit together; delete it and rerun"
        )
    if not np.isin(hemisphere, ["L", "R"]).all() or not (distances_mm >= 0).all():
        raise InputError(
            f"{path}: hemispheres must be L or R and distances must not be negative or NaN; delete "
            "it and rerun"
        )
    return Surface(nodes_mm, hemisphere == "L", distances_mm)


def nearest_nodes(
    positions_mm: NDArray[np.float32], is_left: NDArray[np.bool_], surface: Surface
) -> NDArray[np.int64]:
    """The nearest node (n,) in the same hemisphere for each position (n, 3).

    Raises
    ------
    InputError
        If there are positions in a hemisphere without nodes.
    """
    nearest = np.empty(len(positions_mm), np.int64)
    for side in (True, False):
        nodes, rows = np.flatnonzero(surface.is_left == side), np.flatnonzero(is_left == side)
        if len(rows) and not len(nodes):
            raise InputError(
                f"{len(rows)} patches lie in hemisphere {'L' if side else 'R'}, for which the "
                "table of geodesic distances has no nodes; choose another distance for this run"
            )
        nodes_mm = torch.from_numpy(surface.nodes_mm[nodes])
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            distances_mm = euclidean_mm(torch.from_numpy(positions_mm[chunk]), nodes_mm)
            nearest[chunk] = nodes[distances_mm.argmin(1).numpy()]
    return nearest
