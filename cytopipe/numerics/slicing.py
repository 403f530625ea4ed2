"""Plane cuts of a triangle mesh, as segments or chained into polylines.

A cut passes through mesh edges, and two faces that share a crossed edge share a point of the cut.
Chaining therefore compares vertex numbers, not coordinates, and needs no tolerance. A vertex that
lies exactly on a plane counts as above it, so that no cut is degenerate.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cytopipe.numerics.geometry import Floats

Ints = NDArray[np.int64]


def _between(first: NDArray[Any], second: NDArray[Any], share: Floats) -> Floats:
    share = share.reshape(-1, *[1] * (first.ndim - 1))
    return np.asarray((1 - share) * first + share * second, np.float64)


@dataclass(frozen=True)
class Polyline:
    """One connected piece of the cut of a mesh by a plane.

    Attributes
    ----------
    points : (n, 3) in the frame of the mesh.
    edges : (n, 2) the mesh vertices on both sides of each point.
    weights : (n,) weight of the second of the two vertices, 0 to 1.
    closed : whether the last point is joined to the first, which is not repeated.
    """

    points: Floats
    edges: Ints
    weights: Floats
    closed: bool

    def interpolate(self, values: NDArray[Any]) -> Floats:
        """Interpolate values (vertices, ...) of the mesh linearly at the points."""
        return _between(values[self.edges[:, 0]], values[self.edges[:, 1]], self.weights)

    @property
    def lengths(self) -> Floats:
        """Lengths of the segments, including the closing one."""
        ends = np.roll(self.points, -1, axis=0)
        lengths = np.linalg.norm(ends - self.points, axis=1)
        return np.asarray(lengths if self.closed else lengths[:-1])


def cut_mesh(
    vertices: Floats, faces: NDArray[np.int32], axis: int, levels: Floats
) -> list[list[Polyline]]:
    """Cut a mesh by the planes `axis` = level into polylines.

    Parameters
    ----------
    faces : (m, 3). If they are oriented consistently, all polylines run the same way round.
    axis : 0, 1 or 2, the normal of the planes.
    levels : (k,) positions of the planes along `axis`, in any order.

    Returns
    -------
    The polylines of each level. A closed mesh gives closed polylines only.
    """
    vertices, levels = np.ascontiguousarray(vertices, np.float64), np.asarray(levels, np.float64)
    order = np.argsort(levels, kind="stable")
    ends, starts = _segments(vertices[:, axis], faces, levels[order])
    nodes, offsets, closed, planes = _chain(ends, starts)
    edges = ends[nodes]
    level = np.repeat(levels[order][planes], np.diff(offsets))
    points, weights = _points(vertices, axis, edges, level)
    cuts: list[list[Polyline]] = [[] for _ in levels]
    for piece, plane in enumerate(planes):
        part = slice(offsets[piece], offsets[piece + 1])
        line = Polyline(points[part], edges[part], weights[part], bool(closed[piece]))
        cuts[order[plane]].append(line)
    return cuts


def plane_segments(vertices: Floats, faces: NDArray[np.int32], level: float) -> Floats:
    """Segments (n, 2, 2) in which the plane z = level cuts a mesh, as start and end (x, y).

    The segments of a closed, consistently oriented mesh form closed loops of one direction.
    """
    vertices = np.ascontiguousarray(vertices, np.float64)
    edges, _ = _segments(vertices[:, 2], faces, np.array([level]))
    points, _ = _points(vertices, 2, edges, np.full(len(edges), level))
    return np.asarray(points[:, :2].reshape(-1, 2, 2))


@dataclass(frozen=True)
class Places:
    """Places along a polyline, each between two of its points.

    Attributes
    ----------
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
        """Interpolate values (vertices, ...) of the mesh linearly at the places."""
        at_points = self.polyline.interpolate(values)
        return _between(at_points[self.before], at_points[self.after], self.share)


def resample(polyline: Polyline, spacing: float) -> Places:
    """Evenly spaced places along a polyline, as close to `spacing` as its length allows.

    The polyline is divided into round(length / spacing) equal parts, with a place in the middle of
    each. Division of a closed polyline starts at the point with the smallest first coordinate, so
    that the places do not depend on the numbering of the mesh.
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


@njit(cache=True)
def _segments(heights: Any, faces: Any, levels: Any) -> Any:
    """The edges (2 s, 2) at both ends of s segments, and where the segments of each level start.

    The outline of a face rises through the level at the first edge, and sinks at the second.
    """
    starts = np.zeros(levels.size + 1, np.int64)
    crossed = np.empty((faces.shape[0], 2), np.int64)
    for face in range(faces.shape[0]):
        a, b, c = heights[faces[face, 0]], heights[faces[face, 1]], heights[faces[face, 2]]
        crossed[face, 0] = np.searchsorted(levels, min(a, b, c), side="right")
        crossed[face, 1] = np.searchsorted(levels, max(a, b, c), side="right")
        for level in range(crossed[face, 0], crossed[face, 1]):
            starts[level + 1] += 1
    starts = np.cumsum(starts)
    position = starts.copy()
    edges = np.empty((2 * starts[-1], 2), np.int64)
    for face in range(faces.shape[0]):
        for level in range(crossed[face, 0], crossed[face, 1]):
            segment = position[level]
            position[level] += 1
            for corner in range(3):
                u, v = faces[face, corner], faces[face, (corner + 1) % 3]
                below_u, below_v = heights[u] < levels[level], heights[v] < levels[level]
                if below_u != below_v:
                    end = 2 * segment + (0 if below_u else 1)
                    edges[end, 0], edges[end, 1] = min(u, v), max(u, v)
    return edges, starts


@njit(cache=True)
def _points(vertices: Any, axis: int, edges: Any, levels: Any) -> Any:
    """Where edges (n, 2) meet their levels (n,): points and weights of the second vertex."""
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
    """Find the end of another segment on the same edge; -1 if there is none.

    `table` is an empty hash table whose size is a power of two; it is left empty.
    """
    last = np.int64(table.size - 1)
    for end in range(ends.shape[0]):
        u, v = ends[end]
        place = (u * 73856093 ^ v * 19349663) & last
        while table[place] >= 0 and (ends[table[place], 0] != u or ends[table[place], 1] != v):
            place = (place + 1) & last
        other = table[place]
        # an edge of a mesh that is not a manifold may have more than two: the first two are joined
        if other < 0 or partner[other] >= 0:
            table[place] = end
        else:
            partner[end], partner[other] = other, end
    table[:] = -1


@njit(cache=True)
def _chain(ends: Any, starts: Any) -> Any:
    """Join segments of one plane that share an edge.

    `ends` and `starts` come from `_segments`. Returns the ends in the order of the polylines, where
    each polyline starts, whether it is closed, and its plane.
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
