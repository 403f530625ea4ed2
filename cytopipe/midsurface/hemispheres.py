"""The two hemispheres, separated before any surface is made."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from cytopipe.files import InputError
from cytopipe.formats.volumes import Volume
from cytopipe.numerics.components import Mask
from cytopipe.numerics.geometry import Floats
from cytopipe.numerics.potential import potential
from cytopipe.numerics.sulci import distance_from_white
from cytopipe.study.config import Midsurface
from cytopipe.study.declarations import Hemispheres

# points that suffice for a plane; chosen, not measured
POINTS = 20_000
# a plane is looked for within each of these in turn. Without a limit, a plane that halves a single
# hemisphere, or a brain without a frontal lobe, mirrors it best; chosen, not measured
TILTS_DEG = (15.0, 35.0, 60.0)
# the potential in the white matter is computed for blocks of about this size; chosen
POTENTIAL_MM = 1.0

Sides = NDArray[np.uint8]


@dataclass(frozen=True)
class Division:
    """The hemispheres of a brain.

    Attributes
    ----------
    sides : (i, j, k) hemisphere of each tissue voxel: 0 none, 1 left, 2 right (larger R).
    callosum : (i, j, k) the part of the white matter that joins the hemispheres. `sides` divides it
        in the middle, but it is the inside of no gyrus: the cortex beside it ends or has its pial
        surface there.
    """

    sides: Sides
    callosum: Mask


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


def separate(tissue: Volume, params: Midsurface, declared: Hemispheres = "") -> Division:
    """Divide the tissue into hemispheres.

    The plane of mirror symmetry only tells what is certain: tissue farther from it than `band`.
    Within the band, white matter belongs to the hemisphere that it is better joined to: the one
    whose electric potential it is nearer to, if tissue beyond the band is held at 0 and 1. That is
    the corpus callosum, cut where half of the potential has fallen, and nothing else. Gray matter
    belongs to the white matter that it is nearer to along a path through gray matter, so that the
    border follows the fissure, and the middle of fused banks, wherever they run. The callosum is no
    such white matter, because it touches the outer face of the gyri above it. What cannot be told,
    or is cut off, belongs to neither side.

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
        return Division(_without_loose_parts(sides), np.zeros(inside.shape, bool))
    step = max(1, round(params.symmetry_mm / float(tissue.voxel_mm[0])))
    coarse = Volume(tissue.data[::step, ::step, ::step], tissue.affine @ np.diag([step] * 3 + [1]))
    bridges = []
    for tilt_deg in TILTS_DEG:
        plane = symmetry_plane(coarse, tilt_deg)
        bridges.append((bridge(coarse, _divided(coarse, plane, params).sides), plane))
        if bridges[-1][0] <= params.widest_bridge:
            break
    width, plane = min(bridges, key=lambda pair: pair[0])
    if width > params.widest_bridge and declared != "both":
        raise InputError(
            f"the two halves of the tissue touch over {width:.2f} of its size, two hemispheres "
            f"over at most {params.widest_bridge:g} (midsurface.widest_bridge); this looks like "
            "one hemisphere or an incomplete brain: write left, right or both into the column "
            "hemispheres of config/brains.tsv; or like a brain cut in sagittal sections, and "
            "cytopipe needs coronal ones"
        )
    division = _divided(tissue, plane, params)
    return replace(division, sides=_without_loose_parts(division.sides))


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


def _divided(tissue: Volume, plane: Plane, params: Midsurface) -> Division:
    """The sides that white and gray matter belong to, whatever lies near the plane."""
    voxel_mm = float(tissue.voxel_mm[0])
    inside = tissue.data > 0
    distances = plane.distances(tissue)
    sides = np.where(inside, np.where(distances < 0, 1, 2), 0).astype(np.uint8)
    callosum = np.zeros(inside.shape, bool)
    if not inside.any():
        return Division(sides, callosum)
    away = np.abs(distances)
    band_mm = params.band * float(away[inside].max())
    # cropped to the band, because everything beyond it is certain
    where = ndimage.find_objects((inside & (away < band_mm + 2 * voxel_mm)).astype(np.uint8))[0]
    labels = tissue.data[where]
    certain = np.where(away[where] > band_mm, sides[where], 0).astype(np.uint8)
    parts, _ = ndimage.label(labels == 2)
    joined = np.isin(parts, np.unique(parts[certain > 0])) & (labels == 2)
    rightness = potential(joined, certain, max(1, round(POTENTIAL_MM / voxel_mm)))
    distance = []
    for side, belongs in ((1, rightness < params.callosum), (2, rightness > 1 - params.callosum)):
        source = (certain == side) | (joined & belongs)
        through = np.where(source, 2, np.where((labels > 0) & ~joined & (certain == 0), 1, 0))
        distance.append(distance_from_white(through.astype(np.uint8)))
    left, right = distance
    clear = params.clear_mm / voxel_mm
    unclear = (np.minimum(left, right) > clear) & (np.abs(left - right) < clear)
    divided = np.where(joined, np.where(rightness < 0.5, 1, 2), np.where(left <= right, 1, 2))
    divided[unclear & ~joined] = 0
    sides[where] = np.where(certain > 0, certain, np.where(labels > 0, divided, 0))
    callosum[where] = joined & (np.abs(rightness - 0.5) <= 0.5 - params.callosum)
    return Division(sides, callosum)


def _without_loose_parts(sides: Sides) -> Sides:
    """Only the largest component of each side."""
    attached = np.zeros(sides.shape, bool)
    for side in (1, 2):
        labelled, count = ndimage.label(sides == side)
        if count:
            attached |= labelled == 1 + np.argmax(np.bincount(labelled.ravel())[1:])
    return np.where(attached, sides, 0).astype(np.uint8)
