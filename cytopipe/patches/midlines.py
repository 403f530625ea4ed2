"""The middle of an annotated piece of cortex: its skeleton without spurs, and points along it.

CytoNet section 3.5: the midline of an annotated area is the morphological skeleton of its
rasterised contour, with a point every millimetre. The skeleton of a strip forks into its corners
and into every dent of a hand-drawn outline; the paper does not mention these spurs.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import csgraph
from skimage.morphology import skeletonize

from cytopipe.numerics.components import Mask
from cytopipe.numerics.geometry import Floats

# smooths a skeleton's staircase before lengths are measured; chosen, not measured
_SMOOTHING_PX = 3.0
# a branch into a corner of angle a is 1 / sin(a / 2) half-widths long: 1.4 at 90, 2 at 60 degrees
_SPUR = 2.0


def midline_points(mask: Mask, spacing_px: float) -> Floats:
    """Points `spacing_px` apart on the midline of each connected piece of a mask.

    Lines begin and end where the skeleton would fork into corners, half a width before the end of
    the piece: a window there still shows more of the area than of its neighbour. Pieces smaller
    than half the spacing squared are crumbs of a drawing and have no points; all others have at
    least one.

    Parameters
    ----------
    mask : (rows, columns).

    Returns
    -------
    (n, 2) column, row.
    """
    pieces, count = ndimage.label(mask, np.ones((3, 3)))
    points = [np.zeros((0, 2))]
    for number, place in enumerate(ndimage.find_objects(pieces, count), start=1):
        piece = np.pad(pieces[place] == number, 1)
        if piece.sum() < (spacing_px / 2) ** 2:
            continue
        corner = np.array([place[1].start - 1, place[0].start - 1])
        points.append(_points_of_piece(piece, spacing_px) + corner)
    return np.concatenate(points)


def _points_of_piece(piece: Mask, spacing_px: float) -> Floats:
    lines = [smooth_line(line) for line in branches(without_spurs(piece))]
    points = [spread(line, spacing_px, fewest=0) for line in lines]
    if not any(map(len, points)):
        # shorter than a step: the middle of the longest line
        longest = max(lines, key=lambda line: float(_lengths(line)[-1]))
        return spread(longest, spacing_px, fewest=1)
    return np.concatenate(points)


def without_spurs(piece: Mask) -> Mask:
    """The skeleton of a connected piece without its spurs.

    A spur is a branch with a loose end, shorter than twice the half-width where it leaves the rest.
    All spurs are removed at once, so that neither of two forks into corners becomes the midline;
    this repeats until none is left.
    """
    skeleton = np.asarray(skeletonize(piece), bool)
    half_width = ndimage.distance_transform_edt(piece)
    while True:
        pixels, graph = _graph(skeleton)
        degree = np.diff(graph.indptr)
        forks = degree > 2
        if not forks.any():
            return skeleton
        spurs = []
        for members in _branch_pixels(graph, forks):
            loose = (degree[members] == 1).any()
            beside = np.unique(graph[members].indices)
            at = beside[forks[beside]]
            if not loose or not len(at):
                continue
            # chains of 8-connected pixels: steps of 1 and sqrt 2
            inner = graph[members]
            length = inner[:, members].sum() / 2 + inner[:, at[:1]].sum()
            if length < _SPUR * half_width[tuple(pixels[at[0]])]:
                spurs.append(members)
        if not spurs:
            return skeleton
        skeleton[tuple(pixels[np.concatenate(spurs)].T)] = False
        # the rest of a fork becomes a line again
        skeleton = np.asarray(skeletonize(skeleton), bool)


def branches(skeleton: Mask) -> Iterator[Floats]:
    """The lines (n, 2) column, row of a skeleton, each from one fork or end to the next."""
    pixels, graph = _graph(skeleton)
    forks = np.diff(graph.indptr) > 2
    for members in _branch_pixels(graph, forks):
        inner = graph[members][:, members]
        ends = np.flatnonzero(np.diff(inner.indptr) < 2)
        start = int(ends[0]) if len(ends) else 0
        order = members[csgraph.depth_first_order(inner, start, directed=False)[0]].tolist()
        first, last = (
            beside[forks[beside]].tolist()
            for beside in (graph[order[0]].indices, graph[order[-1]].indices)
        )
        if len(order) == 1:
            last = first[1:]
        order = [*first[:1], *order, *last[:1]]
        if not len(ends):
            order.append(order[0])  # a ring
        yield pixels[order][:, ::-1].astype(np.float64)
    if len(pixels) and forks.all():
        yield pixels[:1, ::-1].astype(np.float64)


def _graph(skeleton: Mask) -> tuple[NDArray[np.int64], sparse.csr_matrix]:
    """Pixels (n, 2) row, column and the lengths of the steps between neighbours.

    Diagonal steps beside a corner pixel do not count; corners would look like forks.
    """
    pixels = np.argwhere(skeleton)
    number = np.full(np.array(skeleton.shape) + 2, -1)
    number[tuple((pixels + 1).T)] = np.arange(len(pixels))
    rows, columns = (pixels + 1).T
    here = np.arange(len(pixels))
    start, end, length = [], [], []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        there = number[rows + down, columns + right]
        joined = there >= 0
        if down and right:
            joined &= (number[rows + down, columns] < 0) & (number[rows, columns + right] < 0)
        start.append(here[joined])
        end.append(there[joined])
        length.append(np.full(int(joined.sum()), np.hypot(down, right)))
    a, b, steps = np.concatenate(start), np.concatenate(end), np.concatenate(length)
    size = (len(pixels), len(pixels))
    graph = sparse.csr_matrix((np.tile(steps, 2), (np.append(a, b), np.append(b, a))), shape=size)
    return pixels, graph


def _branch_pixels(
    graph: sparse.csr_matrix, forks: NDArray[np.bool_]
) -> Iterator[NDArray[np.int64]]:
    """The numbers of the pixels of each branch, without forks."""
    plain = np.flatnonzero(~forks)
    count, label = csgraph.connected_components(graph[plain][:, plain], directed=False)
    for number in range(count):
        yield plain[label == number]


def smooth_line(line: Floats) -> Floats:
    """A chain of pixels without its staircase, which makes it up to 8 % longer."""
    closed = len(line) > 2 and (line[0] == line[-1]).all()
    if closed:
        smooth = ndimage.gaussian_filter1d(line[:-1], _SMOOTHING_PX, axis=0, mode="wrap")
        return np.concatenate([smooth, smooth[:1]])
    return np.asarray(ndimage.gaussian_filter1d(line, _SMOOTHING_PX, axis=0, mode="nearest"))


def spread(line: Floats, spacing: float, fewest: int) -> Floats:
    """Points `spacing` apart along a line, as many as fit, symmetric about its middle.

    The first point lies a quarter to three quarters of the spacing from the end, so that the points
    of lines that meet stay half a spacing apart.
    """
    lengths = _lengths(line)
    count = max(fewest, round(lengths[-1] / spacing))
    at = lengths[-1] / 2 + (np.arange(count) - (count - 1) / 2) * spacing
    return np.stack([np.interp(at, lengths, axis) for axis in line.T], axis=1)


def _lengths(line: Floats) -> Floats:
    steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])
