"""Defects of single sections, what a person excludes, loose fragments; each change is a row."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytopipe import logs
from cytopipe.files import InputError
from cytopipe.formats import volumes
from cytopipe.formats.tables import RepairRow
from cytopipe.reconstruction.shapes import Grid, Planes, signed_distance
from cytopipe.study import masks

# share of a hole's border that must lie at white matter; the medial wall can graze some
WHITE_SHARE = 0.25
# subcortex, cerebellum and brain stem are a quarter of a human brain's tissue
MOST_EXCLUDED = 0.6
SIX = ndimage.generate_binary_structure(3, 1)

Mask = NDArray[np.bool_]
Field = NDArray[np.float32]


def repair_defects(
    planes: Planes,
    grid: Grid,
    brain: str,
    *,
    radius_mm: float,
    min_mm3: float,
    cortex_mm: float,
    label_gap_mm: float,
    max_gap_mm: float,
) -> list[RepairRow]:
    """Give defects of single sections the median of the section and its two neighbours, in place.

    The median of three along the cutting direction over the usable sections, and large connected
    components of the difference, as in CytoNet section 3.2. At coarse section spacing anatomy
    differs between sections as much as a defect does, so that a difference counts only where

    - a disc of `radius_mm` fits into it: borders that moved leave thin crescents;
    - for missing tissue, less than `cortex_mm` of gray matter separates a quarter of its border
      from white matter, and the neighbours have white matter there too, give or take as much:
      a hole or a tear cuts white matter open, a sulcus is lined with cortex;
    - for gray against white matter, the neighbours are at most `label_gap_mm` apart.

    The first and the last section, and those beside a gap over `max_gap_mm`, have no two
    neighbours and stay as they are.
    """
    gaps = np.diff(planes.a_mm)
    # the thickness that a section stands for: half way to both neighbours
    thick_mm = np.convolve(np.pad(gaps, 1, mode="edge"), [0.5, 0.5], "valid")
    radius_px = radius_mm / grid.voxel_mm

    def missing(k: int, tissue: Field, white: Field) -> Mask:
        wide = _open((planes.tissue[k] <= 0) & (tissue > 0), radius_px)
        at_border = planes.tissue[k] > -1.5 * grid.voxel_mm
        cut = (planes.tissue[k] - planes.white[k] < cortex_mm) & (white > -cortex_mm)
        return _cutting_white(wide, at_border, cut)

    def extra(k: int, tissue: Field, white: Field) -> Mask:
        del white
        return _open((planes.tissue[k] > 0) & (tissue <= 0), radius_px)

    def relabelled(k: int, tissue: Field, white: Field) -> Mask:
        both = (planes.tissue[k] > 0) & (tissue > 0)
        if gaps[k - 1] + gaps[k] > label_gap_mm:
            both[:] = False
        return _open(both & ((planes.white[k] > 0) != (white > 0)), radius_px)

    repairs = []
    # holes first: a section torn in two would outvote what its neighbour rightly has
    for find in (missing, extra, relabelled):
        medians = {
            k: _medians(planes, k)
            for k in range(1, len(planes.a_mm) - 1)
            if max(gaps[k - 1], gaps[k]) <= max_gap_mm
        }
        found = np.zeros(planes.tissue.shape, bool)
        for k, fields in medians.items():
            found[k] = find(k, *fields)
        for part in _components(found):
            sections, r, s = part
            volume = float(thick_mm[sections].sum() * grid.voxel_mm**2)
            if volume < min_mm3:
                continue
            centre = grid.origin_mm + grid.voxel_mm * np.array([r.mean(), 0, s.mean()])
            centre[1] = planes.a_mm[sections].mean()
            repairs.append(RepairRow(brain, "defect", volume, *centre.tolist()))
            for k in np.unique(sections):
                at = r[sections == k], s[sections == k]
                planes.tissue[k][at], planes.white[k][at] = (field[at] for field in medians[k])
    return repairs


def _medians(planes: Planes, k: int) -> tuple[Field, Field]:
    around = slice(k - 1, k + 2)
    return _median(*planes.tissue[around]), _median(*planes.white[around])


def _median(a: Field, b: Field, c: Field) -> Field:
    """Of three, as `np.median` but without sorting."""
    return np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))


def _components(mask: Mask) -> list[tuple[NDArray[np.intp], ...]]:
    """Indices of each 6-connected component."""
    labelled, _ = ndimage.label(mask, SIX)
    flat = np.flatnonzero(labelled)
    order = np.argsort(labelled.ravel()[flat], kind="stable")
    ends = np.cumsum(np.bincount(labelled.ravel()[flat])[1:])[:-1]
    return [np.unravel_index(part, mask.shape) for part in np.split(flat[order], ends) if len(part)]


def _open(mask: Mask, radius_px: float) -> Mask:
    """Morphological opening by a disc; what is dilated back includes the border's rounding."""
    core = signed_distance(mask) >= radius_px if mask.any() else mask
    return mask & (signed_distance(core) > -radius_px - 1) if core.any() else core


