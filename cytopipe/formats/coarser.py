"""The next coarser level of a pyramid, made band by band while the finer one is written."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

# (row, column, rows, columns) to these pixels of an image
Window = Callable[[int, int, int, int], NDArray[Any]]


class Coarser:
    """A level made of a finer one, growing in a file of plain rows; then read from it.

    A map into memory would do as well, but its pages count as the process's memory.

    Parameters
    ----------
    fine : rows and columns of the finer level.
    factor : how many of its pixels a pixel is wide, along each axis: 2 halves (`halve`), another
        one takes the means over the area of a pixel. It is as in `numerics/geometry`: pixel x lies
        at (x + 0.5) factor - 0.5. A last row or column less than half covered is left out.
    band : rows of the windows that are added.
    """

    def __init__(
        self, file: Path, fine: tuple[int, int], factor: float, band: int, dtype: DTypeLike
    ) -> None:
        self._file, self._fine, self._factor, self._band = file, fine, factor, band
        self._dtype = np.dtype(dtype)
        self._halves = abs(factor - 2) < 1e-9
        size = _halved_size if self._halves else _averaged_size
        self.shape = size(fine[0], factor), size(fine[1], factor)
        self._rows = open(file, "wb")  # noqa: SIM115
        self._parts: list[NDArray[Any]] = []
        self._row = 0  # of the finer level: those above are done
        self._begun = np.zeros((0, self.shape[1]))  # rows of this level that are not complete
        self._held: tuple[int, NDArray[Any]] | None = None

    def add(self, pixels: NDArray[Any]) -> None:
        """Take the next window of the finer level, in the order of `windows_of`."""
        self._parts.append(halve(pixels) if self._halves else pixels)
        # halved parts are half as wide; the band is complete when they fill it
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
        across = np.concatenate(
            [
                _averaged_columns(band[row : row + 64], self._factor, self.shape[1])
                for row in range(0, len(band), 64)
            ]
        )
        end = self._row + len(band)
        first = int(self._row / self._factor)
        last = min(math.ceil(end / self._factor), self.shape[0])
        weights = _overlaps(first, last, self._factor, self._row, end, self._fine[0])
        sums = weights @ across
        sums[: len(self._begun)] += self._begun
        complete = last if end == self._fine[0] else int(end / self._factor)
        done = np.rint(sums[: complete - first])
        np.ascontiguousarray(done).astype(self._dtype).tofile(self._rows)
        self._begun = sums[complete - first :]
        self._row = end

    def close(self) -> None:
        """The finer level is complete: from here on this one can be read."""
        self._rows.close()

    def window(self, row: int, column: int, rows: int, columns: int) -> NDArray[Any]:
        """Pixels of this level, a band at most; the rows are kept for the next call."""
        if self._held is None or self._held[0] != row or len(self._held[1]) != rows:
            width = self.shape[1]
            start = row * width * self._dtype.itemsize
            band = np.fromfile(self._file, self._dtype, count=rows * width, offset=start)
            self._held = row, band.reshape(rows, width)
        return self._held[1][:, column : column + columns]


def _halved_size(size: int, factor: float) -> int:
    return (size + 1) // 2


def _averaged_size(size: int, factor: float) -> int:
    return max(1, math.floor(size / factor + 0.5))


def _averaged_columns(pixels: NDArray[Any], factor: float, width: int) -> NDArray[np.float64]:
    """Means over `factor` columns each, cut off at the last one of the image."""
    sums = np.zeros((len(pixels), pixels.shape[1] + 1))
    np.cumsum(pixels, axis=1, out=sums[:, 1:])
    edges = np.minimum(np.arange(width + 1) * factor, pixels.shape[1])
    whole = np.minimum(edges.astype(np.int64), pixels.shape[1] - 1)
    up_to = sums[:, whole] + (edges - whole) * pixels[:, whole]
    return np.asarray(np.diff(up_to, axis=1) / np.diff(edges))


def _overlaps(
    first: int, last: int, factor: float, start: int, end: int, size: int
) -> NDArray[np.float64]:
    """Weights (last - first, end - start) of fine rows in coarse ones, by the length shared."""
    top = np.arange(first, last)[:, None] * factor
    bottom = np.minimum(top + factor, size)
    rows = np.arange(start, end)[None]
    shared = np.minimum(bottom, rows + 1) - np.maximum(top, rows)
    return np.asarray(np.maximum(shared, 0) / (bottom - top))


def halve(image: NDArray[Any]) -> NDArray[Any]:
    """Average 2 x 2 pixels; an odd last row or column is averaged with itself.

    Whole numbers are rounded, halves up.
    """
    padded = np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2)), mode="edge")
    # integers: a mean in floating point would take eight bytes a pixel of a scan
    total = padded[::2, ::2].astype(np.uint32)
    for row, column in ((0, 1), (1, 0), (1, 1)):
        total += padded[row::2, column::2]
    return ((total + 2) >> 2).astype(image.dtype)
