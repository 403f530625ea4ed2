"""Annotated patches of cortical layers, brought to the size and the map of a network.

A network's feature map has `rows` x `columns` cells; each covers a part of the square patch.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytopipe.files import InputError
from cytopipe.formats.images import shrunk
from cytopipe.learning.networks import LAYERS
from cytopipe.logs import progress
from cytopipe.study import annotations

FOLDS = 5  # of each fraction of the training patches (CytoNet section 3.6); see LayerPatchRow
IGNORED = -1
SAME = 1e-3  # pixel sizes that differ by a smaller share count as equal; chosen, not measured


def averaged(image: NDArray[np.floating], factor: float) -> NDArray[np.floating]:
    """Average an image (h, w) to pixels that are `factor` (1 or more) times coarser."""
    if abs(factor - 1) < SAME:
        return image
    return shrunk(image, factor)


def fit_to_square(image: NDArray[np.uint8], factor: float, patch_px: int) -> NDArray[np.uint8]:
    """Average an image and take its middle as a square; mirror it where it is smaller (3.6)."""
    small = np.rint(averaged(image.astype(np.float32), factor)).astype(np.uint8)
    top, left = (max(0, (size - patch_px) // 2) for size in small.shape)
    small = small[top : top + patch_px, left : left + patch_px]
    return np.pad(small, _padding(small.shape, patch_px), mode="symmetric")


def cell_labels(
    mask: NDArray[np.uint8], factor: float, patch_px: int, rows: int, columns: int
) -> NDArray[np.int64]:
    """The class of each cell (rows, columns) of the map of a square patch.

    It is the class that covers most of the cell's part inside the annotated image, the lower one in
    a tie. (The pixel at the cell's centre would depend on the jags of a hand-drawn line.) IGNORED
    if less than half of the cell is inside.
    """
    shares = np.zeros((LAYERS, rows, columns))
    for label in range(LAYERS):
        covered = averaged((mask == label).astype(np.float32), factor)
        square = np.pad(covered, _padding(covered.shape, patch_px))
        cells = square.reshape(rows, patch_px // rows, columns, patch_px // columns)
        shares[label] = cells.mean((1, 3))
    # slightly less than a half, because of rounding errors
    return np.where(shares.sum(0) > 0.4999, shares.argmax(0), IGNORED)


def read_patches(
    table: pd.DataFrame, spacing_um: float, patch_px: int, rows: int, columns: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read annotated patches (LayerPatchRow) as squares of `patch_px` at `spacing_um`.

    Returns
    -------
    (n, patch_px, patch_px) squares; the annotated image is centred and mirrored outwards.
    (n, rows, columns) class of each cell: 0 background, 1 to 6 the layers, IGNORED outside the
    annotated image.

    Raises
    ------
    InputError
        If an image is coarser than `spacing_um`, larger than a square or unreadable, or the map's
        cells do not tile a square.
    """
    if patch_px % rows or patch_px % columns:
        raise InputError(
            f"layers: a map of {rows} x {columns} does not divide patches of {patch_px} px; "
            "change evaluation.layers.patch_px in config/config.yaml"
        )
    images = np.empty((len(table), patch_px, patch_px), np.uint8)
    labels = np.empty((len(table), rows, columns), np.int64)
    names = ["image", "mask", "spacing_um", "width_px", "height_px"]
    patches = progress(table[names].itertuples(index=False), len(table), "layer patches")
    for index, (image, mask, own_um, width_px, height_px) in enumerate(patches):
        factor = spacing_um / own_um
        extent_px = round(max(width_px, height_px) / factor)
        if factor < 1 - SAME:
            raise InputError(
                f"{image}: has pixels of {own_um:g} um, {spacing_um:g} um are needed; "
                "raise evaluation.layers.spacing_um in config/config.yaml"
            )
        if extent_px > patch_px:
            raise InputError(
                f"{image}: {extent_px} px of {spacing_um:g} um do not fit into a square of "
                f"{patch_px}; raise evaluation.layers.patch_px in config/config.yaml"
            )
        gray = annotations.read_gray(Path(image), is_photograph=True)
        images[index] = fit_to_square(gray, factor, patch_px)
        layers = annotations.read_gray(Path(mask))
        labels[index] = cell_labels(layers, factor, patch_px, rows, columns)
    return images, labels


def in_fraction(ranks: NDArray[np.int64], fraction: float) -> NDArray[np.bool_]:
    """Which patches belong to a fraction of the training patches; test patches have rank -1."""
    # 0.29 x 100 is a little less than 29
    most = math.floor(fraction * np.sum(ranks >= 0) + 1e-9)
    return (ranks >= 0) & (ranks < most)


def _padding(shape: Sequence[int], patch_px: int) -> list[tuple[int, int]]:
    """Pixels before and after a centred image in a square, by axis."""
    before = [(patch_px - size) // 2 for size in shape]
    return [(at, patch_px - size - at) for at, size in zip(before, shape, strict=True)]
