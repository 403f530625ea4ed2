"""Plane cuts of a triangle mesh, chained exactly into polylines.

A cut passes through mesh edges; two faces that share a crossed edge share a point of the cut.
Chaining therefore compares vertex numbers, never coordinates: nothing depends on a tolerance.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Polyline:
    """One connected piece of the cut of a mesh by a plane.

    Attributes
    ----------
    points : (n, 3) in the frame of the mesh.
    edges : (n, 2) the mesh vertices between which each point lies.
    weights : (n,) share of the second of the two vertices, 0 to 1.
    closed : the last point is joined to the first (which is not repeated).
    """

    points: Floats
    edges: Ints
    weights: Floats
    closed: bool

    def interpolate(self, values: NDArray[Any]) -> Floats:
        """Values at the points, linear along mesh edges, of (vertices, ...) values."""
        share = self.weights.reshape(-1, *[1] * (values.ndim - 1))
        return np.asarray(
            (1 - share) * values[self.edges[:, 0]] + share * values[self.edges[:, 1]], np.float64
        )

    @property
    def lengths(self) -> Floats:
        """Lengths of its segments; with the closing one when closed."""
        ends = np.roll(self.points, -1, axis=0)
        lengths = np.linalg.norm(ends - self.points, axis=1)
        return np.asarray(lengths if self.closed else lengths[:-1])


def cut_mesh(
    vertices: Floats, faces: NDArray[np.int32], axis: int, levels: Floats
) -> list[list[Polyline]]:
    """Cut a mesh by the planes `axis` = level.

    Parameters
    ----------
    vertices : (n, 3).
    faces : (m, 3). With consistently oriented faces all polylines run the same way round.
    axis : 0, 1 or 2, the normal of the planes.
    levels : (k,) positions of the planes along `axis`, in any order.

    Returns
    -------
    The polylines of each level. A closed mesh gives closed polylines only. A vertex that lies
    exactly on a plane counts as above it, so that no cut is degenerate.
    """
    levels = np.asarray(levels, np.float64)
    order = np.argsort(levels, kind="stable")
    heights = np.ascontiguousarray(vertices[:, axis], np.float64)
    faces = np.ascontiguousarray(faces, np.int32)
    start = np.zeros(len(levels) + 1, np.int64)
    _count_segments(heights, faces, levels[order], start)
    start = np.cumsum(start)
    segments = np.empty((int(start[-1]), 2, 2), np.int64)
    _fill_segments(heights, faces, levels[order], start[:-1].copy(), segments)
    ends = segments.reshape(-1, 2)
    nodes, offsets, closed, planes = _chain(ends, start)
    edges = ends[nodes]
    level = np.repeat(levels[order][planes], np.diff(offsets))
    points, weights = _points(np.ascontiguousarray(vertices, np.float64), axis, edges, level)
    cuts: list[list[Polyline]] = [[] for _ in levels]
    for piece, plane in enumerate(planes):
        part = slice(offsets[piece], offsets[piece + 1])
        line = Polyline(points[part], edges[part], weights[part], bool(closed[piece]))
        cuts[order[plane]].append(line)
    return cuts


@dataclass(frozen=True)
class Places:
    """Places along a polyline, each between two of its points.

    Attributes
    ----------
    polyline : on which they lie.
    before, after : (n,) numbers of the points on both sides.
    share : (n,) position between the two, 0 to 1.
    """

    polyline: Polyline
    before: Ints
    after: Ints
    share: Floats

    def __len__(self) -> int:
        return len(self.share)

    def interpolate(self, values: NDArray[Any]) -> Floats:
        """Values at the places of (vertices, ...) values of the mesh."""
        at_points = self.polyline.interpolate(values)
        share = self.share.reshape(-1, *[1] * (values.ndim - 1))
        return np.asarray((1 - share) * at_points[self.before] + share * at_points[self.after])


def resample(polyline: Polyline, spacing: float) -> Places:
    """Evenly spaced places along a polyline, as close to `spacing` as its length allows.

    The length L is divided into n = round(L / spacing) equal parts with a place in the middle of
    each; a polyline shorter than half a spacing gets none. A closed polyline is divided from
    its point of smallest first coordinate, so that the phase is the geometry's and not
    the mesh numbering's.
    """
    size = len(polyline.points)
    first = int(np.lexsort(polyline.points.T[::-1])[0]) if polyline.closed else 0
    turn = (np.arange(size) + first) % size
    lengths = polyline.lengths[turn] if polyline.closed else polyline.lengths
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    count = round(along[-1] / spacing)
    places = (np.arange(count) + 0.5) * along[-1] / max(count, 1)
    segment = np.clip(np.searchsorted(along, places, side="right") - 1, 0, len(lengths) - 1)
    length = lengths[segment]
    share = np.divide(places - along[segment], length, out=np.zeros(count), where=length > 0)
    return Places(polyline, turn[segment], turn[(segment + 1) % size], share)


def unit(vectors: Floats) -> Floats:
    """(n, 3) vectors of length 1; a zero vector stays zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0))


