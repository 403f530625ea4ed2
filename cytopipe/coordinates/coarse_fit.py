"""The coarse fit of a brain to a template by the correlation of small smoothed images."""

from dataclasses import dataclass
from itertools import permutations, product
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage, optimize
from scipy.spatial.transform import Rotation

from cytopipe.coordinates.direction import length_mm
from cytopipe.formats.volumes import Volume, regular_affine
from cytopipe.numerics.geometry import Floats
from cytopipe.study.config import Coordinates

# intensities of background, gray and white matter: the white border counts as much as the pial
_INTENSITY = np.array([0.0, 1.5, 3.0], np.float32)
# the margin of background into which a warp may reach, as a share of the brain's length: 10 mm in a
# human brain; chosen, not measured
_MARGIN = 0.06
# a brain that is turned by more lies differently: between 45 degrees, where two orientations meet,
# and 63, the farthest from all of them
_MOST_TURNED = np.radians(50.0)


@dataclass(frozen=True)
class Fit:
    """A coarse fit of a brain, turned or mirrored by `axes` beforehand, to a part of the template.

    Attributes
    ----------
    axes : (3, 3) signed permutation: direction i of the template is row i of it in the stack.
    matrix : (4, 4) stack to template, RAS mm; similarity with small turns after `axes`.
    similarity : correlation of the coarse images; 1 if they are equal.
    """

    axes: NDArray[np.int64]
    matrix: Floats
    similarity: float

    @property
    def directions(self) -> str:
        """What the stack's R, A and S are in truth, e.g. "RPS" if it is numbered backwards."""
        letters = []
        for stack_axis in range(3):
            axis = int(np.flatnonzero(self.axes[:, stack_axis])[0])
            letters.append(("RAS", "LPI")[int(self.axes[axis, stack_axis] < 0)][axis])
        return "".join(letters)


