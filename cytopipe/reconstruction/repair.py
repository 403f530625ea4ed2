"""Repair defects of single sections, exclude what a person has marked, drop loose fragments."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytopipe import logs
from cytopipe.files import InputError
from cytopipe.formats import volumes
from cytopipe.formats.tables import RepairRow
from cytopipe.numerics.components import Mask
from cytopipe.reconstruction.shapes import Field, Grid, Planes, signed_distance
from cytopipe.study import masks
from cytopipe.study.config import Reconstruction


def repair_defects(
    planes: Planes, grid: Grid, params: Reconstruction, brain: str
) -> list[RepairRow]:
    """Replace defects of single sections by the median of the section and its neighbours, in place.

    As in CytoNet section 3.2, a defect is a large connected component of the difference from the
    median of three usable sections along the cutting direction. Where sections are far apart, the
    anatomy itself differs between them as much as a defect would. A difference therefore counts
    only if

    - a disc of `defect_radius_mm` fits into it: borders that moved leave thin crescents;
    - for missing tissue, less than `cortex_mm` of gray matter separates `hole_white_share` of its
      border from white matter, and the median has white matter there, too, within `cortex_mm`: a
      hole or a tear cuts white matter open, whereas a sulcus is lined with cortex;
    - for gray against white matter, the neighbours are at most `label_gap_mm` apart.

    The first and the last section, and those beside a gap over `max_gap_mm`, lack a neighbour and
    stay as they are.
    """
    gaps = np.diff(planes.a_mm)
    # a section stands for half of the gap on either side
    thick_mm = np.convolve(np.pad(gaps, 1, mode="edge"), [0.5, 0.5], "valid")
    radius_px = params.defect_radius_mm / grid.voxel_mm

    def difference(kind: str, k: int, median_tissue: Field, median_white: Field) -> Mask:
        tissue, white = planes.tissue[k], planes.white[k]
        if kind == "missing":
            hole = _open((tissue <= 0) & (median_tissue > 0), radius_px)
            at_border = tissue > -1.5 * grid.voxel_mm
            cut = (tissue - white < params.cortex_mm) & (median_white > -params.cortex_mm)
            return _cutting_white(hole, at_border, cut, params.hole_white_share)
        if kind == "extra":
            return _open((tissue > 0) & (median_tissue <= 0), radius_px)
        if gaps[k - 1] + gaps[k] > params.label_gap_mm:
            return np.zeros(tissue.shape, bool)
        both = (tissue > 0) & (median_tissue > 0)
        return _open(both & ((white > 0) != (median_white > 0)), radius_px)

    repairs = []
    # holes first: otherwise a section torn in two would outvote its intact neighbour
    for kind in ("missing", "extra", "relabelled"):
        medians = {
            k: [_median(*field[k - 1 : k + 2]) for field in (planes.tissue, planes.white)]
            for k in range(1, len(planes.a_mm) - 1)
            if max(gaps[k - 1], gaps[k]) <= params.max_gap_mm
        }
        differs = np.zeros(planes.tissue.shape, bool)
        for k, fields in medians.items():
            differs[k] = difference(kind, k, *fields)
        for sections, r, s in _components(differs):
            volume = float(thick_mm[sections].sum() * grid.voxel_mm**2)
            if volume < params.defect_min_mm3:
                continue
            centre = grid.origin_mm + grid.voxel_mm * np.array([r.mean(), 0, s.mean()])
            centre[1] = planes.a_mm[sections].mean()
            repairs.append(RepairRow(brain, "defect", volume, *centre.tolist()))
            for k in np.unique(sections):
                at = r[sections == k], s[sections == k]
                planes.tissue[k][at], planes.white[k][at] = (field[at] for field in medians[k])
    return repairs


def _median(a: Field, b: Field, c: Field) -> Field:
    """The median of three, without the sorting of `np.median`."""
    return np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))


def _components(mask: Mask) -> list[tuple[NDArray[np.intp], ...]]:
    """The indices of each component; voxels that share a face are connected."""
    labelled, _ = ndimage.label(mask)
    flat = np.flatnonzero(labelled)
    order = np.argsort(labelled.ravel()[flat], kind="stable")
    ends = np.cumsum(np.bincount(labelled.ravel()[flat])[1:])[:-1]
    return [np.unravel_index(part, mask.shape) for part in np.split(flat[order], ends) if len(part)]


def _open(mask: Mask, radius_px: float) -> Mask:
    """Morphological opening by a disc; the dilation reaches a pixel further, to undo rounding."""
    core = signed_distance(mask) >= radius_px
    return mask & (signed_distance(core) > -radius_px - 1)


def _cutting_white(mask: Mask, at_border: Mask, near_white: Mask, share: float) -> Mask:
    """The components with more than `share` of their border with the tissue near white matter."""
    labelled, count = ndimage.label(mask)
    border = np.bincount(labelled[at_border], minlength=count + 1)
    white = np.bincount(labelled[at_border & near_white], minlength=count + 1)
    kept = white > share * border
    kept[0] = False
    return np.asarray(kept[labelled])


def exclude(
    volume: volumes.Volume, exclusion: Path, most_excluded: float, brain: str
) -> list[RepairRow]:
    """Set to background, in place, what a person has marked (subcortex, cerebellum).

    Parameters
    ----------
    exclusion : mask in stack RAS mm (`study.masks`), on any grid; all of its segments are excluded.
    most_excluded : the largest share of the tissue that it may mark.

    Raises
    ------
    InputError
        If the mask marks no tissue (it was drawn in another frame), or most of the tissue (it is
        inverted, or one of its segments is the cortex).
    """
    segments = masks.read_mask(exclusion)
    indices = np.argwhere(volume.data > 0)
    points_mm = volume.to_mm(indices)
    shares = []
    marked = np.zeros(len(indices), bool)
    for segment in segments:
        inside = segment.holds(points_mm)
        marked |= inside
        shares.append(f"{segment.name} {100 * inside.mean():.0f} %")
        cm3 = np.count_nonzero(inside) * np.prod(volume.voxel_mm) / 1000
        logs.info(f"{exclusion.name}: {segment.name} excludes {cm3:.1f} cm3")
    if not marked.any():
        raise InputError(
            f"{exclusion}: marks no tissue of this brain; draw it on whole.nii.gz of this brain in "
            "results/reconstruction, or delete it"
        )
    if marked.mean() > most_excluded:
        raise InputError(
            f"{exclusion}: marks {100 * marked.mean():.0f} % of the tissue ({', '.join(shares)}), "
            "but must mark what to exclude: remove the segment of the cortex, or invert the mask"
        )
    excluded = np.zeros(volume.data.shape, bool)
    excluded[tuple(indices[marked].T)] = True
    volume.data[excluded] = 0
    return [_repair_row(brain, "excluded", part, volume) for part in _components(excluded)]


def drop_fragments(volume: volumes.Volume, share: float, brain: str) -> list[RepairRow]:
    """Set to background, in place, components smaller than `share` of the largest."""
    parts = _components(volume.data > 0)
    largest = max((len(part[0]) for part in parts), default=0)
    small = [part for part in parts if len(part[0]) < share * largest]
    for part in small:
        volume.data[part] = 0
    return [_repair_row(brain, "fragment", part, volume) for part in small]


def _repair_row(
    brain: str, kind: str, part: tuple[NDArray[np.intp], ...], volume: volumes.Volume
) -> RepairRow:
    size_mm3 = float(len(part[0]) * np.prod(volume.voxel_mm))
    centre_mm = volume.to_mm(np.stack(part, axis=1).mean(axis=0))
    return RepairRow(brain, kind, size_mm3, *centre_mm.tolist())
