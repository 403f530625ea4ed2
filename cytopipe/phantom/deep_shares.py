"""The deep structures in a window of a section: shares of tissue, and which structure it is."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cytopipe.numerics.geometry import Floats
from cytopipe.phantom.deep import STEP_MM, STRUCTURES, Deep

# by the number of the structure
COVER = np.array([0.0, *(structure.cover for structure in STRUCTURES)], np.float32)
DIAMETER_UM = np.array([10.0, *(structure.diameter_um for structure in STRUCTURES)], np.float32)


def add_structures(
    deep: Deep, tissue: NDArray[np.float32], white: NDArray[np.float32], nodes: Floats, pitch: int,
    pixel_mm: float,
) -> NDArray[np.uint8]:  # fmt: skip
    """Add the structures to the shares of tissue and white matter of a window, in place.

    Parameters
    ----------
    nodes, pitch : template RAS mm of every n-th pixel (`brain.coordinate_nodes`).
    pixel_mm : in the template.

    Returns
    -------
    The number of the structure that fills most of each pixel, 0 for none.
    """
    to_grid = np.linalg.inv(deep.labels.affine)
    nodes_grid = (nodes @ to_grid[:3, :3].T + to_grid[:3, 3]).astype(np.float32)
    step = np.float32(STEP_MM / pixel_mm)
    return np.asarray(
        _mix(deep.fields, deep.labels.data, nodes_grid, pitch, step, tissue, white), np.uint8
    )


@njit(cache=True)
def _mix(fields, labels, nodes, pitch, step, tissue, white) -> Any:  # type: ignore[no-untyped-def]
    rows, columns = tissue.shape
    number = np.zeros(tissue.shape, np.uint8)
    size_i, size_j, size_k = labels.shape
    share = np.zeros(3)
    for r in range(rows):
        for c in range(columns):
            within, outside = white[r, c], 1 - tissue[r, c]
            if within + outside <= 0:
                continue
            i, j = r // pitch, c // pitch
            y, x = (r - i * pitch) / pitch, (c - j * pitch) / pitch
            a, b, d, e = nodes[i, j], nodes[i, j + 1], nodes[i + 1, j], nodes[i + 1, j + 1]
            u = (1 - y) * ((1 - x) * a[0] + x * b[0]) + y * ((1 - x) * d[0] + x * e[0])
            v = (1 - y) * ((1 - x) * a[1] + x * b[1]) + y * ((1 - x) * d[1] + x * e[1])
            w = (1 - y) * ((1 - x) * a[2] + x * b[2]) + y * ((1 - x) * d[2] + x * e[2])
            h, m, n = int(np.floor(u)), int(np.floor(v)), int(np.floor(w))
            if h < 0 or m < 0 or n < 0 or h + 1 >= size_i or m + 1 >= size_j or n + 1 >= size_k:
                continue
            u, v, w = u - h, v - m, w - n
            for kind in range(3):
                f = fields[kind]
                distance = (1 - u) * (
                    (1 - v) * ((1 - w) * f[h, m, n] + w * f[h, m, n + 1])
                    + v * ((1 - w) * f[h, m + 1, n] + w * f[h, m + 1, n + 1])
                ) + u * (
                    (1 - v) * ((1 - w) * f[h + 1, m, n] + w * f[h + 1, m, n + 1])
                    + v * ((1 - w) * f[h + 1, m + 1, n] + w * f[h + 1, m + 1, n + 1])
                )
                share[kind] = min(1.0, max(0.0, 0.5 + distance * step))
            gray = share[0]
            bright = min(share[1], 1 - gray)
            empty = min(share[2], 1 - gray)
            tissue[r, c] += outside * (gray + bright) - within * empty
            white[r, c] = within * (1 - gray - empty) + outside * bright
            if within * (gray + bright + empty) + outside * (gray + bright) > 0.5:
                number[r, c] = labels[
                    h + (1 if u > 0.5 else 0), m + (1 if v > 0.5 else 0), n + (1 if w > 0.5 else 0)
                ]
    return number
