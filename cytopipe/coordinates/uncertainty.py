"""How far each template coordinate may be off, from what the data themselves contradict.

Beyond the papers. Two parts are estimated and added in squares: the error of the section's place,
from the pairs that contradict one another (`alignment.graph`), and the error of the registration
around the point: points of the cortex's middle should lie in the middle of the template's cortex,
and by how much their neighbourhood misses it is seen. A registration fits what it sees; along the
cortex it is off by more, and by how much more has to be known from a phantom (`ALONG_CORTEX`).
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from cytopipe.formats.volumes import Volume
from cytopipe.numerics.geometry import Floats

# points around each that say how well the cortex is met there; on both banks and over 10 mm or so
NEIGHBOURS = 200
# root mean square error of an axis over the distance from the template's middle, measured on three
# brains of the phantom, whose true coordinates are known: 2.6 to 3.5
ALONG_CORTEX = 3.0
# of a normal distribution: standard deviation over median of absolute values
FROM_MEDIAN = 1.4826


def off_middle_mm(points_mm: Floats, template: Volume) -> Floats:
    """Signed distance from the middle of the template's cortex, mm; positive towards the white.

    Half of the difference between the distances to the pial and to the white boundary: exact
    beside flat cortex, too large where two banks touch in the template. NaN for points without a
    coordinate.
    """
    inside = template.data > 0
    white = template.data == 2
    towards_pial = _signed_mm(inside, template.voxel_mm)
    beyond_white = -_signed_mm(white, template.voxel_mm)
    known = np.isfinite(points_mm).all(axis=1)
    at = template.to_indices(points_mm[known]).T
    off = np.full(len(points_mm), np.nan)
    off_middle = (towards_pial - beyond_white) / 2
    off[known] = ndimage.map_coordinates(off_middle, at, order=1, mode="nearest")
    return off


def sigma_mm(
    points_mm: Floats,
    hemispheres: NDArray[np.str_],
    template: Volume,
    section_sigma_mm: Floats,
) -> Floats:
    """Estimated standard deviation of each coordinate along an axis, mm.

    Parameters
    ----------
    points_mm : (n, 3) template RAS mm; NaN without a coordinate.
    hemispheres : (n,) L or R; the other hemisphere says nothing about this one.
    section_sigma_mm : (n,) of the place of each point's section; NaN if not known.

    Returns
    -------
    (n,) mm; NaN where a part is not known.
    """
    off = np.abs(off_middle_mm(points_mm, template))
    registration = np.full(len(off), np.nan)
    for hemisphere in np.unique(hemispheres):
        rows = np.flatnonzero((hemispheres == hemisphere) & np.isfinite(off))
        if not len(rows):
            continue
        neighbours = min(NEIGHBOURS, len(rows))
        _, near = cKDTree(points_mm[rows]).query(points_mm[rows], neighbours)
        near = near.reshape(len(rows), neighbours)
        registration[rows] = ALONG_CORTEX * FROM_MEDIAN * np.median(off[rows][near], axis=1)
    return np.asarray(np.hypot(registration, section_sigma_mm))


def _signed_mm(mask: NDArray[np.bool_], voxel_mm: Floats) -> Floats:
    """Distance to the mask's boundary, between voxels; positive inside."""
    inside = ndimage.distance_transform_edt(mask, voxel_mm)
    outside = ndimage.distance_transform_edt(~mask, voxel_mm)
    half = float(np.mean(voxel_mm)) / 2
    return np.asarray(np.where(mask, inside - half, half - outside))
