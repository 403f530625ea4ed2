"""Labels of a hemisphere without what is neither sulcus nor white matter, for the depth.

Ventricles and excluded nuclei count as white matter, holes in the cortex as cortex, and so does a
patch of layer I that is as pale as white matter.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytopipe import logs
from cytopipe.numerics import sulci, surroundings, topology
from cytopipe.numerics.components import Mask
from cytopipe.numerics.geometry import Floats
from cytopipe.numerics.surroundings import DIRECTIONS

# white matter apart from the largest piece may belong to another part of a brain in pieces if it
# has at least this share of its volume; chosen, not measured
BODY_SHARE = 0.1
# half the thickness of the cortex
MIDDLE = 0.5


def fill_cavities(labels: NDArray[np.uint8], white_lining: float) -> NDArray[np.uint8]:
    """Label enclosed background as white matter where white matter lines it.

    Parameters
    ----------
    white_lining : the share of its faces that border on white matter. A ventricle or a hole in
        white matter has more. A pocket of a sulcus whose mouth is closed has less and stays
        background, since cortex lines it.
    """
    enclosed = topology.without_cavities(labels > 0) & (labels == 0)
    cavities, count = ndimage.label(enclosed)
    if count == 0:
        return labels
    faces = np.zeros((3, count + 1))
    # a cavity never touches the border of the volume
    for axis in range(3):
        for step in (-1, 1):
            beside = np.roll(labels, step, axis)[enclosed]
            for label in (1, 2):
                faces[label] += np.bincount(cavities[enclosed][beside == label], None, count + 1)
    white = faces[2] > white_lining * faces.sum(0)
    return np.where(white[cavities], 2, labels).astype(np.uint8)


def fill_pits(labels: NDArray[np.uint8], mask: Mask, white_around: float) -> NDArray[np.uint8]:
    """The part of the labels in `mask`, with the pits in its white matter filled.

    Otherwise the mid-surface would follow the walls of ventricles and of excluded nuclei, which may
    be open to the outside.

    Parameters
    ----------
    mask : a hemisphere. The tissue of the other one blocks the view.
    white_around : background is filled where white matter of the hemisphere is the next tissue in
        at least this share of directions (`surroundings.facing_white`).
    """
    seen = np.where(mask, labels, labels > 0).astype(np.uint8)
    pits = (labels == 0) & (surroundings.facing_white(seen) >= white_around * DIRECTIONS)
    return np.where(pits, 2, np.where(mask, labels, 0)).astype(np.uint8)


def mend_cortex(
    labels: NDArray[np.uint8], around_voxels: float, sulcus_share: float
) -> NDArray[np.uint8]:
    """Labels without white matter in the outer half of the cortex, and holes in its inner half.

    The white matter of a hemisphere is one piece. A piece apart from it that lies, for the most
    part, nearer to the pial surface is layer I, which is pale: of one bank that is cut along its
    surface, or of two that touch. Enclosed background is a pocket of a sulcus in the outer half; in
    the inner half it is a vessel, a bubble or a crack, which has no pial surface.

    Parameters
    ----------
    labels : (i, j, k) 0 outside, 1 cortex, 2 white matter, on an isotropic grid.
    around_voxels : as in `sulci.usual_thickness`.
    sulcus_share : a hole that lies mostly in the inner half is filled up to this share of the usual
        thickness; what remains of it could be a sulcus.
    """
    block = np.ones((3, 3, 3), bool)
    pieces, _ = ndimage.label(labels == 2, block)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    apart = (labels == 2) & (sizes < BODY_SHARE * sizes.max())[pieces]
    holes = topology.without_cavities(labels > 0) & (labels == 0)
    if not (apart | holes).any():
        return labels
    plain = np.where(apart | holes, 1, labels).astype(np.uint8)
    distance = sulci.distance_from_white(plain)
    share = distance / sulci.usual_thickness(plain, distance, around_voxels)
    pale = apart & (_medians(share, apart, block) >= MIDDLE) & (distance < sulci.FARTHEST)
    limits = np.where(_medians(share, holes) < MIDDLE, sulcus_share, MIDDLE)
    filled = holes & (share < limits)
    mended = np.where(pale, 1, labels).astype(np.uint8)
    nearest = ndimage.distance_transform_edt(
        mended == 0, return_distances=False, return_indices=True
    )
    mended[filled] = mended[tuple(index[filled] for index in nearest)]
    logs.info(f"{int(pale.sum())} voxels of pale layer I, {int(filled.sum())} of holes in tissue")
    return mended


def _medians(values: NDArray[np.floating], mask: Mask, structure: Mask | None = None) -> Floats:
    """The median of each connected piece of a mask, at its voxels; NaN elsewhere."""
    pieces, count = ndimage.label(mask, structure)
    if count == 0:
        return np.full(mask.shape, np.nan)
    medians = np.asarray(ndimage.median(values, pieces, np.arange(1, count + 1)))
    return np.append(np.nan, medians)[pieces]
