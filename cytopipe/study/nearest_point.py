"""The nearest point of each vertex of a surface and of each voxel."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from cytopipe.formats.surfaces import Surface
from cytopipe.formats.volumes import Volume
from cytopipe.numerics.geometry import Floats
from cytopipe.numerics.meshes import vertex_normals
from cytopipe.study.results import BrainResults

# codes of results/midsurface/{brain}/hemispheres.nii.gz
_CODES = {"L": 1, "R": 2}
# vertices near a point that may face its way; chosen, not measured
_NEIGHBOURS = 12
# half the distance of points plus half the thickness of the cortex
_MARGIN_MM = 2.0


@dataclass(frozen=True)
class NearestPoints:
    """The point from which each vertex of a hemisphere takes its values.

    Attributes
    ----------
    rows : (vertices,) row of the points table, -1 for none.
    distance_mm : (vertices,) distance to the point along the surface, NaN for none.
    """

    rows: NDArray[np.int64]
    distance_mm: Floats

    def values(self, of_points: NDArray[np.floating]) -> Floats:
        """(vertices, ...) values of the points (points, ...); NaN for none."""
        values = np.array(of_points[np.maximum(self.rows, 0)], np.float64)
        values[self.rows < 0] = np.nan
        return values

    def keys(self, of_points: NDArray[np.int32]) -> NDArray[np.int32]:
        """(vertices,) keys of the points (points,); 0 for none."""
        return np.where(self.rows >= 0, of_points[np.maximum(self.rows, 0)], 0).astype(np.int32)


def default_reach_mm(brain: BrainResults) -> float:
    """Half the section spacing plus 2 mm."""
    z_mm = np.unique(brain.points["z_stack_um"].to_numpy()[brain.usable]) / 1000
    gap_mm = float(np.median(np.diff(z_mm))) if len(z_mm) > 1 else 0.0
    return gap_mm / 2 + _MARGIN_MM


def nearest_points(
    brain: BrainResults, surface: Surface, hemisphere: str, reach_mm: float | None
) -> NearestPoints:
    """The nearest usable point of the same hemisphere for each vertex."""
    own = np.flatnonzero(brain.usable & (brain.points["hemisphere"] == hemisphere).to_numpy(bool))
    reach = default_reach_mm(brain) if reach_mm is None else reach_mm
    rows, distance_mm = nearest_on_surface(surface, brain.stack_mm[own], brain.normals[own], reach)
    if len(own):
        rows = np.where(rows >= 0, own[np.maximum(rows, 0)], -1)
    return NearestPoints(rows, distance_mm)


def nearest_on_surface(
    surface: Surface, points_mm: Floats, normals: Floats, reach_mm: float
) -> tuple[NDArray[np.int64], Floats]:
    """The nearest point of each vertex, by the distance along the surface's edges.

    A point is attached to the nearest vertex whose normal has its direction, so that it has no
    effect on the opposite bank of a sulcus. Distances along edges are slightly too long.

    Parameters
    ----------
    points_mm, normals : (n, 3) in the frame of the surface; normals towards the pial surface.
    reach_mm : largest distance.

    Returns
    -------
    (vertices,) row of the point, and distance to it in mm; -1 and NaN if none is within reach.
    """
    count = len(surface.vertices)
    none = np.full(count, -1, np.int64), np.full(count, np.nan)
    if not len(points_mm):
        return none
    nearest = min(_NEIGHBOURS, count)
    away_mm, near = cKDTree(surface.vertices).query(points_mm, k=nearest)
    away_mm, near = away_mm.reshape(-1, nearest), near.reshape(-1, nearest)
    outwards = vertex_normals(surface.vertices, surface.faces)
    facing = np.einsum("pnk,pk->pn", outwards[near], normals) > 0
    entering = np.flatnonzero(facing.any(axis=1))
    if not len(entering):
        return none
    first = facing[entering].argmax(axis=1)
    entry, offset_mm = near[entering, first], away_mm[entering, first]

    # points are nodes after the vertices, with an edge to their vertex; no edge may have weight 0
    a, b = surface.faces[:, [0, 1, 2]].ravel(), surface.faces[:, [1, 2, 0]].ravel()
    edges = np.unique(np.sort(np.stack([a, b], axis=1), axis=1), axis=0)
    lengths = np.linalg.norm(surface.vertices[edges[:, 0]] - surface.vertices[edges[:, 1]], axis=1)
    sources = count + np.arange(len(entering))
    start = np.concatenate([edges[:, 0], edges[:, 1], sources])
    end = np.concatenate([edges[:, 1], edges[:, 0], entry])
    weights = np.maximum(np.concatenate([lengths, lengths, offset_mm]), 1e-9)
    size = count + len(entering)
    graph = csr_array((weights, (start, end)), shape=(size, size))
    distance, _, source = dijkstra(
        graph, indices=sources, limit=reach_mm, min_only=True, return_predecessors=True
    )
    reached = np.isfinite(distance[:count])
    row = np.where(reached, entering[np.where(reached, source[:count] - count, 0)], -1)
    return row.astype(np.int64), np.where(reached, distance[:count], np.nan)


def nearest_of_voxels(brain: BrainResults, reach_mm: float) -> NDArray[np.int32]:
    """Row of the nearest usable point of the same hemisphere for each gray voxel.

    -1 in other voxels and if no point is within `reach_mm`.
    """
    rows = np.full(brain.tissue.data.shape, -1, np.int32)
    for hemisphere, code in _CODES.items():
        own = brain.usable & (brain.points["hemisphere"] == hemisphere).to_numpy(bool)
        index = np.argwhere((brain.tissue.data == 1) & (brain.hemispheres.data == code))
        if not own.any() or not len(index):
            continue
        away_mm, near = cKDTree(brain.stack_mm[own]).query(
            brain.tissue.to_mm(index), distance_upper_bound=reach_mm
        )
        reached = np.isfinite(away_mm)
        rows[tuple(index[reached].T)] = np.flatnonzero(own)[near[reached]]
    return rows


def at_nearest(volume: Volume, points_mm: Floats, outside: float) -> NDArray[np.generic]:
    """Value of the voxel nearest to each point; `outside` for points outside the volume and NaN."""
    index = np.nan_to_num(np.floor(volume.to_indices(points_mm) + 0.5), nan=-1).astype(np.int64)
    inside = ((index >= 0) & (index < np.array(volume.data.shape))).all(axis=1)
    values = np.full(len(index), outside, volume.data.dtype)
    values[inside] = volume.data[tuple(index[inside].T)]
    return values
