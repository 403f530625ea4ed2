"""Cortical depth and the closed surface at half depth, one per hemisphere.

CytoNet section 3.2: Laplacian depth (Leprince et al. 2015), the 0.5-isosurface by marching cubes,
hemispheres, topology, Poisson reconstruction, isotropic explicit remeshing. Here the hemispheres
are separated and handles are cut on voxels BEFORE surfaces are made, because Poisson reconstruction
does not change the topology and closes what is open.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytopipe import logs, provenance, threads
from cytopipe.files import InputError, Output
from cytopipe.formats import surfaces as gifti
from cytopipe.formats import tables, volumes
from cytopipe.midsurface.alarms import LostCortex, lost_cortex, questioned
from cytopipe.midsurface.cleaning import fill_cavities, fill_pits, mend_cortex
from cytopipe.midsurface.hemispheres import separate
from cytopipe.midsurface.measures import thickness as streamline_thickness
from cytopipe.midsurface.supplied_surfaces import (
    SuppliedSurface,
    check_place,
    read_supplied_surface,
    within_cortex,
)
from cytopipe.midsurface.surface import HemisphereSurface, midsurface
from cytopipe.numerics import laplace, meshes, sulci
from cytopipe.numerics.components import Mask
from cytopipe.numerics.geometry import Floats
from cytopipe.study.config import Midsurface
from cytopipe.study.declarations import Hemispheres

VERSION = 6
SIDES = {"L": 1, "R": 2}
# background around a hemisphere's box; at least the layer of the depth's continuation; chosen
MARGIN_VOXELS = 3


@provenance.recorded
def run(
    *,
    brain: str,
    tissue: Path,
    supplied_surfaces: list[Path],
    depth: Output,
    hemispheres: Output,
    surfaces: dict[str, Output],
    thickness: dict[str, Output],
    curvature: dict[str, Output],
    table: Output,
    declared_hemispheres: Hemispheres = "",
    workers: int = 1,
    params: Midsurface,
) -> None:
    """Compute the depth, the hemispheres and both mid-surfaces of one brain.

    Parameters
    ----------
    tissue : label volume of the reconstruction, stack RAS mm.
    supplied_surfaces : the lab's own surfaces, which replace those at half depth
        (`read_supplied_surface`), or nothing.
    depth : written: float32, 0 pial to 1 white matter, NaN outside the cortex.
    hemispheres : written: uint8 0 background, 1 left, 2 right.
    surfaces, thickness, curvature : written, one file each for "L" and "R": mid-surface, mm, 1/mm.
        Those of a hemisphere that the brain lacks are empty, and its row says `absent`.
    table : written last: SurfaceRow, one row per hemisphere.
    declared_hemispheres : of brains.tsv (`study.declarations`).
    workers : with two or more, the hemispheres are computed side by side.

    Raises
    ------
    InputError
        If the volume is not isotropic, does not look like two hemispheres and nothing is declared,
        a hemisphere has no white matter, or a supplied surface does not fit.
    """
    labels = volumes.read_tissue(tissue)
    if np.ptp(labels.voxel_mm) > 1e-3 * labels.voxel_mm[0]:
        raise InputError(
            f"{tissue}: voxels of {labels.voxel_mm} mm; midsurface needs an isotropic volume"
        )
    data = fill_cavities(labels.data, params.white_lining)
    labels = volumes.Volume(data, labels.affine)
    try:
        division = separate(labels, params, declared_hemispheres)
    except InputError as error:
        raise InputError(f"{tissue}: {error}") from None
    sides = division.sides
    only = {"left": ["L"], "right": ["R"]}
    present = {name: SIDES[name] for name in only.get(declared_hemispheres, SIDES)}
    supplied = {name: read_supplied_surface(supplied_surfaces, name) for name in present}
    side_volume = volumes.Volume(sides, labels.affine)
    for name, side in present.items():
        if (own := supplied[name]) is not None:
            check_place(own[0], side_volume, side, supplied_surfaces[0].parent, name)
    voxel_mm3 = float(np.prod(labels.voxel_mm))
    unassigned_mm3 = float(((data > 0) & (sides == 0)).sum() * voxel_mm3)
    unassigned_share = unassigned_mm3 / (float((data > 0).sum()) * voxel_mm3)
    logs.info(f"{brain}: {unassigned_mm3:.0f} mm3 of tissue belong to no hemisphere")
    whole_depth = np.full(sides.shape, np.nan, np.float32)
    rows = [
        _absent(brain, name, surfaces[name], (thickness[name], curvature[name]))
        for name in SIDES
        if name not in present
    ]
    work = [
        (labels, sides == side, division.callosum, supplied[name], params)
        for name, side in present.items()
    ]
    for name, result in zip(present, _side_by_side(work, workers), strict=True):
        if result is None:
            raise InputError(
                f"{tissue}: no white matter in hemisphere {name}; look at the reconstruction"
            )
        surface, where = result.surface, result.where
        whole_depth[where][result.cortex] = result.depth[result.cortex]
        gifti.write(gifti.Surface(surface.vertices, surface.faces), surfaces[name], name)
        gifti.write_map(result.thickness_mm, thickness[name], name)
        gifti.write_map(result.curvature_per_mm, curvature[name], name)
        logs.info(f"{brain} {name}: {len(surface.vertices)} vertices, {surface.status}")
        row = _surface_row(brain, name, result, unassigned_mm3, params)
        rows.append(questioned(row, unassigned_share, params))
    volumes.write(volumes.Volume(whole_depth, labels.affine), depth)
    volumes.write(side_volume, hemispheres)
    tables.write_rows(tables.SurfaceRow, sorted(rows, key=lambda row: row.hemisphere), table)


@dataclass(frozen=True)
class HemisphereResult:
    """The results for one hemisphere.

    Attributes
    ----------
    where : its box in the brain's volume.
    depth, cortex : (i, j, k) in that box; what is cortex after `cleaning`.
    voxels_opened : those of the sheets between fused banks.
    gray_mm3 : volume of the gray matter.
    thickness_mm, curvature_per_mm : (vertices,) averaged over neighbours.
    """

    where: tuple[slice, ...]
    depth: NDArray[np.float32]
    cortex: Mask
    voxels_opened: int
    gray_mm3: float
    lost: LostCortex
    surface: HemisphereSurface
    thickness_mm: Floats
    curvature_per_mm: Floats


def _side_by_side(
    work: list[tuple[volumes.Volume, Mask, Mask, SuppliedSurface | None, Midsurface]], workers: int
) -> Iterator[HemisphereResult | None]:
    """`_hemisphere` of each, in order; with several workers, each in its own process."""
    if workers < 2:
        yield from map(_hemisphere, *zip(*work, strict=True))
        return
    # processes, because the mesh libraries hold Python's lock; spawned, because a fork would lack
    # the parent's threads
    with ProcessPoolExecutor(len(work), get_context("spawn"), threads.use, (1,)) as pool:
        yield from pool.map(_hemisphere, *zip(*work, strict=True))


def _hemisphere(
    labels: volumes.Volume,
    mask: Mask,
    callosum: Mask,
    supplied: SuppliedSurface | None,
    params: Midsurface,
) -> HemisphereResult | None:
    """The results for the part of a brain in `mask`; None if it has no white matter."""
    field, where, part = hemisphere_depth(labels, mask, callosum, params)
    if not (field.data > 0.5).any():
        return None
    surface, lengths = supplied or (midsurface(field, params), None)
    if lengths is None:
        lengths = streamline_thickness(field, surface.vertices, params.farthest_mm)
        if supplied:
            surface, lengths = within_cortex(surface, lengths, labels)
    curvature = meshes.mean_curvature(surface.vertices, surface.faces)
    thickness_mm, curvature_per_mm = (
        meshes.smooth_map(values, surface.faces, params.smoothing_rounds)
        for values in (lengths, curvature)
    )
    inside = (slice(MARGIN_VOXELS, -MARGIN_VOXELS),) * 3
    inner = field.data[inside]
    cortex = np.isin(part[inside], (1, laplace.SHEET))
    affine = labels.affine.copy()
    affine[:3, 3] = labels.to_mm(np.array([s.start for s in where]))
    box = volumes.Volume(inner, affine)
    return HemisphereResult(
        where,
        inner,
        cortex,
        int((part == laplace.SHEET).sum()),
        float(cortex.sum() * np.prod(labels.voxel_mm)),
        lost_cortex(cortex, box, surface.vertices, params.lost_mm),
        surface,
        thickness_mm,
        curvature_per_mm,
    )


def _absent(
    brain: str, hemisphere: str, surface: Output, maps: tuple[Output, ...]
) -> tables.SurfaceRow:
    """Write the empty files of a hemisphere that the brain lacks; returns its row."""
    nothing = gifti.Surface(np.zeros((0, 3)), np.zeros((0, 3), np.int32))
    gifti.write(nothing, surface, hemisphere)
    for path in maps:
        gifti.write_map(np.zeros(0), path, hemisphere)
    return tables.SurfaceRow.absent(brain, hemisphere)


def hemisphere_depth(
    labels: volumes.Volume, mask: Mask, callosum: Mask, params: Midsurface
) -> tuple[volumes.Volume, tuple[slice, ...], NDArray[np.uint8]]:
    """Depth of the part of a brain in `mask`, on its box with a margin of background.

    The corpus callosum is outside: the gyri above it touch it with their pial surface. The depth
    continues one voxel beyond the cortex (`laplace.continued`). The margin keeps surfaces
    closed where tissue reaches the border of the volume.

    Returns
    -------
    The depth, the box, and the labels with the margin, after `cleaning` and with sheets between
    fused banks.
    """
    where = tuple(ndimage.find_objects(mask.astype(np.uint8))[0]) if mask.any() else ()
    if not where:
        nothing = np.zeros((1, 1, 1), np.uint8)
        return volumes.Volume(nothing.astype(np.float32), labels.affine), where, nothing
    part = fill_pits(labels.data[where], mask[where], params.white_around)
    part[callosum[where]] = 0
    affine = labels.affine.copy()
    affine[:3, 3] = labels.to_mm(np.array([s.start - MARGIN_VOXELS for s in where]))
    around_voxels = params.usual_thickness_mm / float(labels.voxel_mm[0])
    part = np.pad(part, MARGIN_VOXELS)
    if params.mend_cortex:
        part = mend_cortex(part, around_voxels, params.sulcus_share)
    if params.open_sulci:
        fused = sulci.fused_banks(
            part, params.sulcus_share, params.sulcus_fall, around_voxels, params.sheet_evidence
        )
        part[fused] = laplace.SHEET
    depth = laplace.continued(laplace.laplace_depth(part, params.laplace_tolerance), part)
    return volumes.Volume(depth, affine), where, part


def _surface_row(
    brain: str, hemisphere: str, result: HemisphereResult, unassigned_mm3: float, params: Midsurface
) -> tables.SurfaceRow:
    surface = result.surface
    lengths = meshes.edge_lengths(surface.vertices, surface.faces)
    relative = lengths / params.edge_mm
    area_mm2 = meshes.area(surface.vertices, surface.faces)
    thickness_mm = float(np.nanmedian(result.thickness_mm))
    return tables.SurfaceRow(
        brain=brain,
        hemisphere=hemisphere,
        components=int(meshes.component_labels(surface.faces).max()) + 1,
        euler=meshes.euler_number(surface.faces),
        manifold=meshes.is_closed_manifold(surface.faces),
        euler_before=surface.euler_before,
        voxels_removed=surface.voxels_removed,
        voxels_added=surface.voxels_added,
        voxels_opened=result.voxels_opened,
        vertices=len(surface.vertices),
        edge_median_mm=float(np.median(lengths)),
        edge_in_range=float(((relative > 0.8) & (relative < 1.33)).mean()),
        area_mm2=area_mm2,
        gray_mm3=result.gray_mm3,
        volume_ratio=result.gray_mm3 / area_mm2 / thickness_mm,
        lost_share=result.lost.share,
        buried_share=result.lost.buried_share,
        missed_share=result.lost.missed_share,
        unassigned_mm3=unassigned_mm3,
        lost_places=result.lost.places,
        status=surface.status,
    )
