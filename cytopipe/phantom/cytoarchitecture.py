"""Layers and areas: how much of a section the cell bodies cover, and how large they are.

Six layers lie between the pial surface (depth 0) and the white matter (depth 1). Each area has its
own relative thickness, coverage (share of the section under cell bodies) and cell diameter in each
layer. The types follow von Economo: koniocortex with a broad, dense layer IV; granular association
cortex; dysgranular cortex; agranular motor cortex with hardly any layer IV and large pyramids in V;
limbic cortex with a broad layer I and islands in II. All areas have the same mean coverage, so that
the mean gray value does not distinguish them.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cytopipe.numerics.geometry import Floats

# the numbers of this module are chosen after von Economo's descriptions, not measured
LAYERS = 6
MEAN_COVERAGE = 0.22
WHITE_COVERAGE, WHITE_DIAMETER_UM = 0.06, 6.0

# diffuse stain of the tissue between the cells, in units of the stain of a cell body
NEUROPIL_GRAY, NEUROPIL_WHITE = 0.44, 0.27

# rows: koniocortex, granular, dysgranular, agranular, limbic and polar; columns: layers I to VI
_RELATIVE_THICKNESS = np.array(
    [
        [0.10, 0.09, 0.24, 0.25, 0.14, 0.18],
        [0.10, 0.10, 0.30, 0.15, 0.17, 0.18],
        [0.10, 0.10, 0.34, 0.08, 0.20, 0.18],
        [0.10, 0.08, 0.36, 0.03, 0.25, 0.18],
        [0.16, 0.12, 0.24, 0.05, 0.23, 0.20],
        [0.10, 0.13, 0.25, 0.18, 0.12, 0.22],
    ]
)
_COVERAGE = np.array(
    [
        [0.09, 0.30, 0.20, 0.36, 0.11, 0.25],
        [0.09, 0.28, 0.20, 0.34, 0.16, 0.22],
        [0.09, 0.26, 0.28, 0.24, 0.17, 0.19],
        [0.09, 0.22, 0.25, 0.22, 0.27, 0.16],
        [0.10, 0.36, 0.17, 0.15, 0.33, 0.18],
        [0.09, 0.32, 0.16, 0.28, 0.26, 0.22],
    ]
)
_DIAMETER_UM = np.array(
    [
        [7, 8, 10, 7, 12, 10],
        [7, 9, 12, 8, 13, 11],
        [7, 9, 14, 9, 15, 11],
        [7, 10, 16, 10, 20, 13],
        [7, 11, 12, 9, 15, 11],
        [7, 8, 11, 8, 12, 10],
    ]
)
# strength of the islands in layers II and III
_ISLANDS = np.array([0.05, 0.12, 0.18, 0.08, 0.35, 0.25])


@dataclass(frozen=True)
class Areas:
    """Tables with one row per area label; row 0 is for gray matter without an area.

    Attributes
    ----------
    border : (areas, 7) depth at which each layer starts, and 1.
    coverage : (areas, 6) share of the section under cell bodies.
    diameter_um : (areas, 6) mean diameter of the cells.
    islands : (areas,) relative change of coverage in layers II and III by patches of 0.5 mm.
    """

    border: NDArray[np.float32]
    coverage: NDArray[np.float32]
    diameter_um: NDArray[np.float32]
    islands: NDArray[np.float32]


def make_areas(seed: int, count: int, contrast: float) -> Areas:
    """The architecture of `count` areas, the same on both sides.

    Parameters
    ----------
    seed : of the variation between areas of one type.
    contrast : 1 for the types as tabulated, 0 for identical areas.
    """
    rng = np.random.default_rng([seed, 0xA4EA])
    types = np.stack([_RELATIVE_THICKNESS, _COVERAGE, _DIAMETER_UM], axis=1)
    kinds = np.arange(count) % len(types)
    common = types.mean(0)
    vary = rng.normal(size=(count, 3, LAYERS))
    # layer I varies little: its light band is part of every area
    vary[:, :, 0] *= 0.3
    tables = common + contrast * (types[kinds] - common + 0.1 * common * vary)
    return _tables(tables[:, 0], tables[:, 1], tables[:, 2], contrast * _ISLANDS[kinds])


def individual_areas(areas: Areas, rng: np.random.Generator, share: float) -> Areas:
    """The areas of one brain, varied from those of the population.

    `share` is the standard deviation of the logarithms of each layer's relative thickness, coverage
    and cell diameter.
    """
    if share == 0:
        return areas
    count = (len(areas.border) - 1) // 2
    left = slice(1, count + 1)
    vary = rng.normal(0, share, (3, count, LAYERS))
    vary[:, :, 0] *= 0.3  # as between areas
    thickness, coverage, diameters = np.exp(vary) * [
        np.diff(areas.border[left]),
        areas.coverage[left],
        areas.diameter_um[left],
    ]
    return _tables(thickness, coverage, diameters, np.asarray(areas.islands[left], np.float64))


def unequal_areas(areas: Areas, rng: np.random.Generator, deviation: float) -> Areas:
    """The areas with cells that are denser in some of them and sparser in others.

    `deviation` is the standard deviation of the logarithm of an area's coverage.
    """
    count = (len(areas.border) - 1) // 2
    factors = np.exp(rng.normal(0, 1, count) * deviation).astype(np.float32)
    factors = np.concatenate([[np.float32(1)], factors, factors])[:, None]
    return replace(areas, coverage=areas.coverage * factors)


def _tables(
    thickness: Floats,
    coverage: Floats,
    diameter_um: Floats,
    islands: Floats,
) -> Areas:
    """Areas from the relative thickness of layers, scaled to the same mean coverage."""
    thickness = thickness / thickness.sum(1, keepdims=True)
    inner = (thickness[:, 1:] * coverage[:, 1:]).sum(1)
    wanted = MEAN_COVERAGE - thickness[:, 0] * coverage[:, 0]
    coverage = coverage.copy()
    coverage[:, 1:] *= (wanted / inner)[:, None]
    border = np.concatenate([np.zeros((len(thickness), 1)), np.cumsum(thickness, axis=1)], axis=1)
    border[:, -1] = 1
    return Areas(*(_with_mean(table) for table in (border, coverage, diameter_um, islands)))


def _with_mean(table: Floats) -> NDArray[np.float32]:
    """Rows for the mean (label 0), the left areas and the right areas."""
    return np.concatenate([table.mean(0, keepdims=True), table, table]).astype(np.float32)
