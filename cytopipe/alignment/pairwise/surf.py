"""Speeded-up robust features (Bay et al. 2008), upright, compiled.

The detector is that of `mahotas.features.surf` (same boxes and steps; the tests compare them), but
mahotas moves a point away from the maximum of its parabola instead of towards it (0.6 px off at the
finest octave, several at the coarsest). The descriptor is the upright one of the same paper: the
image is rotated beforehand, and an orientation estimated from noise loses matches.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cytopipe.numerics.geometry import Floats

# filter sizes of each octave (Bay et al. 2008, figure 7); octaves have steps of 1, 2, 4, 8 pixels
SIZES = np.array(
    [[9, 15, 21, 27], [15, 27, 39, 51], [27, 51, 75, 99], [51, 99, 147, 195]], np.int64
)


def detect(image: NDArray[np.float32], octaves: int, most: int) -> Floats:
    """The strongest interest points of an image with values from 0 to 255, strongest first.

    The columns of the (n, 5) result are x, y and scale in pixels (standard deviation of the blob's
    Gaussian), score (determinant of the Hessian), sign of the Laplacian.
    """
    table = integral(image)
    points_by_octave = []
    for octave in range(octaves):
        step = 1 << octave
        shape = ((image.shape[0] - 1) // step + 1, (image.shape[1] - 1) // step + 1)
        scores = np.zeros((4, *shape), np.float32)
        traces = np.zeros((4, *shape), np.float32)
        for layer in range(4):
            _hessian(table, SIZES[octave, layer], step, scores[layer], traces[layer])
        points_by_octave.append(_maxima(scores, traces, SIZES[octave], step))
    points = np.concatenate(points_by_octave)
    return np.asarray(points[np.argsort(-points[:, 3], kind="stable")][:most])


def describe(image: NDArray[np.float32], points: Floats) -> NDArray[np.float32]:
    """Upright SURF descriptors, (n, 64) of unit length, at the points of `detect`."""
    return np.asarray(_describe(integral(image), np.ascontiguousarray(points, np.float64)))


def integral(image: NDArray[np.float32]) -> Floats:
    """(rows + 1, columns + 1) sums of all pixels above and to the left."""
    table = np.zeros((image.shape[0] + 1, image.shape[1] + 1))
    table[1:, 1:] = image.astype(np.float64).cumsum(0).cumsum(1)
    return table


@njit(cache=True, inline="always")
def _box(table: Floats, top: int, left: int, bottom: int, right: int) -> float:
    """Sum of rows top to bottom - 1 and columns left to right - 1."""
    return table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]


@njit(cache=True)
def _hessian(
    table: Floats, size: int, step: int, scores: NDArray[np.float32], traces: NDArray[np.float32]
) -> None:
    rows, columns = table.shape[0] - 1, table.shape[1] - 1
    lobe, border = size // 3, (size - 1) // 2
    area = 1.0 / (size * size)
    first = (border + step) // step
    for i in range(first, scores.shape[0]):
        y = i * step
        if y + border + 1 > rows - 1:
            break
        for j in range(first, scores.shape[1]):
            x = j * step
            if x + border + 1 > columns - 1:
                break
            yy = _box(table, y - border, x - lobe + 1, y + border + 1, x + lobe) - 3 * _box(
                table, y - lobe // 2, x - lobe + 1, y - lobe // 2 + lobe, x + lobe
            )
            xx = _box(table, y - lobe + 1, x - border, y + lobe, x + border + 1) - 3 * _box(
                table, y - lobe + 1, x - lobe // 2, y + lobe, x - lobe // 2 + lobe
            )
            xy = (
                _box(table, y - lobe, x + 1, y, x + lobe + 1)
                + _box(table, y + 1, x - lobe, y + lobe + 1, x)
                - _box(table, y - lobe, x - lobe, y, x)
                - _box(table, y + 1, x + 1, y + lobe + 1, x + lobe + 1)
            )
            xx, yy, xy = xx * area, yy * area, xy * area
            # 0.9 squared corrects for boxes instead of Gaussians (Bay et al. 2008, equation 3)
            scores[i, j] = xx * yy - 0.81 * xy * xy
            traces[i, j] = xx + yy


@njit(cache=True)
def _maxima(
    scores: NDArray[np.float32], traces: NDArray[np.float32], sizes: NDArray[np.int64], step: int
) -> Floats:
    layers, rows, columns = scores.shape
    axes = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]])  # x, y, scale
    points = np.empty((rows * columns // 4 + 16, 5))
    count = 0
    for k in range(1, layers - 1):
        for i in range(1, rows - 1):
            for j in range(1, columns - 1):
                here = scores[k, i, j]
                # flat; the threshold is chosen, not measured
                if here < 1.0:
                    continue
                best = True
                for c in range(-1, 2):
                    for a in range(-1, 2):
                        for b in range(-1, 2):
                            if (a or b or c) and scores[k + c, i + a, j + b] >= here:
                                best = False
                if not best or count == len(points):
                    continue
                gradient, hessian = np.empty(3), np.empty((3, 3))
                for a in range(3):
                    k1, i1, j1 = axes[a]
                    after, before = scores[k + k1, i + i1, j + j1], scores[k - k1, i - i1, j - j1]
                    gradient[a] = (after - before) / 2
                    hessian[a, a] = after - 2 * here + before
                    for b in range(a):
                        k2, i2, j2 = axes[b]
                        hessian[a, b] = hessian[b, a] = (
                            scores[k + k1 + k2, i + i1 + i2, j + j1 + j2]
                            - scores[k + k1 - k2, i + i1 - i2, j + j1 - j2]
                            - scores[k - k1 + k2, i - i1 + i2, j - j1 + j2]
                            + scores[k - k1 - k2, i - i1 - i2, j - j1 - j2]
                        ) / 4
                if np.linalg.det(hessian) == 0:
                    continue
                offset = -np.linalg.solve(hessian, gradient)
                if np.abs(offset).max() > 1:
                    continue
                points[count, 0] = (j + offset[0]) * step
                points[count, 1] = (i + offset[1]) * step
                points[count, 2] = (sizes[k] + offset[2] * (sizes[1] - sizes[0])) * 1.2 / 9
                points[count, 3] = here
                points[count, 4] = 1.0 if traces[k, i, j] > 0 else -1.0
                count += 1
    return points[:count]


@njit(cache=True)
def _describe(table: Floats, points: Floats) -> NDArray[np.float32]:
    rows, columns = table.shape[0] - 1, table.shape[1] - 1
    out = np.zeros((len(points), 64), np.float32)
    for n in range(len(points)):
        x, y, scale = points[n, 0], points[n, 1], points[n, 2]
        half = max(round(scale), 1)
        for region in range(16):
            top, left = (region // 4) * 5 - 10, (region % 4) * 5 - 10
            sx, sy, ax, ay = 0.0, 0.0, 0.0, 0.0
            for sample in range(25):
                v, u = top + sample // 5 + 0.5, left + sample % 5 + 0.5
                # wavelets 2 scales wide, centred on pixel corners; those outside the image are 0
                py, px = round(y + v * scale + 0.5), round(x + u * scale + 0.5)
                if py < half or px < half or py + half > rows or px + half > columns:
                    continue
                weight = np.exp(-(u * u + v * v) / (2 * 3.3 * 3.3))
                right = _box(table, py - half, px, py + half, px + half)
                left_half = _box(table, py - half, px - half, py + half, px)
                below = _box(table, py, px - half, py + half, px + half)
                above = _box(table, py - half, px - half, py, px + half)
                dx, dy = weight * (right - left_half), weight * (below - above)
                sx += dx
                sy += dy
                ax += abs(dx)
                ay += abs(dy)
            out[n, region * 4] = sx
            out[n, region * 4 + 1] = sy
            out[n, region * 4 + 2] = ax
            out[n, region * 4 + 3] = ay
        length = np.sqrt((out[n] * out[n]).sum())
        if length > 0:
            out[n] /= length
    return out
