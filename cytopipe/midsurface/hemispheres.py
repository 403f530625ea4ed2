"""The two hemispheres, separated before any surface is made."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from cytopipe.files import InputError
from cytopipe.formats.volumes import Volume
from cytopipe.numerics.geometry import Floats
from cytopipe.study.config import Midsurface
from cytopipe.study.declarations import Hemispheres

# points that suffice for a plane; chosen, not measured
POINTS = 20_000
# a plane is looked for within each of these in turn. Without a limit, a plane that halves a single
# hemisphere, or a brain without a frontal lobe, mirrors it best; chosen, not measured
TILTS_DEG = (15.0, 35.0, 60.0)
# the weight of the distance to the plane against the distance to the gray-white border, both in mm.
# With less, the border leaves the plane in the corpus callosum: of the head, 1.9 cm3 of gray matter
# go to the wrong side with 0.1, 1.2 cm3 with 0.4, 0.7 cm3 with 1. With more, it leaves the fissure
# where the brain is bent: of the demo's brains, none up to 0.4, 0.1 cm3 with 0.7
PLANE_WEIGHT = 0.4

Sides = NDArray[np.uint8]


@dataclass(frozen=True)
class Plane:
    """Points x with normal . x = offset_mm, stack RAS mm; the normal points to the right."""

    normal: Floats
    offset_mm: float

    @property
    def tilt_deg(self) -> float:
        return float(np.degrees(np.arccos(np.clip(self.normal[0], -1, 1))))

    def distances(self, tissue: Volume) -> NDArray[np.float32]:
        """Signed distance in mm of each voxel, negative on the left."""
        r, a, s = (
            part * (tissue.affine[axis, 3] + tissue.affine[axis, axis] * np.arange(count))
            for axis, (part, count) in enumerate(zip(self.normal, tissue.data.shape, strict=True))
        )
        distances_mm = r[:, None, None] + a[None, :, None] + s[None, None, :] - self.offset_mm
        return distances_mm.astype(np.float32)


def separate(tissue: Volume, params: Midsurface, declared: Hemispheres = "") -> Sides:
    """Hemisphere of each tissue voxel: 0 background, 1 left, 2 right (larger R).

    Within `band_mm` of the plane of mirror symmetry, fronts grow from both sides: through white
    matter first, and from there into the cortex. A gyrus that crosses the plane is reached through
    its own white matter, so that the border follows the fissure; only the corpus callosum is cut
    near the plane. Voxels of `plane_only_from_mm` or more do not show the fissure, and the plane
    itself is the border. What the border cuts off belongs to neither side.

    Parameters
    ----------
    declared : `left` or `right` if the brain has only this hemisphere; `both` if it has two,
        whatever it looks like; "" if it has two that look like it.

    Raises
    ------
    InputError
        If nothing is declared, and no plane divides the tissue at a narrow bridge.
    """
    inside = tissue.data > 0
    if declared in ("left", "right"):
        sides = np.where(inside, 1 if declared == "left" else 2, 0).astype(np.uint8)
        return _without_loose_parts(sides)
    step = max(1, round(params.symmetry_mm / float(tissue.voxel_mm[0])))
    coarse = Volume(tissue.data[::step, ::step, ::step], tissue.affine @ np.diag([step] * 3 + [1]))
    bridges = []
    for tilt_deg in TILTS_DEG:
        plane = symmetry_plane(coarse, tilt_deg)
        bridges.append((bridge(coarse, _divided(coarse, plane, params.band_mm)), plane))
        if bridges[-1][0] <= params.widest_bridge:
            break
    width, plane = min(bridges, key=lambda pair: pair[0])
    if width > params.widest_bridge and declared != "both":
        raise InputError(
            f"the two halves of the tissue touch over {width:.2f} of its size, two hemispheres "
            f"over at most {params.widest_bridge:g} (midsurface.widest_bridge); this looks like "
            "one hemisphere or an incomplete brain: write left, right or both into the column "
            "hemispheres of config/brains.tsv"
        )
    if float(tissue.voxel_mm[0]) >= params.plane_only_from_mm:
        sides = np.where(inside, np.where(plane.distances(tissue) < 0, 1, 2), 0).astype(np.uint8)
    else:
        sides = _divided(tissue, plane, params.band_mm)
    return _without_loose_parts(sides)


def symmetry_plane(coarse: Volume, most_tilt_deg: float) -> Plane:
    """The plane that mirrors the tissue onto itself best.

    Parameters
    ----------
    coarse : tissue on voxels of a few mm.
    most_tilt_deg : the largest angle between the plane's normal and the R axis. The search starts
        from planes turned about the A axis, since a base section may lie askew on its slide.
    """
    mask = (coarse.data > 0).astype(np.float32)
    smooth = ndimage.gaussian_filter(mask, 1)
    indices = np.argwhere(mask > 0)
    points = coarse.to_mm(indices[:: max(1, len(indices) // POINTS)])
    centre = points.mean(axis=0)

    def plane(slopes_offset: Floats) -> Plane:
        normal = np.array([1.0, slopes_offset[1], slopes_offset[2]])
        normal /= np.linalg.norm(normal)
        return Plane(normal, float(normal @ centre + slopes_offset[0]))

    def mismatch(slopes_offset: Floats) -> float:
        mirror = plane(slopes_offset)
        if mirror.tilt_deg > most_tilt_deg:
            return mirror.tilt_deg / most_tilt_deg
        away = points @ mirror.normal - mirror.offset_mm
        at = coarse.to_indices(points - 2 * away[:, None] * mirror.normal)
        return -float(ndimage.map_coordinates(smooth, at.T, order=1).mean())

    angles_deg = np.arange(-60, 61, 10)
    starts = [
        np.array([0.0, 0.0, np.tan(np.deg2rad(angle))])
        for angle in angles_deg[np.abs(angles_deg) < most_tilt_deg]
    ]
    start = min(starts, key=mismatch)
    simplex = start + np.array([[0, 0, 0], [5, 0, 0], [0, 0.05, 0], [0, 0, 0.05]])
    best = optimize.minimize(
        mismatch, start, method="Nelder-Mead", options={"initial_simplex": simplex}
    )
    return plane(best.x)


def bridge(tissue: Volume, sides: Sides) -> float:
    """The area between the sides over the tissue's volume to the power of 2/3.

    0.09 to 0.21 between the hemispheres of one person, also turned by 45 degrees, and without a
    temporal lobe, the front third or the lower half; 0.98 to 1.44 where a plane cut one hemisphere
    in two, or missed the fissure of a brain without a frontal lobe.
    """
    voxels, faces = int(np.count_nonzero(sides)), 0
    for axis in range(3):
        one, other = (np.delete(sides, end, axis) for end in (-1, 0))
        faces += int(np.count_nonzero((one > 0) & (other > 0) & (one != other)))
    return faces / float(max(voxels, 1)) ** (2 / 3)


def _divided(tissue: Volume, plane: Plane, band_mm: float) -> Sides:
    """The sides of the plane, with the border of a watershed within the band."""
    from skimage import segmentation

    voxel_mm = float(tissue.voxel_mm[0])
    inside = tissue.data > 0
    distances = plane.distances(tissue)
    sides = np.where(inside, np.where(distances < 0, 1, 2), 0).astype(np.uint8)
    # cropped to the band: on the whole volume the watershed takes minutes at 0.3 mm
    near = np.abs(distances) < band_mm + 2 * voxel_mm
    boxes = ndimage.find_objects((near & inside).astype(np.uint8))
    if not boxes:
        return sides
    where = boxes[0]
    away = np.abs(distances[where])
    markers = np.where(away > band_mm, sides[where], 0)
    white = tissue.data[where] == 2
    ground = ndimage.distance_transform_edt(~white, sampling=voxel_mm)
    ground -= ndimage.distance_transform_edt(white, sampling=voxel_mm)
    ground -= PLANE_WEIGHT * away
    flooded = segmentation.watershed(ground, markers, mask=inside[where] & near[where])
    kept = near[where] & (flooded > 0)
    sides[where][kept] = flooded[kept]
    return sides


def _without_loose_parts(sides: Sides) -> Sides:
    """Only the largest component of each side."""
    attached = np.zeros(sides.shape, bool)
    for side in (1, 2):
        labelled, count = ndimage.label(sides == side)
        if count:
            attached |= labelled == 1 + np.argmax(np.bincount(labelled.ravel())[1:])
    return np.where(attached, sides, 0).astype(np.uint8)
