"""How far each template coordinate may be off, estimated from contradictions in the data.

Not in the papers. The squares of two errors add up. The error of the section's place follows from
pairs that contradict one another (`alignment.graph`). The error of the registration follows from
how far the points around a point, which lie in the middle of the cortex, miss the middle of the
template's cortex. A registration is off by more along the cortex, where it sees no border; a
phantom shows by how much (`coordinates.along_cortex`).
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from cytopipe.formats.volumes import Volume
from cytopipe.numerics.components import Mask
from cytopipe.numerics.geometry import Floats

# standard deviation / median of absolute values, for a normal distribution
FROM_MEDIAN = 1.4826


def off_middle_mm(points_mm: Floats, template: Volume) -> Floats:
    """Signed mm from the middle of the template's cortex; positive towards the white matter.

    Half of the difference between the distances to the pial and to the white boundary: exact
    beside flat cortex, too large where two banks touch in the template. NaN for points without a
    coordinate.
    """
    to_pial, to_white = (
        _signed_mm(mask, template.voxel_mm) for mask in (template.data > 0, template.data == 2)
    )
    known = np.isfinite(points_mm).all(axis=1)
    at = template.to_indices(points_mm[known]).T
    off = np.full(len(points_mm), np.nan)
    off[known] = ndimage.map_coordinates((to_pial + to_white) / 2, at, order=1, mode="nearest")
    return off


def sigma_mm(
    points_mm: Floats,
    hemispheres: NDArray[np.str_],
    template: Volume,
    section_sigma_mm: Floats,
    around: int,
    along_cortex: float,
) -> Floats:
    """Estimated standard deviation of each coordinate along an axis, mm.

    Parameters
    ----------
    points_mm : (n, 3) template RAS mm; NaN without a coordinate.
    hemispheres : (n,) L or R; each hemisphere is judged by its own points.
    section_sigma_mm : (n,) error of the place of each point's section; NaN if unknown.
    around : number of points around a point from which the registration's error is estimated.
    along_cortex : root mean square error of an axis over the distance from the template's middle.

    Returns
    -------
    (n,) mm; NaN where either error is unknown.
    """
    off = np.abs(off_middle_mm(points_mm, template))
    registration = np.full(len(off), np.nan)
    for hemisphere in np.unique(hemispheres):
        rows = np.flatnonzero((hemispheres == hemisphere) & np.isfinite(off))
        if not len(rows):
            continue
        neighbours = min(around, len(rows))
        _, near = cKDTree(points_mm[rows]).query(points_mm[rows], neighbours)
        near = near.reshape(len(rows), neighbours)
        registration[rows] = along_cortex * FROM_MEDIAN * np.median(off[rows][near], axis=1)
    return np.asarray(np.hypot(registration, section_sigma_mm))


def _signed_mm(mask: Mask, voxel_mm: Floats) -> Floats:
    """Distance to the mask's boundary, which lies between voxels; positive inside."""
    inside = ndimage.distance_transform_edt(mask, voxel_mm)
    outside = ndimage.distance_transform_edt(~mask, voxel_mm)
    half = float(np.mean(voxel_mm)) / 2
    return np.asarray(np.where(mask, inside - half, half - outside))