@njit(cache=True)
def _count_segments(heights: Any, faces: Any, levels: Any, counts: Any) -> None:
    """counts[k + 1] becomes the number of faces that level k crosses."""
    for face in range(faces.shape[0]):
        a, b, c = heights[faces[face, 0]], heights[faces[face, 1]], heights[faces[face, 2]]
        first = np.searchsorted(levels, min(a, b, c), side="right")
        last = np.searchsorted(levels, max(a, b, c), side="right")
        for level in range(first, last):
            counts[level + 1] += 1


@njit(cache=True)
def _fill_segments(heights: Any, faces: Any, levels: Any, position: Any, ends: Any) -> None:
    """Two edges of each segment: by which the face's outline rises through the level, and sinks.

    The neighbour over an edge runs through it the other way round.
    """
    for face in range(faces.shape[0]):
        a, b, c = heights[faces[face, 0]], heights[faces[face, 1]], heights[faces[face, 2]]
        first = np.searchsorted(levels, min(a, b, c), side="right")
        last = np.searchsorted(levels, max(a, b, c), side="right")
        for level in range(first, last):
            segment = position[level]
            position[level] += 1
            for corner in range(3):
                u, v = faces[face, corner], faces[face, (corner + 1) % 3]
                below_u, below_v = heights[u] < levels[level], heights[v] < levels[level]
                if below_u != below_v:
                    end = 0 if below_u else 1
                    ends[segment, end, 0] = min(u, v)
                    ends[segment, end, 1] = max(u, v)


@njit(cache=True)
def _points(vertices: Any, axis: int, edges: Any, levels: Any) -> Any:
    """Where edges (n, 2) meet their levels (n,): points and shares of the second vertex."""
    points, weights = np.empty((len(edges), 3)), np.empty(len(edges))
    for i in range(len(edges)):
        u, v = edges[i]
        low, high = vertices[u, axis], vertices[v, axis]
        weights[i] = (levels[i] - low) / (high - low)
        for k in range(3):
            points[i, k] = vertices[u, k] + weights[i] * (vertices[v, k] - vertices[u, k])
        points[i, axis] = levels[i]
    return points, weights


@njit(cache=True)
def _partners(ends: Any, partner: Any, table: Any) -> None:
    """The end of another segment on the same edge, -1 where there is none.

    `table` is an empty hash table of a power of two of places, and is left empty.
    """
    last = np.int64(table.size - 1)
    for end in range(ends.shape[0]):
        u, v = ends[end]
        place = (u * 73856093 ^ v * 19349663) & last
        while table[place] >= 0 and (ends[table[place], 0] != u or ends[table[place], 1] != v):
            place = (place + 1) & last
        other = table[place]
        # of more than two on an edge, of a mesh that is no manifold, the first two are joined
        if other < 0 or partner[other] >= 0:
            table[place] = end
        else:
            partner[end], partner[other] = other, end
    table[:] = -1


@njit(cache=True)
def _chain(ends: Any, starts: Any) -> Any:
    """Join segments of one plane that share an edge.

    `ends` holds the edges of ends 2 s and 2 s + 1 of segment s; `starts` the first segment of
    each plane. Returns the ends in the order of the polylines, where each polyline starts,
    whether it is closed, and its plane.
    """
    total = ends.shape[0]
    partner = np.full(total, -1, np.int64)
    seen = np.zeros(total // 2, np.bool_)
    # an open polyline of m segments has m + 1 points
    nodes = np.empty(total, np.int64)
    offsets = np.zeros(total // 2 + 1, np.int64)
    closed = np.zeros(total // 2, np.bool_)
    planes = np.empty(total // 2, np.int64)
    most = 2 * np.max(np.diff(starts)) if starts.size > 1 else 0
    size = 16
    while size < 2 * most:
        size *= 2
    whole_table = np.full(size, -1, np.int64)
    count = pieces = 0
    for plane in range(starts.size - 1):
        first, last = 2 * starts[plane], 2 * starts[plane + 1]
        size = 16
        while size < 2 * (last - first):
            size *= 2
        table = whole_table[:size]
        _partners(ends[first:last], partner[first:last], table)
        for only_open in (True, False):
            for start in range(first, last):
                if seen[start // 2] or (only_open and partner[start] >= 0):
                    continue
                end = start
                while True:
                    seen[end // 2] = True
                    nodes[count] = end
                    count += 1
                    far = end ^ 1
                    if partner[far] < 0:
                        nodes[count] = far
                        count += 1
                        break
                    end = first + partner[far]
                    if seen[end // 2]:
                        closed[pieces] = True
                        break
                planes[pieces] = plane
                pieces += 1
                offsets[pieces] = count
    return nodes[:count], offsets[: pieces + 1], closed[:pieces], planes[:pieces]