def _cutting_white(mask: Mask, at_border: Mask, near_white: Mask) -> Mask:
    """Components of which enough pixels at the section's tissue are near its white matter."""
    labelled, count = ndimage.label(mask)
    border = np.bincount(labelled[at_border], minlength=count + 1)
    white = np.bincount(labelled[at_border & near_white], minlength=count + 1)
    kept = white > WHITE_SHARE * border
    kept[0] = False
    return np.asarray(kept[labelled])


def exclude(volume: volumes.Volume, exclusion: Path, brain: str) -> list[RepairRow]:
    """Set to background, in place, what a person has marked (subcortex, cerebellum).

    Parameters
    ----------
    exclusion : mask in stack RAS mm (`formats.masks`), all of whose segments are left out. On a
        grid of its own it is sampled at the nearest voxel.

    Raises
    ------
    InputError
        If it marks nothing of this brain, so that it was drawn in another frame, or most of it,
        so that it is turned around or has a segment of what is to stay.
    """
    segments = masks.read_mask(exclusion)
    indices = np.argwhere(volume.data > 0)
    points_mm = volume.to_mm(indices)
    shares = {}
    marked = np.zeros(len(indices), bool)
    for segment in segments:
        inside = segment.holds(points_mm)
        marked |= inside
        shares[segment.name] = float(inside.mean())
        cm3 = np.count_nonzero(inside) * np.prod(volume.voxel_mm) / 1000
        logs.info(f"{exclusion.name}: {segment.name} leaves out {cm3:.1f} cm3")
    if not marked.any():
        raise InputError(
            f"{exclusion}: marks no tissue of this brain; draw it on the brain's whole.nii.gz of "
            "results/reconstruction, or delete it"
        )
    if marked.mean() > MOST_EXCLUDED:
        told = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
        raise InputError(
            f"{exclusion}: marks {100 * marked.mean():.0f} % of the tissue ({told}); it is to mark "
            "what is left out: remove the segment of the cortex, or turn the mask around"
        )
    out = np.zeros(volume.data.shape, bool)
    out[tuple(indices[marked].T)] = True
    volume.data[out] = 0
    return [_repair(brain, "excluded", part, volume) for part in _components(out)]


def drop_fragments(volume: volumes.Volume, share: float, brain: str) -> list[RepairRow]:
    """Set to background, in place, components smaller than `share` of the largest."""
    parts = _components(volume.data > 0)
    largest = max((len(part[0]) for part in parts), default=0)
    small = [part for part in parts if len(part[0]) < share * largest]
    for part in small:
        volume.data[part] = 0
    return [_repair(brain, "fragment", part, volume) for part in small]


def _repair(
    brain: str, kind: str, part: tuple[NDArray[np.intp], ...], volume: volumes.Volume
) -> RepairRow:
    size_mm3 = float(len(part[0]) * np.prod(volume.voxel_mm))
    centre_mm = volume.to_mm(np.stack(part, axis=1).mean(axis=0))
    return RepairRow(brain, kind, size_mm3, *centre_mm.tolist())
