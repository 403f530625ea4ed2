"""Skeletons of masks."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def thin(mask: Mask) -> Mask:
    """Skeleton of a mask (rows, columns), one pixel wide and connected like the mask.

    Equals `skimage.morphology.thin` (Guo and Hall, Parallel thinning with two-subiteration
    algorithms, Comm. ACM 32(3), 1989), but revisits only pixels beside a removed one.
    """
    framed = np.pad(np.asarray(mask, np.uint8), 1)
    _thin(framed.reshape(-1), framed.shape[1], _removable())
    return framed[1:-1, 1:-1] > 0


def _removable() -> NDArray[np.bool_]:
    """Whether each of the two steps removes a pixel, (2, 256), by the code of its neighbours.

    Bit k of the code is neighbour k + 1 of the paper: east, north-east and on counter-clockwise.
    """
    table = np.zeros((2, 256), bool)
    for code in range(256):
        x = [bool(code >> k & 1) for k in range(8)]
        ring = [*x, x[0]]
        crossings = sum(not ring[k] and (ring[k + 1] or ring[k + 2]) for k in (0, 2, 4, 6))
        pairs = [sum(ring[k] or ring[k + 1] for k in range(first, 8, 2)) for first in (0, 1)]
        if crossings == 1 and 2 <= min(pairs) <= 3:
            table[0, code] = not ((x[1] or x[2] or not x[7]) and x[0])
            table[1, code] = not ((x[5] or x[6] or not x[3]) and x[4])
    return table


@njit(cache=True)
def _thin(image: Any, width: int, removable: Any) -> None:
    """Remove pixels from a flattened, framed image until neither step removes any."""
    around = np.array([1, 1 - width, -width, -1 - width, -1, width - 1, width, width + 1])
    pixels = np.flatnonzero(image)
    # the pixels that each step still has to visit; `waits` marks them
    queues, lengths = np.empty((2, pixels.size), np.int64), np.zeros(2, np.int64)
    waits, gone = np.zeros((2, image.size), np.bool_), np.empty(pixels.size, np.int64)
    for pixel in pixels:
        if image[pixel + around].sum() < 8:
            for step in range(2):
                waits[step, pixel] = True
                queues[step, lengths[step]] = pixel
                lengths[step] += 1
    step = 0
    while lengths[0] + lengths[1] > 0:
        count = 0
        for place in range(lengths[step]):
            pixel = queues[step, place]
            waits[step, pixel] = False
            code = 0
            for k in range(8):
                code |= image[pixel + around[k]] << k
            if image[pixel] and removable[step, code]:
                gone[count] = pixel
                count += 1
        lengths[step] = 0
        for pixel in gone[:count]:
            image[pixel] = 0
        for pixel in gone[:count]:
            for k in range(8):
                beside = pixel + around[k]
                for other in range(2):
                    if image[beside] and not waits[other, beside]:
                        waits[other, beside] = True
                        queues[other, lengths[other]] = beside
                        lengths[other] += 1
        step = 1 - step
