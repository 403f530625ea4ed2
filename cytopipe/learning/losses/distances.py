"""Distances between patches in mm, all as (n, m): what SpatialNCE and the distance task go by."""

import torch
from torch import Tensor


def euclidean_mm(a: Tensor, b: Tensor) -> Tensor:
    """Distances of positions (n, 3) and (m, 3), in their unit.

    By differences: the expansion |a|^2 + |b|^2 - 2ab loses the small distances that matter here.
    """
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def same_hemisphere_mm(a: Tensor, b: Tensor, left_a: Tensor, left_b: Tensor) -> Tensor:
    """Euclidean distances within a hemisphere, infinite between the two.

    Near the midline, places of both hemispheres are closer in space than on the cortex.

    Parameters
    ----------
    a, b : (n, 3) and (m, 3) positions in mm.
    left_a, left_b : (n,) and (m,) bool, whether they are of the left hemisphere.
    """
    return euclidean_mm(a, b).masked_fill(left_a[:, None] != left_b, torch.inf)


def geodesic_mm(table_mm: Tensor, nodes_a: Tensor, nodes_b: Tensor) -> Tensor:
    """Distances along the cortex, looked up between nodes of a surface.

    Parameters
    ----------
    table_mm : (k, k) distances of the nodes, infinite where no way leads.
    nodes_a, nodes_b : (n,) and (m,) the node of each patch.
    """
    return table_mm[nodes_a[:, None], nodes_b]
