"""Structure that runs through neighbouring sections (vessels, grain of the stain), and damage.

The continuing structure is a modelling choice. Without it, anatomy alone limits the alignment of
neighbours to about 0.4 mm per mm between them. Real sections have it in their vessels and in the
grain of the stain.
"""

import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from cytopipe.numerics import meshes
from cytopipe.numerics.geometry import Floats, unit
from cytopipe.phantom.anatomy import Hemisphere
from cytopipe.phantom.window import Window
from cytopipe.study.config import Phantom

Image = NDArray[np.float32]

# grid of the random fields, and standard deviations in the plane of the stain's grain and of cell
# islands. All are chosen, not measured
PITCH_MM = 0.25
GRAIN_MM = (0.5, 1.0)
ISLANDS_MM = (0.25,)
# vertices of a hemisphere at which bridges and tunnels may end: about as many as fsaverage5 has
_ENDS = 10_000


def stream(seed: int, brain: str, *key: int) -> np.random.Generator:
    """An independent random stream for each brain and purpose."""
    return np.random.default_rng([seed, zlib.crc32(brain.encode()), *key])


@dataclass(frozen=True)
class Grain:
    """Random fields in the stack, continuous in three dimensions, of mean 0 and variance 1.

    Across the sections the correlation falls to 1/e within `length_mm`.
    """

    seed: int
    brain: str
    size_mm: tuple[float, float]
    length_mm: float

    def plane(self, z_um: float, sigmas_mm: tuple[float, ...]) -> Image:
        """The field at one section on a grid of `PITCH_MM`, with the origin at pixel (0, 0)."""
        # the distance of the nodes equals the width of their Gaussian weights, which gives a
        # correlation of exp(-(d / length)^2)
        step = self.length_mm / 2
        middle = z_um / 1000 / step
        nodes = np.arange(int(np.floor(middle)) - 3, int(np.floor(middle)) + 5)
        weights = np.exp(-((nodes - middle) ** 2) / 2)
        weights /= np.sqrt((weights**2).sum())
        total = sum(w * _node(self, int(n), sigmas_mm) for n, w in zip(nodes, weights, strict=True))
        return np.asarray(total, np.float32)


@lru_cache(maxsize=24)
def _node(grain: Grain, node: int, sigmas_mm: tuple[float, ...]) -> Image:
    rng = stream(grain.seed, grain.brain, 1, node + 1000, round(1000 * sum(sigmas_mm)))
    shape = tuple(int(size / PITCH_MM) + 2 for size in grain.size_mm[::-1])
    plane = np.zeros(shape, np.float32)
    for sigma_mm in sigmas_mm:
        sigma = sigma_mm / PITCH_MM
        white = rng.standard_normal(shape, np.float32)
        # a band: the stain's gradient covers what is much slower than the grain
        band = ndimage.gaussian_filter(white, sigma) - ndimage.gaussian_filter(white, 2 * sigma)
        plane += band / band.std()
    return plane / np.float32(plane.std())


@dataclass(frozen=True)
class Vessels:
    """Tubes that run roughly along the cutting axis.

    Attributes
    ----------
    paths : (n, 10) x, y, z mm of the middle; slopes in x and y; amplitudes of the bends in x and
        y; wave number rad/mm; phase; half length mm.
    radius_mm : (n,) in the middle; the ends taper.
    filled : (n,) whether the content is dark, instead of an open lumen.
    """

    paths: Floats
    radius_mm: Floats
    filled: NDArray[np.bool_]

    def at(self, z_um: float) -> tuple[Floats, NDArray[np.bool_]]:
        """The vessels in a section: (n, 3) x, y and radius in um, and (n,) whether it is filled."""
        x, y, z, slope_x, slope_y, bend_x, bend_y, wave, phase, half = self.paths.T
        along = z_um / 1000 - z
        turn = wave * along + phase
        taper = 1 - (along / half) ** 4
        met = taper > 0
        discs = np.stack(
            [
                x + slope_x * along + bend_x * np.sin(turn),
                y + slope_y * along + bend_y * np.cos(turn),
                self.radius_mm * np.sqrt(np.maximum(taper, 0)),
            ],
            axis=1,
        )
        return discs[met] * 1000, self.filled[met]


def draw_vessels(rng: np.random.Generator, size_mm: Floats, params: Phantom) -> Vessels:
    """Vessels in a box of (x, y, z) mm, on average `vessels_per_cm2` in a section."""
    mean_length = 26.0
    area_cm2 = params.vessels_per_cm2 / 100 * size_mm[0] * size_mm[1]
    count = int(area_cm2 * (size_mm[2] + mean_length) / mean_length)
    along = np.array([0, 0, mean_length])
    middle = rng.uniform(0, 1, (count, 3)) * (size_mm + along) - along / 2
    wave = 2 * np.pi / rng.uniform(30, 60, (count, 1))
    paths = np.concatenate(
        [
            middle,
            rng.normal(0, 0.06, (count, 2)),
            rng.normal(0, 0.4, (count, 2)),
            wave,
            rng.uniform(0, 2 * np.pi, (count, 1)),
            rng.uniform(0.3, 0.7, (count, 1)) * mean_length,
        ],
        axis=1,
    )
    # many small, few large
    low, high = params.vessel_radius_mm
    radius = low + (high - low) * rng.uniform(0, 1, count) ** 2
    return Vessels(paths, radius, rng.uniform(size=count) < 0.3)


