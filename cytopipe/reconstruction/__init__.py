"""Reconstruction: the labels of all sections become one isotropic volume, repaired and cleaned.

CytoNet section 3.2: the section masks are placed by their rigid transforms, defects are found with
a median filter along the cutting direction and take its value, loose parts are dropped, and what a
person has marked is left out. Between sections the SHAPE is interpolated (signed distances, Raya &
Udupa 1990): with a voxel as large as the section spacing that is the paper's stacking.
"""

from functools import partial
from pathlib import Path
from typing import Literal

from cytopipe import logs, provenance
from cytopipe.files import InputError, Output
from cytopipe.formats import images, volumes
from cytopipe.formats.tables import RepairRow, StackRow, read_rows, read_segmentation, write_rows
from cytopipe.reconstruction import repair, shapes
from cytopipe.reconstruction.supplied_tissue import read_given
from cytopipe.study.config import Reconstruction

VERSION = 1
MARGIN_VOXELS = 4
MissingExclusion = Literal["stop", "go_on"]


@provenance.recorded
def run_volume(
    *,
    brain: str,
    labels: list[Path],
    tables: list[Path],
    stack: Path,
    supplied_tissue: list[Path],
    volume: Output,
    repairs: Output,
    workers: int = 1,
    params: Reconstruction,
) -> None:
    """Stack the labels of one brain into a volume, with all that a person may leave out.

    Parameters
    ----------
    labels, tables : label file and table (SegmentationRow) of each chunk, in the same order.
    stack : table (StackRow) of the brain.
    supplied_tissue : a ready-made tissue volume that takes the place of the stacked labels
        (`supplied_tissue.read_given`), or nothing.
    volume : written: uint8 0 background, 1 gray, 2 white matter, stack RAS mm. Masks are drawn on
        it.
    repairs : written: the defects (RepairRow).
    workers : sections at a time; does not change the result.

    Raises
    ------
    InputError
        If fewer than two sections can be placed, or the ready-made volume does not fit them.
    """
    sections = placed_sections(labels, tables, stack)
    if len(sections) < 2:
        raise InputError(
            f"{stack}: {len(sections)} sections have tissue and a transform, two are needed; "
            "look at the alignment of this brain"
        )
    if supplied_tissue:
        volumes.write(read_given(supplied_tissue[0], sections), volume)
        write_rows(RepairRow, [], repairs)
        return
    grid = shapes.grid_around(sections, params.voxel_mm, MARGIN_VOXELS)
    logs.info(f"{brain}: {len(sections)} sections on {grid.shape} voxels")
    planes = shapes.section_planes(
        sections, grid, params.smoothing_voxels, params.sulcus_voxels, brain, workers
    )
    defects = repair.repair_defects(
        planes,
        grid,
        brain,
        radius_mm=params.defect_radius_mm,
        min_mm3=params.defect_min_mm3,
        cortex_mm=params.cortex_mm,
        label_gap_mm=params.label_gap_mm,
        max_gap_mm=params.max_gap_mm,
    )
    logs.info(f"{brain}: {len(defects)} defects repaired")
    stacked = volumes.Volume(shapes.interpolate(planes, grid, params.max_gap_mm), grid.affine)
    volumes.write(stacked, volume)
    write_rows(RepairRow, defects, repairs)


@provenance.recorded
def run(
    *,
    brain: str,
    volume: Path,
    volume_repairs: Path,
    exclusion: list[Path],
    missing_exclusion: MissingExclusion,
    tissue: Output,
    repairs: Output,
    params: Reconstruction,
) -> None:
    """Leave out what a person has marked, and loose fragments.

    Parameters
    ----------
    volume, volume_repairs : what `run_volume` wrote.
    exclusion : the mask in stack RAS mm, any grid (`formats.masks`); empty for none.
    missing_exclusion : without a mask, `stop` and say what to draw, or `go_on` with all tissue.
    tissue : written: uint8 0 background, 1 gray, 2 white matter, stack RAS mm.
    repairs : written: everything that was changed (RepairRow).

    Raises
    ------
    InputError
        If there is no mask and the study wants one, if there are two, or if it does not fit.
    """
    if len(exclusion) > 1:
        raise InputError(f"{exclusion[0]} and {exclusion[1].name}: two masks; delete one of them")
    if not exclusion and missing_exclusion == "stop":
        raise InputError(
            f"manual/{brain}/exclusion.seg.nrrd (or .nii.gz): not found; mark what is no cortex "
            f"(subcortex, cerebellum, brain stem) on {volume} in 3D Slicer and save it there, "
            "or set study.missing_exclusion to go_on in config/config.yaml (docs/new-brain.md)"
        )
    found = volumes.read_tissue(volume)
    repaired = read_rows(RepairRow, volume_repairs)
    if exclusion:
        repaired += repair.exclude(found, exclusion[0], brain)
    else:
        logs.info(f"{brain}: no mask of what is no cortex; all tissue stays")
    repaired += repair.drop_fragments(found, params.fragment_share, brain)
    volumes.write(found, tissue)
    write_rows(RepairRow, repaired, repairs)


def placed_sections(
    labels: list[Path], segmentations: list[Path], stack: Path
) -> list[shapes.Placed]:
    """Sections that have tissue and a transform, in the order of z."""
    places = {row.section: row for row in read_rows(StackRow, stack)}
    sections = []
    for row, path in read_segmentation(segmentations, labels):
        place = places.get(row.section)
        if place is None or place.placement is None or not row.is_usable or row.tissue_mm2 == 0:
            continue
        sections.append(
            shapes.Placed(
                read=partial(images.read_labels, path, row.page),
                spacing_um=row.spacing_um,
                full_spacing_um=row.full_spacing_um,
                placement=place.placement,
                z_um=place.z_um,
                image_right=place.image_right,
            )
        )
    return sorted(sections, key=lambda section: section.z_um)
