"""The two hemispheres, separated before any surface is made."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from cytopipe.formats.volumes import Volume
from cytopipe.numerics.geometry import Floats

# voxels and points that suffice for a plane; chosen, not measured
COARSE_MM = 2.0
POINTS = 20_000


def symmetry_plane(tissue: Volume) -> Floats:
    """The plane (n_r, n_a, n_s, offset_mm) that mirrors the tissue onto itself, n unit, n_r > 0.

    A coarse copy overlaps most with its mirror image. The search starts from planes turned by up to
    60 degrees in the section plane, since a base section may lie askew on its slide.
    """
    step = max(1, round(COARSE_MM / float(tissue.voxel_mm[0])))
    coarse = (tissue.data[::step, ::step, ::step] > 0).astype(np.float32)
    smooth = ndimage.gaussian_filter(coarse, 1)
    indices = np.argwhere(coarse > 0)
    indices = indices[:: max(1, len(indices) // POINTS)]
    points = tissue.to_mm(indices * step)
    centre = points.mean(axis=0)

    def plane(angles_offset: Floats) -> tuple[Floats, float]:
        normal = np.array([1.0, angles_offset[1], angles_offset[2]])
        normal /= np.linalg.norm(normal)
        return normal, float(normal @ centre + angles_offset[0])

    def mismatch(angles_offset: Floats) -> float:
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

    The border is a watershed within `band_mm` of the plane of mirror symmetry: it follows the
    fissure where the brain is bent, and cuts the corpus callosum near the plane. Voxels of
    `plane_only_from_mm` or more do not show the fissure, and the plane itself is the border.
    """
    voxel_mm = float(tissue.voxel_mm[0])
    inside = tissue.data > 0
    *normal, offset_mm = symmetry_plane(tissue)
    # each axis's part of the signed distance to the plane, negative on the left
    r, a, s = (
        normal[axis] * (tissue.affine[axis, 3] + tissue.affine[axis, axis] * np.arange(count))
        for axis, count in enumerate(tissue.data.shape)
    )
    distance_mm = r[:, None, None] + a[None, :, None] + s[None, None, :] - offset_mm
    distance = distance_mm.astype(np.float32)
    sides = np.where(inside, np.where(distance < 0, 1, 2), 0).astype(np.uint8)
    if voxel_mm < plane_only_from_mm:
        from skimage import segmentation

        # cropped to the band: on the whole volume the watershed takes minutes at 0.3 mm
        near = np.abs(distance) < band_mm + voxel_mm
        where = ndimage.find_objects((near & inside).astype(np.uint8))[0]
        markers = np.where(np.abs(distance[where]) > 0.8 * band_mm, sides[where], 0)
        # a ridge in the fissure, in narrow places and on the plane; the weights are chosen
        ground = -ndimage.distance_transform_edt(inside[where], sampling=voxel_mm)
        ground -= 0.5 * ndimage.distance_transform_edt(tissue.data[where] == 2, sampling=voxel_mm)
        ground -= 0.3 * np.abs(distance[where])
        flooded = segmentation.watershed(ground, markers, mask=inside[where] & near[where])
        kept = near[where] & (flooded > 0)
        sides[where][kept] = flooded[kept]
    # fragments that the border cuts off belong to neither side
    attached = np.zeros(sides.shape, bool)
    for side in (1, 2):
        labelled, count = ndimage.label(sides == side)
        if count:
            attached |= labelled == 1 + np.argmax(np.bincount(labelled.ravel())[1:])
    return np.where(attached, sides, 0).astype(np.uint8)