@dataclass(frozen=True)
class Damage:
    """Capsules in true stack RAS mm: bridges of tissue between banks, tunnels through gyri."""

    bridges: Floats
    tunnels: Floats


def draw_damage(rng: np.random.Generator, hemispheres: list[Hemisphere], params: Phantom) -> Damage:
    """Bridges across narrow sulci and tunnels through thin gyri, (n, 7): start, end, radius."""
    over_gap: list[Floats] = []
    through_gyrus: list[Floats] = []
    for hemisphere in hemispheres:
        outward = meshes.vertex_normals(hemisphere.pial, hemisphere.faces)
        cortex = np.flatnonzero(hemisphere.cortex)
        # the pairs of a fine mesh would fill the memory
        cortex = cortex[:: max(1, len(cortex) // _ENDS)]
        points, normals = hemisphere.pial[cortex], outward[cortex]
        pairs = cKDTree(points).query_pairs(9.0, output_type="ndarray")
        a, b = pairs.T
        apart = points[b] - points[a]
        length = np.linalg.norm(apart, axis=1)
        facing = (normals[a] * normals[b]).sum(1) < -0.6
        lean = (apart * normals[a]).sum(1) / length
        for ends, chosen in (
            (over_gap, facing & (lean > 0.8) & (length > 0.8) & (length < 3.0)),
            (through_gyrus, facing & (lean < -0.8) & (length > 5.0)),
        ):
            ends.append(np.concatenate([points[a], points[b]], axis=1)[chosen])
    low, high = params.damage_radius_mm

    def capsules(ends: list[Floats], count: int, beyond_mm: float) -> Floats:
        pool = np.concatenate(ends)
        chosen = pool[rng.choice(len(pool), min(count, len(pool)), replace=False)]
        start, end = chosen[:, :3], chosen[:, 3:]
        along = unit(end - start)
        radius = rng.uniform(low, high, (len(chosen), 1))
        return np.concatenate([start - beyond_mm * along, end + beyond_mm * along, radius], axis=1)

    return Damage(
        capsules(over_gap, params.bridges, 0.3), capsules(through_gyrus, params.tunnels, 1.5)
    )


def paint_capsules(capsules_um: Floats, window: Window) -> Image:
    """Coverage of the pixels of a window by capsules (n, 7): start, end and radius in the stack."""
    image = np.zeros((window.rows, window.columns), np.float32)
    z_um, reach = window.z_um, capsules_um[:, 6]
    near = (np.minimum(capsules_um[:, 2], capsules_um[:, 5]) - reach < z_um) & (
        np.maximum(capsules_um[:, 2], capsules_um[:, 5]) + reach > z_um
    )
    if near.any():
        inverse = np.linalg.inv(window.matrix)
        _paint(image, capsules_um[near], z_um, window.matrix, window.shift, inverse)
    return image


def paint_discs(discs_um: Floats, window: Window) -> Image:
    """Coverage of the pixels of a window by discs (n, 3): x, y and radius in the stack."""
    centres = np.insert(discs_um[:, :2], 2, window.z_um, axis=1)
    return paint_capsules(np.concatenate([centres, centres, discs_um[:, 2:]], axis=1), window)


@njit(cache=True)
def _paint(image, capsules, z, matrix, shift, inverse) -> None:  # type: ignore[no-untyped-def]
    rows, columns = image.shape
    pixel = np.sqrt(abs(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0]))
    for n in range(capsules.shape[0]):
        sx, sy, sz = capsules[n, 0], capsules[n, 1], capsules[n, 2]
        dx, dy, dz = capsules[n, 3] - sx, capsules[n, 4] - sy, capsules[n, 5] - sz
        radius = capsules[n, 6]
        squared = dx * dx + dy * dy + dz * dz
        # the part of the window near the capsule
        c0, r0, c1, r1 = 1e18, 1e18, -1e18, -1e18
        for end in range(2):
            x, y = sx + end * dx - shift[0], sy + end * dy - shift[1]
            column = inverse[0, 0] * x + inverse[0, 1] * y
            row = inverse[1, 0] * x + inverse[1, 1] * y
            c0, c1, r0, r1 = min(c0, column), max(c1, column), min(r0, row), max(r1, row)
        reach = radius / pixel + 1
        for row in range(max(0, int(r0 - reach)), min(rows, int(r1 + reach) + 2)):
            for column in range(max(0, int(c0 - reach)), min(columns, int(c1 + reach) + 2)):
                x = matrix[0, 0] * column + matrix[0, 1] * row + shift[0] - sx
                y = matrix[1, 0] * column + matrix[1, 1] * row + shift[1] - sy
                share = 0.0
                if squared > 0:
                    share = min(1.0, max(0.0, (x * dx + y * dy + (z - sz) * dz) / squared))
                ex, ey, ez = x - share * dx, y - share * dy, z - sz - share * dz
                distance = np.sqrt(ex * ex + ey * ey + ez * ez)
                covered = min(1.0, max(0.0, 0.5 + (radius - distance) / pixel))
                # a disc or a line smaller than a pixel covers no more than its area
                thin = 2 * radius / pixel
                covered *= min(1.0, thin if squared > 0 else np.pi / 4 * thin * thin)
                image[row, column] = max(image[row, column], covered)
