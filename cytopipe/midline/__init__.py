"""Points along the midline of the cortex in every section of a chunk.

CytoNet section 3.2: the plane of each section cuts the mid-surface. The inverse of the section's
transform, mirror flip included, carries the cut back to the section, where its points are pushed
onto the midline of the segmented cortex.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytopipe import logs, provenance
from cytopipe.files import Output
from cytopipe.formats import images, tables
from cytopipe.formats import surfaces as gifti
from cytopipe.formats.volumes import Volume, labels_at
from cytopipe.midline.refinement import EXCLUDED, label_at, refine, tissue_share
from cytopipe.midline.surface_cuts import Cut, Hemisphere, cut_hemispheres, cutting_angle_deg
from cytopipe.midline.volume_depth import continued, depth_at, depth_of_page, read_slab
from cytopipe.numerics.geometry import (
    Floats,
    pixels_to_section,
    section_to_pixels,
    stack_to_ras,
)
from cytopipe.study import masks
from cytopipe.study.config import Midline

VERSION = 7
MIDDLE = 0.5


@provenance.recorded
def run(
    *,
    brain: str,
    stack: Path,
    labels: Path,
    segmentation: Path,
    surfaces: dict[str, Path],
    thickness: dict[str, Path],
    curvature: dict[str, Path],
    depth: Path,
    hemispheres: Path,
    exclusion: list[Path],
    midline: Output,
    params: Midline,
) -> None:
    """Write the midline points of one chunk.

    Parameters
    ----------
    stack : table (StackRow) of the brain.
    labels, segmentation : label pages and table (SegmentationRow) of the chunk.
    surfaces, thickness, curvature : GIfTI mid-surface and its maps by hemisphere, stack RAS mm.
    depth : of the volume, 0 pial to 1 white, stack RAS mm.
    hemispheres : 0 none, 1 left, 2 right, stack RAS mm.
    exclusion : mask of what is not cortex, stack RAS mm (`study.masks`), or nothing.
    midline : written: table (MidlineRow). A section without a transform or without gray matter has
        no rows, and the log says why.
    """
    meshes = {
        name: Hemisphere(
            gifti.read(path), gifti.read_map(thickness[name]), gifti.read_map(curvature[name])
        )
        for name, path in surfaces.items()
    }
    places = {row.section: row for row in tables.read_rows(tables.StackRow, stack)}
    placed = []
    for section in tables.read_rows(tables.SegmentationRow, segmentation):
        place = places.get(section.section)
        if place is not None and place.is_placed:
            placed.append((section, place))
        else:
            reason = place.status if place else "not in the stack"
            logs.info(f"section {section.section}: no transform ({reason}), no points")
    cuts = cut_hemispheres(
        meshes,
        np.array([place.z_um for _, place in placed]),
        placed[0][1].image_right if placed else "R",
        params.spacing_mm,
    )
    a_mm = np.array([place.z_um / 1000 for _, place in placed])
    slab, sides = continued(read_slab(depth, a_mm)), read_slab(hemispheres, a_mm)
    lengths_mm = np.concatenate([hemisphere.thickness_mm for hemisphere in meshes.values()])
    usual_mm = float(np.nanmedian(lengths_mm)) if np.isfinite(lengths_mm).any() else float("nan")
    segments = [segment for path in exclusion for segment in masks.read_mask(path)]
    chunk = []
    work = list(zip(placed, cuts, strict=True))
    for (section, place), cut in logs.progress(work, len(work), f"midline of {brain}, section"):
        page = images.read_labels(labels, section.page)
        if not (page == 1).any():
            logs.info(f"section {section.section}: no gray matter ({section.status}), no points")
            continue
        points = points_of_section(
            section, place, page, cut, slab, sides, usual_mm, segments, params
        )
        chunk.append(points)
        logs.info(
            f"section {section.section}: {len(points)} points "
            f"{points['status'].value_counts().to_dict()}, "
            f"moved {points['refined_um'].median():.0f} um (median)"
        )
    chunk = chunk or [tables.frame_of(tables.MidlineRow, [])]
    tables.write(tables.MidlineRow, pd.concat(chunk, ignore_index=True), midline)


def without_excluded(
    page: NDArray[np.uint8],
    section: tables.SegmentationRow,
    place: tables.StackRow,
    segments: Sequence[masks.Segment],
) -> NDArray[np.uint8]:
    """Labels of a placed section with EXCLUDED where a person has excluded tissue."""
    if not segments:
        return page
    labels = page.copy()
    rows, columns = np.nonzero(page)
    points_mm = pixels_to_ras(np.column_stack([columns, rows]), section, place)
    held = np.any([segment.holds(points_mm) for segment in segments], axis=0)
    labels[rows[held], columns[held]] = EXCLUDED
    return labels


def pixels_to_ras(
    pixels: NDArray[np.generic], section: tables.SegmentationRow, place: tables.StackRow
) -> Floats:
    """Stack RAS mm (n, 3) of pixels (n, 2), as column and row, of a placed section."""
    assert place.placement is not None
    section_um = pixels_to_section(
        np.asarray(pixels, np.float64), section.spacing_um, section.full_spacing_um
    )
    stack_um = np.column_stack([place.placement(section_um), np.full(len(pixels), place.z_um)])
    return stack_to_ras(stack_um, place.image_right)


def points_of_section(
    section: tables.SegmentationRow,
    place: tables.StackRow,
    page: NDArray[np.uint8],
    cut: Cut,
    depth: Volume,
    sides: Volume,
    usual_mm: float,
    segments: Sequence[masks.Segment],
    params: Midline,
) -> pd.DataFrame:
    """Points (MidlineRow) of a placed section.

    Parameters
    ----------
    page : (rows, columns) labels 0 background, 1 gray, 2 white.
    cut : the mid-surfaces cut by the section's plane.
    depth : of the volume around the section (`volume_depth.continued`).
    sides : hemisphere of each voxel around the section. A point in the cortex of the other
        hemisphere is marked.
    usual_mm : median thickness of the brain's cortex; NaN if unknown.
    segments : what a person has excluded, stack RAS mm. Points do not enter it, and its border
        counts neither as pial nor as white.
    """
    placement = place.placement
    assert placement is not None
    spacing_um, full_um = section.spacing_um, section.full_spacing_um
    cut_um = placement.back(cut.stack_um[:, :2])
    labels = without_excluded(page, section, place, segments)
    volume_depth = None
    if params.target == "laplacian":
        volume_depth = depth_of_page(
            depth, labels, lambda pixels: pixels_to_ras(pixels, section, place)
        )
    refined = refine(
        labels,
        section_to_pixels(cut_um, spacing_um, full_um),
        params.target,
        params.max_move_mm * 1000 / spacing_um,
        params.keep_moved,
        volume_depth,
    )
    section_um = pixels_to_section(refined.points_px, spacing_um, full_um)
    stack_um = placement(section_um)
    tissue = tissue_share(page, refined.points_px, params.window_mm * 1000 / spacing_um)
    status = np.where(refined.reached, "ok", "unrefined")
    status = np.where(tissue < params.min_tissue, "low_tissue", status)
    in_stack_um = np.column_stack([stack_um, np.full(len(stack_um), place.z_um)])
    points_mm = stack_to_ras(in_stack_um, place.image_right)
    fits = np.abs(depth_at(depth, points_mm) - MIDDLE) <= params.most_off_depth
    fits &= labels_at(sides, points_mm) != np.where(cut.hemisphere == "L", 2, 1)
    status = np.where((status == "ok") & ~fits, "off_depth", status)
    is_thin = cut.thickness_mm < params.min_thickness * usual_mm
    status = np.where((status == "ok") & is_thin, "thin", status)
    if place.is_uncertain:
        status = np.where(status == "ok", "uncertain_place", status)
    status = np.where(label_at(labels, refined.points_px) == EXCLUDED, "excluded", status)
    number = section.section
    return tables.conform(
        tables.MidlineRow,
        pd.DataFrame(
            {
                "point_id": [f"{section.brain}-{number:05d}-{i:05d}" for i in range(len(cut_um))],
                "brain": section.brain,
                "section": number,
                "hemisphere": cut.hemisphere,
                "x_um": section_um[:, 0],
                "y_um": section_um[:, 1],
                "refined_um": np.linalg.norm(section_um - cut_um, axis=1),
                "tissue_fraction": tissue,
                "depth": refined.depth,
                "x_stack_um": stack_um[:, 0],
                "y_stack_um": stack_um[:, 1],
                "z_stack_um": place.z_um,
                "nx": cut.normals[:, 0],
                "ny": cut.normals[:, 1],
                "nz": cut.normals[:, 2],
                "thickness_mm": cut.thickness_mm,
                "curvature_per_mm": cut.curvature_per_mm,
                "cutting_angle_deg": cutting_angle_deg(cut.normals),
                "x_cut_um": cut_um[:, 0],
                "y_cut_um": cut_um[:, 1],
                "status": status,
            }
        ),
    )
