"""The individual shape of a brain: a known smooth map from its stack to the template."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from cytopipe.numerics.geometry import Floats, unit


@dataclass(frozen=True)
class Bend:
    """A map from stack to template RAS mm, whose inverse is found by iteration.

    template = scale * p + sum over waves of amplitude sin(frequency . p + phase), with
    p = turn^-1 (stack - offset).

    The turn sets the plane of the sections. The offset moves the bent brain to where the
    coordinates of a stack are positive.
    """

    scale: Floats  # (3,) factors near 1
    amplitudes: Floats  # (n, 3) mm
    frequencies: Floats  # (n, 3) rad/mm
    phases: Floats  # (n,) rad
    offset: Floats  # (3,) mm
    turn: Floats = field(default_factory=lambda: np.eye(3))  # a rotation
    # if not None, a stack numbered backwards: A becomes this minus A before anything else
    reversed_mm: float | None = None

    def to_template(self, points_mm: Floats) -> Floats:
        """Template RAS mm of (..., 3) points in true stack RAS mm."""
        points = (self._reversed(np.asarray(points_mm, np.float64)) - self.offset) @ self.turn
        waves = np.sin(points @ self.frequencies.T + self.phases)
        return np.asarray(points * self.scale + waves @ self.amplitudes)

    def to_stack(self, points_mm: Floats) -> Floats:
        """True stack RAS mm of (..., 3) template points, to better than 1e-9 mm.

        Raises
        ------
        ArithmeticError
            If the bend is too strong for the iteration to converge.
        """
        target = np.asarray(points_mm, np.float64)
        points = target / self.scale
        for _ in range(200):
            waves = np.sin(points @ self.frequencies.T + self.phases)
            better = (target - waves @ self.amplitudes) / self.scale
            moved = float(np.abs(better - points).max())
            points = better
            if moved < 1e-10:
                return self._reversed(np.asarray(points @ self.turn.T + self.offset))
        raise ArithmeticError("the bend is too strong to be inverted; lower bend_mm")

    def jacobian(self, points_mm: Floats) -> Floats:
        """Determinant of d template / d stack at (..., 3) points in true stack RAS mm."""
        points = (np.asarray(points_mm, np.float64) - self.offset) @ self.turn
        slopes = np.cos(points @ self.frequencies.T + self.phases)
        matrices = np.einsum("...k,ki,kj->...ij", slopes, self.amplitudes, self.frequencies)
        return np.asarray(np.linalg.det(matrices + np.diag(self.scale)))

    def reversed_in(self, length_mm: float) -> "Bend":
        """The same bend for a stack from A = 0 to `length_mm` whose order is reversed."""
        return replace(self, reversed_mm=length_mm)

    def _reversed(self, points_mm: Floats) -> Floats:
        if self.reversed_mm is None:
            return points_mm
        return points_mm * [1, -1, 1] + [0, self.reversed_mm, 0]

    def moved_by(self, offset: Floats) -> "Bend":
        """The same bend for a brain shifted by `offset` in the stack."""
        return replace(self, offset=self.offset + offset)


def draw_bend(
    rng: np.random.Generator,
    amplitude_mm: float,
    wavelengths_mm: Sequence[float],
    scale: float,
    reach_mm: float = 110.0,
    waves: int = 12,
) -> Bend:
    """A random bend whose Jacobian stays between 0.5 and 2 within `reach_mm` of the origin.

    Parameters
    ----------
    amplitude_mm : root mean square length of the displacement.
    wavelengths_mm : shortest and longest; amplitudes grow with the wavelength.
    scale : the factor of each axis is drawn from 1 - scale to 1 + scale.

    Raises
    ------
    ArithmeticError
        If none of a hundred draws is smooth enough.
    """
    grid = np.stack(np.meshgrid(*[np.arange(-reach_mm, reach_mm + 1, 11.0)] * 3), axis=-1)
    for _ in range(100):
        lengths = rng.uniform(wavelengths_mm[0], wavelengths_mm[1], waves)
        directions = unit(rng.normal(size=(waves, 3)))
        amplitudes = unit(rng.normal(size=(waves, 3))) * lengths[:, None]
        # the mean square of a sine is a half
        amplitudes *= amplitude_mm / np.sqrt((amplitudes**2).sum() / 2)
        bend = Bend(
            rng.uniform(1 - scale, 1 + scale, 3),
            amplitudes,
            directions * (2 * np.pi / lengths)[:, None],
            rng.uniform(0, 2 * np.pi, waves),
            np.zeros(3),
        )
        jacobian = bend.jacobian(grid)
        if jacobian.min() > 0.5 and jacobian.max() < 2:
            try:
                bend.to_stack(grid.reshape(-1, 3)[::7])
            except ArithmeticError:
                continue
            return bend
    raise ArithmeticError(
        f"no smooth bend of {amplitude_mm} mm with wavelengths {wavelengths_mm} mm; "
        "lower bend_mm or lengthen bend_wavelengths_mm"
    )
