"""A section drawn with known labels, for tests of the segmentation."""

import numpy as np
from scipy import ndimage
from test_segmentation import SLIDE, dice

SPACING_UM = 128.0


def section(
    seed=0, contrast=0.5, layer_1=0.2, slide=SLIDE, stain=100.0, sulci_px=(), bare=False, size=1.0
):
    """A section of 128 um with white matter of a given contrast, and its true labels.

    The pixels are averages of 5 x 5 finer ones, so a border is as dark as it is covered by tissue.
    Grain is 8 % of the stain and 0.4 mm wide.

    Parameters
    ----------
    layer_1 : by which share layer I, 250 um thick, is paler than gray matter.
    sulci_px : widths of straight sulci, in pixels, which reach 14 mm into the section.
    bare : without white matter.
    size : of the section; at 0.4 it is 12 x 15 mm.
    """
    random = np.random.default_rng(seed)
    rows, columns, fine = 300, 380, 5
    y, x = (np.mgrid[: rows * fine, : columns * fine] + 0.5) / fine
    down, right = y - rows / 2, x - columns / 2
    angle = np.arctan2(down, right)
    tissue = np.hypot(down / 115, right / 150) < size + 0.05 * np.cos(9 * angle + seed)
    for place, width in enumerate(sulci_px):
        middle = columns / 2 + 45 * (place - (len(sulci_px) - 1) / 2)
        tissue &= ~((np.abs(x - middle - 0.4) < width / 2) & (y < rows / 2 - 20))
    depth_um = ndimage.distance_transform_edt(tissue) * SPACING_UM / fine
    white = (depth_um > 2600) & (not bare)
    strength = np.where(white, 1 - contrast, np.where(depth_um < 250, 1 - layer_1, 1.0)) * tissue

    def average(values):
        return values.reshape(rows, fine, columns, fine).mean(axis=(1, 3))

    grain = ndimage.gaussian_filter(random.normal(size=(rows, columns)), 3)
    strength = average(strength) * (1 + 0.08 * grain / grain.std())
    image = slide - stain * strength + random.normal(size=strength.shape)
    covered = average(tissue.astype(float)) > 0.5
    labels = np.where(average(white.astype(float)) > 0.5, 2, covered).astype(np.uint8)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), labels


def scores(segmented, true):
    return [dice(segmented.labels == kind, true == kind) for kind in (1, 2)]