def smoothed(volume: Volume, spacing_mm: float, around: Volume | None = None) -> Volume:
    """Label intensities, smoothed and resampled to an isotropic RAS grid with a margin.

    Parameters
    ----------
    around : the volume whose tissue determines the grid; by default `volume` itself.
    """
    box = volume if around is None else around
    margin_mm = _MARGIN * length_mm(box)
    image = ndimage.gaussian_filter(_INTENSITY[volume.data], 0.5 * spacing_mm / volume.voxel_mm)
    occupied = np.argwhere(box.data > 0)
    low = box.to_mm(occupied.min(axis=0)) - margin_mm
    high = box.to_mm(occupied.max(axis=0)) + margin_mm
    shape = np.ceil((high - low) / spacing_mm).astype(int) + 1
    axes = [low[i] + np.arange(shape[i]) * spacing_mm for i in range(3)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    values = ndimage.map_coordinates(
        image, np.moveaxis(volume.to_indices(grid), -1, 0), order=1, mode="constant"
    )
    return Volume(values.astype(np.float32), regular_affine(spacing_mm, low))


def _signed_permutations() -> list[NDArray[np.int64]]:
    matrices = []
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        matrix = np.zeros((3, 3), np.int64)
        matrix[range(3), list(order)] = signs
        matrices.append(matrix)
    return matrices


# the first eight keep the order of the axes, and the very first is the identity
FLIPS, OTHER_AXES = _signed_permutations()[:8], _signed_permutations()[8:]
_Start = tuple[NDArray[np.int64], Floats]


class Search:
    """Coarse images of a brain and of a part of the template, and the cost of a fit."""

    def __init__(self, tissue: Volume, part: Volume, whole: Volume, params: Coordinates) -> None:
        source = smoothed(tissue, length_mm(tissue) / params.search_voxels)
        target = smoothed(part, length_mm(whole) / params.search_voxels, whole)
        self.blurred = ndimage.gaussian_filter(source.data, 1.0)
        goal = ndimage.gaussian_filter(target.data, 1.0)
        self.goal = (goal - goal.mean()) / goal.std()
        self.target_affine, self.to_source = target.affine, np.linalg.inv(source.affine)
        self.centre, self.radius = _centre_and_radius(source)
        self.target_centre, self.target_radius = _centre_and_radius(target)
        turns = [np.radians(t) * axis for axis in np.eye(7)[:3] for t in params.search_turns_deg]
        self.turns = [np.zeros(7), *turns]

    def starts(self, axes: list[NDArray[np.int64]], count: int) -> list[tuple[float, Any, Any]]:
        """The best starts of these orientations: similarity, axes and values."""
        judged = [(-self.cost(own, turn), own, turn) for own in axes for turn in self.turns]
        return sorted(judged, key=lambda start: -start[0])[:count]

    def optimised(self, starts: list[Any], evaluations: int) -> Fit:
        """The best fit that can be reached from starts of one orientation."""
        options = {"xtol": 1e-2, "ftol": 1e-4, "maxfev": evaluations}
        axes = starts[0][0]
        results = [
            optimize.minimize(
                lambda values: self.cost(axes, values / _UNITS),
                start * _UNITS,
                method="Powell",
                options=options,
            )
            for _, start in starts
        ]
        best = min(results, key=lambda result: float(result.fun))
        matrix, shift = self.backward(axes, best.x / _UNITS)
        inverse = np.linalg.inv(matrix)
        forward = np.eye(4)
        forward[:3, :3], forward[:3, 3] = inverse, -inverse @ shift
        return Fit(axes, forward, -float(best.fun))

    def refined(self, fit: Fit, evaluations: int) -> Fit:
        """The best fit that can be reached from one of the brain as it lies."""
        inverse = np.linalg.inv(fit.matrix)
        scale = float(np.cbrt(np.linalg.det(inverse[:3, :3])))
        values = np.zeros(7)
        values[:3] = Rotation.from_matrix(inverse[:3, :3] / scale).as_euler("xyz")
        values[6] = np.log(scale * self.target_radius / self.radius)
        moved = inverse[:3, 3] - self.centre + inverse[:3, :3] @ self.target_centre
        values[3:6] = moved / self.radius
        return self.optimised([[fit.axes, values]], evaluations)

    def backward(self, axes: NDArray[np.int64], values: Floats) -> tuple[Floats, Floats]:
        """Matrix and shift from template to stack.

        Parameters
        ----------
        values : three turns (rad), three shifts (in radii of gyration), and the log of the scale.
        """
        scale = self.radius / self.target_radius * np.exp(values[6])
        matrix = axes.T @ _rotation(values[:3]) * scale
        return matrix, self.centre + self.radius * values[3:6] - matrix @ self.target_centre

    def cost(self, axes: NDArray[np.int64], values: Floats) -> float:
        """Minus the correlation of the two images; 0 if the brain is turned too far."""
        if np.trace(_rotation(values[:3])) < 1 + 2 * np.cos(_MOST_TURNED):
            return 0.0
        backward = np.eye(4)
        backward[:3, :3], backward[:3, 3] = self.backward(axes, values)
        return -_correlation(
            self.blurred, self.goal, self.to_source @ backward @ self.target_affine
        )


@njit(cache=True)
def _correlation(moving: Any, goal: Any, to_moving: Any) -> float:
    """Correlation of an image with one of mean 0 and variance 1, on the grid of the latter.

    Parameters
    ----------
    to_moving : (4, 4) from voxel indices of `goal` to those of `moving`, which is 0 outside.
    """
    products = total = squares = 0.0
    for i in range(goal.shape[0]):
        for j in range(goal.shape[1]):
            for k in range(goal.shape[2]):
                x = (
                    to_moving[0, 0] * i
                    + to_moving[0, 1] * j
                    + to_moving[0, 2] * k
                    + to_moving[0, 3]
                )
                y = (
                    to_moving[1, 0] * i
                    + to_moving[1, 1] * j
                    + to_moving[1, 2] * k
                    + to_moving[1, 3]
                )
                z = (
                    to_moving[2, 0] * i
                    + to_moving[2, 1] * j
                    + to_moving[2, 2] * k
                    + to_moving[2, 3]
                )
                a, b, c = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
                # the margin around a brain is empty
                if not (0 <= a < moving.shape[0] - 1 and 0 <= b < moving.shape[1] - 1):
                    continue
                if not 0 <= c < moving.shape[2] - 1:
                    continue
                x, y, z = x - a, y - b, z - c
                value = 0.0
                for p in range(2):
                    for q in range(2):
                        weight = (x if p else 1 - x) * (y if q else 1 - y)
                        low, high = moving[a + p, b + q, c], moving[a + p, b + q, c + 1]
                        value += weight * ((1 - z) * low + z * high)
                products += value * goal[i, j, k]
                total += value
                squares += value * value
    mean = total / goal.size
    return products / goal.size / (np.sqrt(max(squares / goal.size - mean * mean, 0.0)) + 1e-6)


# the optimiser's units: 10 degrees, a fifth of the radius of gyration (1 cm in a human brain), and
# a factor of e
_UNITS = np.array([5.73] * 3 + [5.0] * 3 + [1.0])


def _centre_and_radius(image: Volume) -> tuple[Floats, float]:
    """Centre of mass and radius of gyration, mm."""
    index = np.argwhere(image.data > 0)
    weights = image.data[image.data > 0].astype(np.float64)
    points = image.to_mm(index)
    centre = np.average(points, axis=0, weights=weights)
    distances = ((points - centre) ** 2).sum(axis=1)
    return centre, float(np.sqrt(np.average(distances, weights=weights)))


def _rotation(turns_rad: Floats) -> Floats:
    """(3, 3) turns about R, then A, then S."""
    matrix = np.eye(3)
    for axis, turn in enumerate(turns_rad):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        around = np.eye(3)
        around[i, i] = around[j, j] = np.cos(turn)
        around[i, j], around[j, i] = -np.sin(turn), np.sin(turn)
        matrix = around @ matrix
    return matrix
