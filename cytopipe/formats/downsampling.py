"""The next coarser level of a pyramid, made band by band while the finer level is written."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

# called with (row, column, rows, columns), returns these pixels of an image
ReadWindow = Callable[[int, int, int, int], NDArray[Any]]


class Downsampler:
    """A level made from a finer one: first it grows in a file of plain rows, then it is read.

    A memory map would do as well, but its pages count as memory of the process.

    Parameters
    ----------
    fine : rows and columns of the finer level.
    factor : how many of its pixels a pixel is wide, along each axis: 2 halves (`halve`), any other
        factor takes means over the area of a pixel. As in `numerics/geometry`, pixel x lies at
        (x + 0.5) factor - 0.5. A last row or column of which less than half is covered is left out.
    """

    def __init__(self, file: Path, fine: tuple[int, int], factor: float, dtype: DTypeLike) -> None:
        self._file, self._fine, self._factor = file, fine, factor
        self._dtype = np.dtype(dtype)
        self._halves = abs(factor - 2) < 1e-9
        rows, columns = (
            (size + 1) // 2 if self._halves else max(1, math.floor(size / factor + 0.5))
            for size in fine
        )
        self.shape = rows, columns
        self._rows = open(file, "wb")  # noqa: SIM115
        self._parts: list[NDArray[Any]] = []
        self._row = 0  # of the finer level: the rows above are done
        self._partial = np.zeros((0, self.shape[1]))  # sums of rows that are not complete
        self._cached: tuple[int, NDArray[Any]] | None = None

    def add(self, pixels: NDArray[Any]) -> None:
        """Add the next window of the finer level, in the order of `windows_of`."""
        self._parts.append(halve(pixels) if self._halves else pixels)
        # halved parts are half as wide; the band is complete once they fill the width
        if sum(part.shape[1] for part in self._parts) < (
            self.shape[1] if self._halves else self._fine[1]
        ):
            return
        band = self._parts[0] if len(self._parts) == 1 else np.concatenate(self._parts, axis=1)
        self._parts = []
        if self._halves:
            np.ascontiguousarray(band, self._dtype).tofile(self._rows)
        else:
            self._average(band)

    def _average(self, band: NDArray[Any]) -> None:
        averaged = np.concatenate(
            [
                _averaged_columns(band[row : row + 64], self._factor, self.shape[1])
                for row in range(0, len(band), 64)
            ]
        )
        end = self._row + len(band)
        first = int(self._row / self._factor)
        last = min(math.ceil(end / self._factor), self.shape[0])
        weights = _row_weights(first, last, self._factor, self._row, end, self._fine[0])
        sums = weights @ averaged
        sums[: len(self._partial)] += self._partial
        complete = last if end == self._fine[0] else int(end / self._factor)
        rows = np.rint(sums[: complete - first])
        np.ascontiguousarray(rows).astype(self._dtype).tofile(self._rows)
        self._partial = sums[complete - first :]
        self._row = end

    def close(self) -> None:
        """Finish the level: the finer one is complete, and this one can now be read."""
        self._rows.close()

    def read_window(self, row: int, column: int, rows: int, columns: int) -> NDArray[Any]:
        """Pixels of this level, at most one band; its rows are kept for the next call."""
        if self._cached is None or self._cached[0] != row or len(self._cached[1]) != rows:
            width = self.shape[1]
            start = row * width * self._dtype.itemsize
            band = np.fromfile(self._file, self._dtype, count=rows * width, offset=start)
            self._cached = row, band.reshape(rows, width)
        return self._cached[1][:, column : column + columns]


def _averaged_columns(pixels: NDArray[Any], factor: float, width: int) -> NDArray[np.float64]:
    """Means over `factor` columns each, cut off at the last column of the image."""
    sums = np.zeros((len(pixels), pixels.shape[1] + 1))
    np.cumsum(pixels, axis=1, out=sums[:, 1:])
    edges = np.minimum(np.arange(width + 1) * factor, pixels.shape[1])
    whole = np.minimum(edges.astype(np.int64), pixels.shape[1] - 1)
    up_to = sums[:, whole] + (edges - whole) * pixels[:, whole]
    return np.asarray(np.diff(up_to, axis=1) / np.diff(edges))


def _row_weights(
    first: int, last: int, factor: float, start: int, end: int, size: int
) -> NDArray[np.float64]:
    """Weights (last - first, end - start) of fine rows in coarse ones, by the overlap."""
    top = np.arange(first, last)[:, None] * factor
    bottom = np.minimum(top + factor, size)
    rows = np.arange(start, end)[None]
    overlap = np.minimum(bottom, rows + 1) - np.maximum(top, rows)
    return np.asarray(np.maximum(overlap, 0) / (bottom - top))


def halve(image: NDArray[Any]) -> NDArray[Any]:
    """Average 2 x 2 pixels; an odd last row or column is averaged with itself.

    Integers are rounded, halves up.
    """
    padded = np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2)), mode="edge")
    # integers: a mean in floating point would take eight bytes per pixel of a scan
    total = padded[::2, ::2].astype(np.uint32)
    for row, column in ((0, 1), (1, 0), (1, 1)):
        total += padded[row::2, column::2]
    return ((total + 2) >> 2).astype(image.dtype)
