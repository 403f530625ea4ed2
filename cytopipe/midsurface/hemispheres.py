"""The two hemispheres told apart before any surface is made."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from cytopipe.formats.volumes import Volume

COARSE_MM = 2.0
POINTS = 20000


def symmetry_plane(tissue: Volume) -> NDArray[np.float64]:
    """The plane (n_r, n_a, n_s, offset_mm) that mirrors the tissue onto itself, n unit, n_r > 0.

    Found on a coarse copy by maximal overlap with the mirror image, from starts turned by up to
    60 degrees in the section plane: a base section may lie askew on its slide.
    """
    step = max(1, round(COARSE_MM / float(tissue.voxel_mm[0])))
    coarse = (tissue.data[::step, ::step, ::step] > 0).astype(np.float32)
    smooth = ndimage.gaussian_filter(coarse, 1)
    indices = np.argwhere(coarse > 0)
    # every n-th voxel, not a random draw
    indices = indices[:: max(1, len(indices) // POINTS)]
    points = tissue.to_mm(indices * step)
    centre = points.mean(axis=0)

    def plane(angles_offset: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        normal = np.array([1.0, angles_offset[1], angles_offset[2]])
        normal /= np.linalg.norm(normal)
        return normal, float(normal @ centre + angles_offset[0])

    def mismatch(angles_offset: NDArray[np.float64]) -> float:
        normal, offset = plane(angles_offset)
        mirrored = points - 2 * ((points @ normal) - offset)[:, None] * normal
        at = tissue.to_indices(mirrored) / step
        return -float(ndimage.map_coordinates(smooth, at.T, order=1).mean())

    starts = [np.array([0.0, 0.0, np.tan(np.deg2rad(angle))]) for angle in range(-60, 61, 10)]
    start = min(starts, key=mismatch)
    simplex = start + np.array([[0, 0, 0], [5, 0, 0], [0, 0.05, 0], [0, 0, 0.05]])
    best = optimize.minimize(
        mismatch, start, method="Nelder-Mead", options={"initial_simplex": simplex}
    )
    normal, offset = plane(best.x)
    return np.append(normal, offset)


def separate(tissue: Volume, band_mm: float, plane_only_from_mm: float) -> NDArray[np.uint8]:
    """Hemisphere of each tissue voxel: 0 background, 1 left, 2 right (larger R).

    A plane of mirror symmetry, and within `band_mm` of it a watershed: the border follows the
    fissure where the brain is bent, and cuts the corpus callosum near the plane. From voxels of
    `plane_only_from_mm` on the plane alone, for lack of a fissure in such voxels.
    """
    voxel_mm = float(tissue.voxel_mm[0])
    inside = tissue.data > 0
    distance = _distance_to_plane(tissue, symmetry_plane(tissue))
    sides = np.where(inside, np.where(distance < 0, 1, 2), 0).astype(np.uint8)
    if voxel_mm < plane_only_from_mm:
        from skimage import segmentation

        # crop to the band: over the whole volume the watershed takes minutes at 0.3 mm
        near = np.abs(distance) < band_mm + voxel_mm
        where = ndimage.find_objects((near & inside).astype(np.uint8))[0]
        markers = np.where(np.abs(distance[where]) > 0.8 * band_mm, sides[where], 0)
        # high ground in the fissure and in narrow places, and on the plane itself
        ground = -ndimage.distance_transform_edt(inside[where], sampling=voxel_mm)
        ground -= 0.5 * ndimage.distance_transform_edt(tissue.data[where] == 2, sampling=voxel_mm)
        ground -= 0.3 * np.abs(distance[where])
        flooded = segmentation.watershed(ground, markers, mask=inside[where] & near[where])
        kept = near[where] & (flooded > 0)
        sides[where][kept] = flooded[kept]
    return np.where(_attached(sides), sides, 0).astype(np.uint8)


def _distance_to_plane(tissue: Volume, plane: NDArray[np.float64]) -> NDArray[np.float32]:
    """Signed distance in mm of every voxel's centre, negative on the left."""
    axes = [
        plane[axis] * (tissue.affine[axis, 3] + tissue.affine[axis, axis] * np.arange(count))
        for axis, count in enumerate(tissue.data.shape)
    ]
    grid = axes[0][:, None, None] + axes[1][None, :, None] + axes[2][None, None, :]
    return np.asarray(grid - plane[3], np.float32)


def _attached(sides: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The largest component of each side: what the border cut off belongs to neither."""
    kept = np.zeros(sides.shape, bool)
    for side in (1, 2):
        labelled, count = ndimage.label(sides == side)
        if count:
            kept |= labelled == 1 + np.argmax(np.bincount(labelled.ravel())[1:])
    return kept
