"""Distances along the mid-surface between nodes spread over it, for SpatialNCE's geodesic variant.

The two banks of a sulcus lie a few mm apart in space, but centimetres apart along the cortex. The
paper uses the distance in space. The hemispheres are not connected; their distance is infinite.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from cytopipe import provenance
from cytopipe.files import InputError, Output, atomic_write
from cytopipe.formats.surfaces import Surface
from cytopipe.formats.surfaces import read as read_surface
from cytopipe.logs import info
from cytopipe.numerics import meshes
from cytopipe.numerics.components import Mask
from cytopipe.numerics.geometry import Floats
from cytopipe.study.config import GeodesicTable


def step_lengths(surface: Surface) -> sparse.csr_matrix:
    """Steps on a mesh, (vertices, vertices) mm: along edges, and straight across an edge.

    A step across an edge joins the two corners that face it, if the straight line between them
    crosses the edge once both triangles are unfolded into a plane. On a sphere of 10,242 vertices,
    paths are 1.4 % too long on average and 5 % at most; along edges alone, 7 % and 22 %.
    """
    vertices, faces = surface.vertices, surface.faces.astype(np.int64)
    pairs, _ = meshes.edges(surface.faces)
    along = np.linalg.norm(vertices[pairs[:, 0]] - vertices[pairs[:, 1]], axis=1)
    # the edge that each corner faces
    facing = np.sort(np.stack([faces[:, [1, 2]], faces[:, [2, 0]], faces[:, [0, 1]]], axis=1), 2)
    keys = (facing[..., 0] * len(vertices) + facing[..., 1]).T.ravel()
    corners = faces.T.ravel()
    order = np.argsort(keys, kind="stable")
    shared = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    c, d = corners[order[shared]], corners[order[shared + 1]]
    a, b = np.divmod(keys[order[shared]], len(vertices))
    across, straight = _unfolded(*(vertices[corner] for corner in (a, b, c, d)))
    start = np.concatenate([pairs[:, 0], c[straight]])
    end = np.concatenate([pairs[:, 1], d[straight]])
    lengths = np.concatenate([along, across[straight]])
    low, high = np.minimum(start, end), np.maximum(start, end)
    # each step once, whatever its direction: csr sums duplicates
    _, once = np.unique(low * len(vertices) + high, return_index=True)
    size = (len(vertices), len(vertices))
    return sparse.csr_matrix((lengths[once], (low[once], high[once])), shape=size)


def _unfolded(a: Floats, b: Floats, c: Floats, d: Floats) -> tuple[Floats, Mask]:
    """Length of cd with the triangles abc and abd unfolded into a plane; whether it crosses ab."""
    base = b - a
    width = np.linalg.norm(base, axis=1)
    unit = base / np.maximum(width, 1e-12)[:, None]
    along_c, along_d = ((c - a) * unit).sum(1), ((d - a) * unit).sum(1)
    up = np.linalg.norm(c - a - along_c[:, None] * unit, axis=1)
    down = np.linalg.norm(d - a - along_d[:, None] * unit, axis=1)
    height = np.maximum(up + down, 1e-12)
    crossing = (along_c * down + along_d * up) / height
    return np.hypot(along_c - along_d, up + down), (crossing >= 0) & (crossing <= width)


def spread_nodes(
    steps: sparse.csr_matrix, first: int, count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Nodes, each the vertex farthest from all nodes before it, and their distances.

    Parameters
    ----------
    steps : from `step_lengths`; vertices without a step do not belong to the surface.
    first : the first node.

    Returns
    -------
    (count,) vertices and (count, count) mm, infinite without a path.
    """
    nodes = np.full(count, first)
    distances = np.zeros((count, count), np.float32)
    nearest = np.full(steps.shape[0], np.inf)
    degree = np.diff(steps.indptr) + np.bincount(steps.indices, minlength=steps.shape[0])
    for number in range(count):
        if number:
            nodes[number] = np.argmax(np.where(degree > 0, nearest, -1))
        from_node = csgraph.dijkstra(steps, directed=False, indices=nodes[number])
        np.minimum(nearest, from_node, out=nearest)
        row = from_node[nodes[: number + 1]]
        distances[number, : number + 1] = distances[: number + 1, number] = row
    return nodes, distances


@provenance.recorded
def run_geodesic(*, surfaces: dict[str, Path], table: Output, params: GeodesicTable) -> None:
    """Measure the distances along the mid-surfaces between nodes spread over both hemispheres.

    Parameters
    ----------
    surfaces : L and R to the mid-surface, GIfTI in template RAS mm. Each hemisphere gets nodes in
        proportion to its area.
    table : written: .npz with nodes_mm (k, 3), hemisphere (k,) "L" or "R", and distances_mm (k, k)
        float32, infinite from one hemisphere to the other. Equal input yields equal bytes.

    Raises
    ------
    InputError
        If a hemisphere is missing, or a surface is in pieces or has fewer vertices than nodes.
    """
    if sorted(surfaces) != ["L", "R"]:
        raise InputError(f"{table.name}: surfaces of {sorted(surfaces)}; supply L and R")
    read = {side: read_surface(surfaces[side]) for side in ("L", "R")}
    areas = {side: meshes.area(mesh.vertices, mesh.faces) for side, mesh in read.items()}
    nodes_mm, hemisphere = [], []
    distances_mm = np.full((params.nodes, params.nodes), np.inf, np.float32)
    left = min(max(1, round(params.nodes * areas["L"] / sum(areas.values()))), params.nodes - 1)
    for side, count, start in (("L", left, 0), ("R", params.nodes - left, left)):
        mesh = read[side]
        used = np.unique(mesh.faces)
        if count > len(used):
            raise InputError(
                f"{surfaces[side]}: has fewer vertices than its {count} nodes; lower nodes of "
                "patches.geodesic"
            )
        # the foremost vertex; any would do
        first = int(used[np.argmax(mesh.vertices[used, 1])])
        nodes, distances = spread_nodes(step_lengths(mesh), first, count)
        if not np.isfinite(distances).all():
            raise InputError(f"{surfaces[side]}: is in pieces; paths need a connected surface")
        distances_mm[start : start + count, start : start + count] = distances
        nodes_mm.append(mesh.vertices[nodes])
        hemisphere += [side] * count
        apart = np.where(np.eye(count, dtype=bool), np.inf, distances).min(0)
        info(f"{side}: {count} nodes, {np.median(apart):.1f} mm to the nearest node (median)")
    with atomic_write(table) as beside:
        np.savez(
            beside,
            allow_pickle=False,
            nodes_mm=np.concatenate(nodes_mm),
            hemisphere=np.array(hemisphere),
            distances_mm=distances_mm,
            **{key: np.array(text) for key, text in provenance.entry().items()},
        )
