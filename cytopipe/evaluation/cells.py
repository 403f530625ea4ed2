"""How densely cells lie in each cortical layer of annotated patches (CytoNet section 3.7)."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

from cytopipe.evaluation.layer_patches import SAME, averaged
from cytopipe.files import InputError
from cytopipe.learning import checkpoints, distributed
from cytopipe.study import annotations

LAYERS = 6
_NODES = 20  # a bandwidth
_BATCH = 64  # patches embedded at a time

Floats = NDArray[np.float64]


def density_per_mm2(
    cells_um: Floats, x_um: Floats, y_um: Floats, size_um: tuple[float, float], bandwidth_um: float
) -> Floats:
    """Kernel density estimate of cells on a grid: a sum of Gaussians.

    Cells beyond the border of the image are not known: within some bandwidths of it a plain sum
    falls short by the part of the kernel that lies outside. It is divided by the part inside, so
    that an even density is estimated as even up to the border. Empty glass is known to be empty: at
    the pial surface the kernel blurs across, as in the paper.

    Parameters
    ----------
    cells_um : (n, 2) x, y of cells, from the image's corner; those outside the image are ignored.
        Each is shared out among the four nearest nodes of a grid of 20 a bandwidth, in place of
        a kernel for each of some 40,000 cells a patch; that is off by less than 0.1 %.
    x_um, y_um : (w,), (h,) columns and rows of the grid, from the same corner, inside the image.
    size_um : width and height of the image.
    bandwidth_um : standard deviation of the Gaussian.

    Returns
    -------
    (h, w) cells per mm2.
    """
    nodes = [np.linspace(0, size, 1 + math.ceil(_NODES * size / bandwidth_um)) for size in size_um]
    counts = _shared_out(cells_um, nodes)
    kernels, inside = [], []
    for grid, node, size in zip((x_um, y_um), nodes, size_um, strict=True):
        apart = (grid[:, None] - node) / bandwidth_um
        kernels.append(np.exp(-0.5 * apart**2) / (bandwidth_um * np.sqrt(2 * np.pi)))
        inside.append(ndtr((size - grid) / bandwidth_um) - ndtr(-grid / bandwidth_um))
    # a Gaussian is a product over the axes, so that the sum over nodes is two products of matrices
    sums = kernels[1] @ counts.T @ kernels[0].T
    return np.asarray(1e6 * sums / np.outer(inside[1], inside[0]))


def _shared_out(cells_um: Floats, nodes: Sequence[Floats]) -> Floats:
    """Cells at the nodes (x, y) of an even grid from 0; a nearer node gets more of a cell."""
    ends = np.array([node[-1] for node in nodes])
    inside = cells_um[((cells_um >= 0) & (cells_um <= ends)).all(1)]
    counts = np.zeros([len(node) for node in nodes])
    last = np.array(counts.shape) - 2  # a cell on the far border belongs to the last interval
    at = inside / [node[1] for node in nodes]
    low = np.minimum(at.astype(int), last)
    part = at - low
    for aside in np.ndindex(2, 2):
        weights = np.abs(1 - np.array(aside) - part).prod(1)
        np.add.at(counts, tuple((low + aside).T), weights)
    return counts


def layer_densities(
    cells_um: Floats, mask: NDArray[np.uint8], spacing_um: float, bandwidth_um: float
) -> Floats:
    """Mean density of cells within each layer of a patch.

    Parameters
    ----------
    cells_um : (n, 2) x, y of cells in pixels' centres x spacing, as the table of patches has them.
    mask, spacing_um : (h, w) 0 background, 1 to 6 the layers; its pixel size. Where pixels are far
        finer than the bandwidth, every so many are used, a tenth of the bandwidth apart.

    Returns
    -------
    (6,) cells per mm2; NaN for a layer that the mask has not.
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


def fitted_window(
    image: NDArray[np.uint8], spacing_um: float, wanted_um: float, patch_px: int
) -> NDArray[np.uint8]:
    """The middle of an image at another pixel size, (patch_px, patch_px).

    Resampled by area averaging; continued by reflection where it is smaller than the patch.

    Raises
    ------
    ValueError
        If the image is coarser than wanted: nothing can be added to it.
    """
    factor = wanted_um / spacing_um
    if factor < 1 - SAME:
        raise ValueError(f"pixels of {spacing_um:g} um, {wanted_um:g} um are needed")
    image = np.rint(averaged(image.astype(np.float32), factor)).astype(np.uint8)
    missing = [max(0, patch_px - size) for size in image.shape]
    image = np.pad(image, [(m // 2, m - m // 2) for m in missing], mode="symmetric")
    top, left = ((size - patch_px) // 2 for size in image.shape)
    return image[top : top + patch_px, left : left + patch_px]


def read_densities(patches: pd.DataFrame, bandwidth_um: float) -> Floats:
    """(patches, 6) mean density of cells in each layer of patches with cells."""
    found = [
        layer_densities(
            annotations.read_cells(Path(cells)),
            annotations.read_gray(Path(mask)),
            spacing_um,
            bandwidth_um,
        )
        for cells, mask, spacing_um in zip(
            patches.cells, patches["mask"], patches.spacing_um, strict=True
        )
    ]
    return np.reshape(found, (len(patches), LAYERS))


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
        image = annotations.read_gray(Path(path))
        try:
            window = fitted_window(image, spacing_um, trained["spacing_um"], trained["patch_px"])
        except ValueError as error:
            raise InputError(f"{path}: {error}; annotate finer patches of layers") from error
        windows.append(window)
    found = [
        encoder.embed(np.stack(windows[start : start + _BATCH]))[0]
        for start in range(0, len(windows), _BATCH)
    ]
    return np.concatenate(found)
