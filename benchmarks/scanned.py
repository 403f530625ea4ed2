"""A scanned section of true size for the suite: a cortex with stain, layers, noise, vessels."""

import numpy as np
from cortex import section
from numpy.typing import NDArray
from scipy import ndimage

SPACING_UM = 64
SHAPE = (1250, 1650)
SLIDE, GRAY, WHITE = 232, 128, 175


def scan(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(1250, 1650) image and the labels that it shows; noise differs from seed to seed."""
    labels = section(SPACING_UM)[: SHAPE[0], : SHAPE[1]]
    before = [(size - have) // 2 for size, have in zip(SHAPE, labels.shape, strict=True)]
    labels = np.pad(labels, [(b, s - h - b) for b, s, h in zip(before, SHAPE, labels.shape)])
    stain = np.choose(labels, [SLIDE, GRAY, WHITE]).astype(np.float32)
    # texture that neighbouring sections share, cells that they do not
    shared = ndimage.gaussian_filter(np.random.default_rng(7).normal(size=SHAPE), 12)
    random = np.random.default_rng(seed)
    cells = ndimage.gaussian_filter(random.normal(size=SHAPE), 2)
    texture = 8 * shared / shared.std() + 5 * cells / cells.std() + random.normal(0, 9, SHAPE)
    vessels = ndimage.gaussian_filter((random.random(SHAPE) < 2e-4) * 1.0, 1.5)
    stain = ndimage.gaussian_filter(stain, 0.7) + np.where(labels > 0, texture, texture / 6)
    stain += np.where(labels > 0, 60, 0) * vessels / vessels.max()
    return np.clip(stain, 0, 255).astype(np.uint8), labels
