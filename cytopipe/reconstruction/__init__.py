"""One isotropic volume from the labels of all sections, repaired and cleaned.

CytoNet section 3.2: the section masks are placed by their rigid transforms. A median filter along
the cutting direction finds defects and fills them. Loose fragments and what a person has marked are
dropped. Between sections the SHAPE is interpolated (signed distances, Raya & Udupa 1990); if a
voxel is as large as the section spacing, this equals the paper's stacking.
"""

from collections.abc import Collection
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Literal

from cytopipe import logs, provenance
from cytopipe.files import InputError, Output
from cytopipe.formats import images, volumes
from cytopipe.formats.tables import RepairRow, StackRow, read_rows, read_segmentation, write_rows
from cytopipe.reconstruction import repair, shapes
from cytopipe.reconstruction.supplied_tissue import read_supplied_tissue
from cytopipe.study.config import Reconstruction

VERSION = 1
# keeps the tissue off the border of the volume, so that it stays enclosed; chosen, not measured
MARGIN_VOXELS = 4


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
    cuts: Collection[int] = (),
    workers: int = 1,
    params: Reconstruction,
) -> None:
    """Stack the labels of one brain into a volume, before anything is excluded.

    Parameters
    ----------
    labels, tables : label file and table (SegmentationRow) of each chunk, in the same order.
    stack : table (StackRow) of the brain.
    supplied_tissue : a tissue volume of the lab's own that replaces the stacked labels, or nothing.
    volume : written: uint8 0 background, 1 gray, 2 white matter, stack RAS mm. A person draws the
        exclusion mask on it.
    repairs : written: the defects (RepairRow).
    cuts : sections after which tissue is truly missing (`study.declarations`).
    workers : the number of sections processed at a time.

    Raises
    ------
    InputError
        If fewer than two sections can be placed, the supplied volume does not fit them, or a gap
        wider than `max_gap_mm` is not declared.
    """
    sections = placed_sections(labels, tables, stack)
    if len(sections) < 2:
        raise InputError(
            f"{stack}: {len(sections)} sections have tissue and a transform, two are needed; "
            "look at the alignment of this brain"
        )
    if supplied_tissue:
        volumes.write(read_supplied_tissue(supplied_tissue[0], sections), volume)
        write_rows(RepairRow, [], repairs)
        return
    refuse_gaps(sections, cuts, params.max_gap_mm)
    grid = shapes.grid_around(sections, params.voxel_mm, MARGIN_VOXELS)
    logs.info(f"{brain}: {len(sections)} sections on {grid.shape} voxels")
    planes = shapes.section_planes(sections, grid, params, brain, workers)
    defects = repair.repair_defects(planes, grid, params, brain)
    logs.info(f"{brain}: {len(defects)} defects repaired")
    stacked = volumes.Volume(
        shapes.interpolate_labels(planes, grid, params.max_gap_mm), grid.affine
    )
    volumes.write(stacked, volume)
    write_rows(RepairRow, defects, repairs)


@provenance.recorded
def run(
    *,
    brain: str,
    volume: Path,
    volume_repairs: Path,
    exclusion: list[Path],
    missing_exclusion: Literal["stop", "go_on", "truth"],
    tissue: Output,
    repairs: Output,
    params: Reconstruction,
) -> None:
    """Exclude what a person has marked, and drop loose fragments.

    Parameters
    ----------
    volume, volume_repairs : the outputs of `run_volume`.
    exclusion : the mask in stack RAS mm, on any grid (`study.masks`), or nothing.
    missing_exclusion : without a mask, `stop` and say what to draw, or `go_on` with all tissue
        (`truth` supplies a mask).
    tissue : written: uint8 0 background, 1 gray, 2 white matter, stack RAS mm.
    repairs : written: all changes, those of `volume_repairs` included (RepairRow).

    Raises
    ------
    InputError
        If the study requires a mask and there is none, if there are two, or if it does not fit.
    """
    if len(exclusion) > 1:
        raise InputError(f"{exclusion[0]} and {exclusion[1].name}: two masks; delete one of them")
    if not exclusion and missing_exclusion == "stop":
        raise InputError(
            f"manual/{brain}/exclusion.seg.nrrd (or .nii.gz): not found; mark what is not cortex "
            f"(subcortex, cerebellum, brain stem) on {volume} in 3D Slicer and save it there, "
            "or set study.missing_exclusion to go_on in config/config.yaml (docs/new-brain.md)"
        )
    cleaned = volumes.read_tissue(volume)
    changes = read_rows(RepairRow, volume_repairs)
    if exclusion:
        changes += repair.exclude(cleaned, exclusion[0], params.most_excluded, brain)
    else:
        logs.info(f"{brain}: no exclusion mask; all tissue stays")
    changes += repair.drop_fragments(cleaned, params.fragment_share, brain)
    volumes.write(cleaned, tissue)
    write_rows(RepairRow, changes, repairs)


def placed_sections(
    labels: list[Path], segmentations: list[Path], stack: Path
) -> list[shapes.PlacedSection]:
    """The sections that have tissue and a transform, in the order of z."""
    places = {row.section: row for row in read_rows(StackRow, stack) if row.is_placed}
    sections = [
        shapes.PlacedSection(partial(images.read_labels, path, row.page), row, places[row.section])
        for row, path in read_segmentation(segmentations, labels)
        if row.section in places and row.is_usable and row.tissue_mm2 != 0
    ]
    return sorted(sections, key=lambda section: section.place.z_um)


def refuse_gaps(
    sections: list[shapes.PlacedSection], cuts: Collection[int], max_gap_mm: float
) -> None:
    """Raise InputError if sections are missing over more than `max_gap_mm`, unless declared.

    The volume has air in such a gap, and the surfaces would close around it.

    Parameters
    ----------
    sections : in the order of z.
    cuts : numbers of the sections before gaps that are declared.
    """
    gaps = [
        (before, after, (after.place.z_um - before.place.z_um) / 1000)
        for before, after in pairwise(sections)
    ]
    wide = [
        f"{before.row.section} to {after.row.section} ({gap_mm:.1f} mm)"
        for before, after, gap_mm in gaps
        if gap_mm > max_gap_mm + 1e-6 and not {before.row.section, after.row.section} & set(cuts)
    ]
    if wide:
        raise InputError(
            f"{sections[0].row.brain}: no usable section from {', '.join(wide)}, more than "
            f"reconstruction.max_gap_mm {max_gap_mm:g} mm; place or restore the sections between, "
            "raise max_gap_mm, or, if the tissue is truly cut there, write the section before each "
            "gap into the column cuts of config/brains.tsv"
        )
