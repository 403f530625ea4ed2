"""Closed meshes cut by planes: coverage of pixels and labels of voxels by winding number.

A plane cuts a closed mesh in closed, directed loops. The winding number of a pixel is summed along
its row; edges that run through a pixel count by the area they cut off, so that the coverage of a
pixel (0 to 1) is exact and images need no supersampling.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def cut(vertices: Floats, faces: NDArray[np.int32], height: float) -> Floats:
    """Directed segments (n, 2, 2) in which the plane third coordinate = height cuts a closed mesh.

    Parameters
    ----------
    vertices : (n, 3); the first two coordinates are those of the plane.
    faces : (m, 3).
    """
    above = vertices[:, 2] >= height  # a vertex in the plane counts as above: loops stay closed
    corners = above[faces]
    crossed = np.flatnonzero(corners.any(1) & ~corners.all(1))
    if crossed.size == 0:
        return np.zeros((0, 2, 2))
    triangles, corners = faces[crossed], corners[crossed]
    # turn each triangle so that its lone corner comes first; the cyclic order is kept
    lone_above = corners.sum(1) == 1
    lone = np.argmax(corners == lone_above[:, None], axis=1)
    order = (lone[:, None] + np.arange(3)) % 3
    a, b, c = np.take_along_axis(triangles, order, axis=1).T
    first, second = _crossing(vertices, a, b, height), _crossing(vertices, c, a, height)
    segments = np.stack([first, second], axis=1)
    segments[lone_above] = segments[lone_above][:, ::-1]
    return segments


def _crossing(
    vertices: Floats, start: NDArray[np.int32], end: NDArray[np.int32], height: float
) -> Floats:
    # from the smaller index to the larger: both triangles of an edge find the same point exactly
    low, high = np.minimum(start, end), np.maximum(start, end)
    p, q = vertices[low], vertices[high]
    share = (height - p[:, 2]) / (q[:, 2] - p[:, 2])
    return np.asarray(p[:, :2] + share[:, None] * (q[:, :2] - p[:, :2]))


def coverage(segments_px: Floats, rows: int, columns: int) -> NDArray[np.float32]:
    """Share of each pixel inside closed directed loops, (rows, columns).

    Parameters
    ----------
    segments_px : (n, 2, 2) start and end as (column, row), integer = pixel centre. Loops may leave
        the window. Their sense of turning does not matter, it has to be the same for outer
        contours and opposite for holes, as `cut` gives it.
    """
    covered = np.zeros((rows, columns), np.float32)
    edges = np.ascontiguousarray(segments_px, np.float64) + 0.5
    if len(edges) > 0:
        changes = np.zeros((rows, columns + 1), np.float32)
        turning = _accumulate(changes, edges)
        _sum_rows(changes, np.sign(turning), covered)
    return covered


@njit(cache=True)
def _sum_rows(changes, sign, covered) -> None:  # type: ignore[no-untyped-def]
    for row in range(covered.shape[0]):
        total = 0.0
        for column in range(covered.shape[1]):
            total += sign * changes[row, column]
            # what rounding leaves is neither tissue nor a hole
            covered[row, column] = 0.0 if total < 1e-4 else 1.0 if total > 1 - 1e-4 else total


@njit(cache=True)
def _ramp(left, right, x) -> float:  # type: ignore[no-untyped-def]
    """Mean over an edge from `left` to `right` of max(0, x - position)."""
    if x <= left:
        return 0.0
    if x >= right:
        return float(x - 0.5 * (left + right))
    return float(0.5 * (x - left) * (x - left) / (right - left))


@njit(cache=True)
def _covered(left, right, x) -> float:  # type: ignore[no-untyped-def]
    """Mean over an edge from `left` to `right` of the share of pixel [x - 1, x] right of it."""
    return _ramp(left, right, x) - _ramp(left, right, x - 1.0)


@njit(cache=True)
def _accumulate(image, edges) -> float:  # type: ignore[no-untyped-def]
    """Add each edge's change of covered area along the rows; returns the loops' signed area.

    After the accumulation buffer of R. Levien's font-rs.
    """
    rows, columns = image.shape[0], image.shape[1] - 1
    turning = 0.0
    for e in range(edges.shape[0]):
        x0, y0, x1, y1 = edges[e, 0, 0], edges[e, 0, 1], edges[e, 1, 0], edges[e, 1, 1]
        turning += 0.5 * (x0 + x1) * (y1 - y0)
        if y0 == y1:
            continue
        sign = 1.0
        if y0 > y1:
            x0, y0, x1, y1, sign = x1, y1, x0, y0, -1.0
        slope = (x1 - x0) / (y1 - y0)
        for row in range(max(0, int(np.floor(y0))), min(rows, int(np.ceil(y1)))):
            top, bottom = max(y0, float(row)), min(y1, float(row + 1))
            height = bottom - top
            if height <= 0:
                continue
            left = x0 + slope * (top - y0)
            right = x0 + slope * (bottom - y0)
            if left > right:
                left, right = right, left
            # what lies left of the window covers its rows whole; what lies right of it, nothing
            left, right = min(max(left, 0.0), columns), min(max(right, 0.0), columns)
            first, last = int(left), int(right)
            if first == last:
                mean = 0.5 * (left + right) - first
                image[row, first] += -sign * height * (1 - mean)
                if first + 1 <= columns:
                    image[row, first + 1] += -sign * height * mean
                continue
            # area to the right of the edge, column by column; each change is added once
            before = 0.0
            for column in range(first, min(last, columns) + 1):
                reached = _covered(left, right, column + 1.0)
                image[row, column] += -sign * height * (reached - before)
                before = reached
            if last + 1 <= columns:
                image[row, last + 1] += -sign * height * (1 - before)
    return float(turning)


def label_volume(
    hemispheres: "list[tuple[Floats, Floats, NDArray[np.int32]]]",
    origin_mm: Floats,
    voxel_mm: float,
    shape: tuple[int, int, int],
) -> NDArray[np.uint8]:
    """Labels 0 outside, 1 between pial surface and white matter, 2 white matter, on a RAS grid.

    Parameters
    ----------
    hemispheres : (pial vertices, white vertices, faces) each, RAS mm.
    origin_mm : centre of voxel (0, 0, 0).
    shape : voxels along R, A, S.

    Notes
    -----
    A voxel takes a label when more than half of its face in the coronal plane through its centre
    has it, which is the winding number at its centre but for a fringe below half a voxel.
    """
    labels = np.zeros(shape, np.uint8)
    for pial, white, faces in hemispheres:
        for value, vertices in ((1, pial), (2, white)):
            # (column, row, height) = (R, S, A) in voxels
            turned = ((vertices - origin_mm) / voxel_mm)[:, [0, 2, 1]]
            lowest, highest = turned[:, 2].min(), turned[:, 2].max()
            for a in range(max(0, int(np.ceil(lowest))), min(shape[1], int(highest) + 1)):
                inside = coverage(cut(turned, faces, float(a)), shape[2], shape[0]) > 0.5
                labels[:, a, :][inside.T & (labels[:, a, :] < value)] = value
    return labels
