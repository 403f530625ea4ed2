"""Connected components of 2D masks; neighbours share an edge (connectivity 4).

Union-find joins runs of pixels, of which a row has only a few. The results equal those of
scikit-image's `label`, `remove_small_objects` and `remove_small_holes`.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Pieces:
    """The components of a mask; arrays other than `labels` have one entry per component.

    Attributes
    ----------
    labels : (rows, columns), the number of the component; -1 outside the mask.
    area : number of pixels.
    outline : number of pixel edges between the component and its surroundings or the image border.
    against : number of those edges that border on another mask.
    total : sum of an image over the component.
    """

    labels: NDArray[np.int32]
    area: Ints
    outline: Ints
    against: Ints
    total: Ints


def without_small(mask: Mask, max_px: float) -> Mask:
    """Remove components of at most `max_px` pixels (skimage: remove_small_objects)."""
    return np.asarray(_select(mask, mask, max_px, False))


def filled(mask: Mask, max_px: float) -> Mask:
    """Fill holes of at most `max_px` pixels (skimage: remove_small_holes)."""
    return ~without_small(~mask, max_px)


def touching(mask: Mask, seeds: Mask) -> Mask:
    """The components of `mask` that contain a pixel of `seeds`."""
    return np.asarray(_select(mask, seeds, 0.0, True))


def connected_to_border(mask: Mask) -> Mask:
    """The components of `mask` that reach the border of the image."""
    border = np.zeros_like(mask)
    border[[0, -1]] = True
    border[:, [0, -1]] = True
    return touching(mask, border)


def pieces(mask: Mask, other: Mask, image: NDArray[np.uint8]) -> Pieces:
    """Measure the components of `mask`, with `other` and `image` as described in `Pieces`."""
    starts, ends, first, roots = _runs(mask)
    _, numbers = np.unique(roots, return_inverse=True)
    count = int(numbers.max(initial=-1)) + 1
    return Pieces(*_measure(starts, ends, first, numbers, count, other, image))


@njit(cache=True, inline="always")
def _root(parents: Ints, i: int) -> int:
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


@njit(cache=True)
def _runs(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int32], Ints, Ints]:
    """Runs of a mask: first column, column after the last, first run of each row, and root run."""
    rows, columns = mask.shape
    room = rows * ((columns + 1) // 2)
    starts, ends = np.empty(room, np.int32), np.empty(room, np.int32)
    first = np.empty(rows + 1, np.int64)
    count = 0
    for y in range(rows):
        first[y] = count
        x = 0
        while x < columns:
            if not mask[y, x]:
                x += 1
                continue
            starts[count] = x
            while x < columns and mask[y, x]:
                x += 1
            ends[count] = x
            count += 1
    first[rows] = count
    parents = np.arange(count)
    for y in range(1, rows):
        above, below = first[y - 1], first[y]
        while above < first[y] and below < first[y + 1]:
            if starts[above] < ends[below] and starts[below] < ends[above]:
                a, b = _root(parents, above), _root(parents, below)
                parents[max(a, b)] = min(a, b)
            if ends[above] < ends[below]:
                above += 1
            else:
                below += 1
    for i in range(count):
        parents[i] = _root(parents, i)
    return starts[:count], ends[:count], first, parents


@njit(cache=True)
def _select(mask: Mask, seeds: Mask, max_px: float, seeded: bool) -> Mask:
    """Components with more than `max_px` seeds if `seeded`, else with more than `max_px` pixels."""
    starts, ends, first, roots = _runs(mask)
    score = np.zeros(len(roots), np.int64)
    for y in range(mask.shape[0]):
        for i in range(first[y], first[y + 1]):
            if seeded:
                for x in range(starts[i], ends[i]):
                    score[roots[i]] += seeds[y, x]
            else:
                score[roots[i]] += ends[i] - starts[i]
    out = np.zeros_like(mask)
    for y in range(mask.shape[0]):
        for i in range(first[y], first[y + 1]):
            if score[roots[i]] > max_px:
                out[y, starts[i] : ends[i]] = True
    return out


@njit(cache=True)
def _measure(starts, ends, first, numbers, count, other, image):  # type: ignore[no-untyped-def]
    """The fields of `Pieces`, from the runs of a mask and the number of each run's component."""
    labels = np.full(other.shape, -1, np.int32)
    for y in range(labels.shape[0]):
        for i in range(first[y], first[y + 1]):
            labels[y, starts[i] : ends[i]] = numbers[i]
    area, outline = np.zeros(count, np.int64), np.zeros(count, np.int64)
    against, total = np.zeros(count, np.int64), np.zeros(count, np.int64)
    rows, columns = labels.shape
    for y in range(rows):
        for x in range(columns):
            label = labels[y, x]
            if label < 0:
                continue
            area[label] += 1
            total[label] += image[y, x]
            for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                v, u = y + down, x + right
                if v < 0 or u < 0 or v >= rows or u >= columns:
                    outline[label] += 1
                elif labels[v, u] < 0:
                    outline[label] += 1
                    against[label] += other[v, u]
    return labels, area, outline, against, total


@njit(cache=True)
def edges_between(first: Mask, second: Mask) -> int:
    """Number of pixel edges between `first` and `second`."""
    rows, columns = first.shape
    count = 0
    for y in range(rows):
        for x in range(columns):
            if x + 1 < columns:
                count += first[y, x] & second[y, x + 1]
                count += second[y, x] & first[y, x + 1]
            if y + 1 < rows:
                count += first[y, x] & second[y + 1, x]
                count += second[y, x] & first[y + 1, x]
    return count
