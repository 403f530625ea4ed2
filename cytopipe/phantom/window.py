"""A rectangle of pixels of a scan, and its position in the true stack."""

from dataclasses import dataclass

import numpy as np

from cytopipe.numerics.geometry import Floats


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels and its position in the true stack.

    Pixel (column, row) lies at matrix @ pixel + shift, in um. The determinant of the matrix is
    negative if the section is mirrored.
    """

    rows: int
    columns: int
    matrix: Floats
    shift: Floats
    z_um: float

    @property
    def pixel_um(self) -> float:
        """Edge of a pixel."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))

    def to_stack(self, pixels: Floats) -> Floats:
        """Stack position (..., 3) in um of pixels (..., 2), as (column, row)."""
        plane = np.asarray(pixels, np.float64) @ self.matrix.T + self.shift
        return np.concatenate([plane, np.full((*plane.shape[:-1], 1), self.z_um)], axis=-1)

    def to_pixels(self, points_um: Floats) -> Floats:
        """Pixels (..., 2), as (column, row), of stack points; inverse of `to_stack`."""
        inverse = np.linalg.inv(self.matrix)
        return (np.asarray(points_um, np.float64)[..., :2] - self.shift) @ inverse.T

    def along_and_across(self, direction_rad: float) -> tuple[Floats, Floats]:
        """Position (rows, columns) in um of each pixel along a direction of the stack's plane.

        The second array is the position across it.
        """
        columns, rows = np.arange(self.columns), np.arange(self.rows)
        x = self.matrix[0, 0] * columns + self.matrix[0, 1] * rows[:, None] + self.shift[0]
        y = self.matrix[1, 0] * columns + self.matrix[1, 1] * rows[:, None] + self.shift[1]
        cosine, sine = np.cos(direction_rad), np.sin(direction_rad)
        return x * cosine + y * sine, y * cosine - x * sine
