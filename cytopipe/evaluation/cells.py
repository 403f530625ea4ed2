"""Density of cells in each cortical layer of annotated patches (CytoNet section 3.7)."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

from cytopipe.evaluation.layer_patches import SAME, fit_to_square
from cytopipe.files import InputError
from cytopipe.learning import checkpoints, distributed
from cytopipe.numerics.geometry import Floats
from cytopipe.study import annotations

LAYERS = 6
_NODES = 20  # grid nodes per bandwidth; off by less than 0.1 % of the peak, as the tests measure
_BATCH = 64  # patches embedded at a time: bounds the memory


def density_per_mm2(
    cells_um: Floats, x_um: Floats, y_um: Floats, size_um: tuple[float, float], bandwidth_um: float
) -> Floats:
    """Kernel density estimate (h, w) of cells on a grid, in cells per mm2: a sum of Gaussians.

    Cells beyond the border of the image are unknown. The sum is therefore divided by the part of
    the kernel that lies inside: an even density stays even up to the border. Across the pial
    surface the kernel blurs, as in the paper, because glass is known to be empty.

    Instead of one kernel for each of some 40,000 cells per patch, each cell is distributed over the
    four nearest nodes of a grid.

    Parameters
    ----------
    cells_um : (n, 2) x, y of cells, from the image's corner; cells outside the image are ignored.
    x_um, y_um : (w,), (h,) columns and rows of the grid, from the same corner, inside the image.
    size_um : width and height of the image.
    bandwidth_um : standard deviation of the Gaussian.
    """
    nodes = [np.linspace(0, size, 1 + math.ceil(_NODES * size / bandwidth_um)) for size in size_um]
    counts = _distribute(cells_um, nodes)
    kernels, inside = [], []
    for grid, node, size in zip((x_um, y_um), nodes, size_um, strict=True):
        apart = (grid[:, None] - node) / bandwidth_um
        kernels.append(np.exp(-0.5 * apart**2) / (bandwidth_um * np.sqrt(2 * np.pi)))
        inside.append(ndtr((size - grid) / bandwidth_um) - ndtr(-grid / bandwidth_um))
    # a Gaussian is a product over the axes: the sum over nodes is two matrix products
    sums = kernels[1] @ counts.T @ kernels[0].T
    return np.asarray(1e6 * sums / np.outer(inside[1], inside[0]))


def _distribute(cells_um: Floats, nodes: Sequence[Floats]) -> Floats:
    """Distribute cells linearly over the nodes (x, y) of an even grid that starts at 0."""
    ends = np.array([node[-1] for node in nodes])
    inside = cells_um[((cells_um >= 0) & (cells_um <= ends)).all(1)]
    counts = np.zeros([len(node) for node in nodes])
    last = np.array(counts.shape) - 2  # a cell on the far border belongs to the last interval
    at = inside / [node[1] for node in nodes]
    low = np.minimum(at.astype(int), last)
    part = at - low
    for corner in np.ndindex(2, 2):
        weights = np.abs(1 - np.array(corner) - part).prod(1)
        np.add.at(counts, tuple((low + corner).T), weights)
    return counts


def layer_densities(
    cells_um: Floats, mask: NDArray[np.uint8], spacing_um: float, bandwidth_um: float
) -> Floats:
    """Mean density of each layer of a patch (6,), in cells per mm2; NaN for an absent layer.

    Parameters
    ----------
    cells_um : (n, 2) x, y of cells; (0, 0) is the centre of the first pixel.
    mask, spacing_um : (h, w) 0 background, 1 to 6 the layers; its pixel size. Of pixels finer than
        a tenth of the bandwidth, only every second, third, ... is used.
    """
    step = max(1, int(bandwidth_um / 10 / spacing_um))
    rows, columns = (np.arange(min(step, size) // 2, size, step) for size in mask.shape)
    height_um, width_um = np.array(mask.shape) * spacing_um
    density = density_per_mm2(
        cells_um + spacing_um / 2,
        (columns + 0.5) * spacing_um,
        (rows + 0.5) * spacing_um,
        (width_um, height_um),
        bandwidth_um,
    )
    layers = mask[np.ix_(rows, columns)]
    return np.array(
        [
            density[layers == k].mean() if (layers == k).any() else np.nan
            for k in range(1, LAYERS + 1)
        ]
    )


def read_densities(patches: pd.DataFrame, bandwidth_um: float) -> Floats:
    """(patches, 6) mean density of cells in each layer of patches with cells."""
    densities = []
    columns = (patches.cells, patches["mask"], patches.spacing_um)
    for cells_path, mask_path, spacing_um in zip(*columns, strict=True):
        cells_um = annotations.read_cells(Path(cells_path))
        mask = annotations.read_gray(Path(mask_path))
        densities.append(layer_densities(cells_um, mask, spacing_um, bandwidth_um))
    return np.reshape(densities, (len(patches), LAYERS))


def embed_patches(patches: pd.DataFrame, weights: Path) -> NDArray[np.float32]:
    """(patches, width) backbone features of layer patches, at the network's own pixel size.

    Raises
    ------
    InputError
        If a patch's pixels are larger than the network's.
    """
    encoder, trained = checkpoints.load_encoder(weights)
    encoder.to(distributed.world().device)
    windows = []
    for path, spacing_um in zip(patches.image, patches.spacing_um, strict=True):
        factor = trained["spacing_um"] / spacing_um
        if factor < 1 - SAME:
            raise InputError(
                f"{path}: pixels of {spacing_um:g} um, {trained['spacing_um']:g} um are needed; "
                "annotate finer patches of layers"
            )
        image = annotations.read_gray(Path(path), is_photograph=True)
        windows.append(fit_to_square(image, factor, trained["patch_px"]))
    batches = (windows[start : start + _BATCH] for start in range(0, len(windows), _BATCH))
    return np.concatenate([encoder.embed(np.stack(batch))[0] for batch in batches])
