"""Rigid alignment of the sections of a brain (CytoNet paper, section 3.2).

SURF features of neighbouring sections are matched, RANSAC and a fit in closed form give the rigid
transform of each pair, tried as scanned and mirrored (the paper found face-down scans by eye); the
pairs are composed outwards from the centre section, then all solved together (`graph`). Sections
that cannot be aligned are bridged.
"""

from pathlib import Path

import numpy as np

from cytopipe import provenance
from cytopipe.alignment import stack as stacking
from cytopipe.alignment.audit import from_files
from cytopipe.alignment.corrections import given_between, given_places, proposals
from cytopipe.alignment.graph import relax
from cytopipe.alignment.pairwise.features import Features, features_of
from cytopipe.alignment.pairwise.pairs import align_pair, given_pair
from cytopipe.alignment.pairwise.prepared_section import PreparedSection, prepare_section
from cytopipe.files import InputError, Output
from cytopipe.formats.images import open_pyramid, read_labels
from cytopipe.formats.tables import (
    AuditRow,
    PairRow,
    SegmentationRow,
    StackRow,
    read_rows,
    read_segmentation,
    rigid_columns,
    write_rows,
)
from cytopipe.logs import info, progress
from cytopipe.numerics.geometry import ImageRight, resample_labels
from cytopipe.study.config import Alignment, Audit
from cytopipe.study.corrections import write_proposals
from cytopipe.study.sections import Section, chunk_of

__all__ = ["run", "run_audit", "run_pairs"]

VERSION = 3


@provenance.recorded
def run_pairs(
    *,
    sections: list[Section],
    images: list[Path],
    tables: list[Path],
    labels: list[Path],
    chunk: str,
    chunk_span: int,
    pairs: Output,
    params: Alignment,
) -> None:
    """Align the sections of one chunk to the usable sections before them.

    Parameters
    ----------
    sections, images : of the chunk before (if there is one) and of this chunk.
    tables, labels : segmentation of the same chunks, in the same order.
    chunk, chunk_span : this chunk; a pair belongs to the chunk of its moving section.
    pairs : written, PairRow; statuses that need the whole brain come with `run`.
    """
    segmentation = read_segmentation(tables, labels)
    segmented = {row.section: row for row, _ in segmentation}
    label_files = {row.section: path for row, path in segmentation}
    usable = [
        (section, image)
        for section, image in zip(sections, images, strict=True)
        if _status(section, segmented) == "ok"
    ]
    here = [s for s, _ in usable if chunk_of(s.section, chunk_span) == chunk]
    # of the chunk before, only the sections that a pair reaches are read
    needed = usable[max(0, len(usable) - len(here) - params.neighbours) :]
    found: list[PairRow] = []
    before: list[tuple[Section, PreparedSection, Features]] = []
    for section, image in progress(needed, len(needed), f"aligning chunk {chunk}"):
        number = section.section
        view = _view(section, image, segmented[number], label_files[number], params)
        if section in here:
            for distance, (other, fixed, features) in enumerate(reversed(before), start=1):
                rigid = given_between(other, section)
                pair = (
                    align_pair(fixed, view, features, distance, params)
                    if rigid is None
                    else given_pair(fixed, view, rigid, distance, params)
                )
                info(
                    f"{pair.moving} to {pair.fixed}: {pair.status} by {pair.method}, inliers "
                    f"{pair.inliers_plain} plain, {pair.inliers_mirrored} mirrored, peak "
                    f"{pair.peak_plain:.1f} plain, {pair.peak_mirrored:.1f} mirrored"
                )
                found.append(pair)
        features = features_of(view, False, 0.0, params.octaves, params.max_features)
        before = [*before, (section, view, features)][-params.neighbours :]
    write_rows(PairRow, found, pairs)


@provenance.recorded
def run(
    *,
    sections: list[Section],
    chunk_pairs: list[Path],
    tables: list[Path],
    stack: Output,
    pairs: Output,
    proposed: Output,
    image_right: ImageRight,
    params: Alignment,
) -> None:
    """Place every section of a brain in the stack frame, that of its centre section.

    Parameters
    ----------
    sections : all of one brain.
    chunk_pairs, tables : pairs and segmentation of all its chunks.
    stack : written, StackRow, one row per section, also for those without a transform.
    pairs : written, PairRow with final statuses; before `stack`.
    proposed : written, in the form of manual/{brain}/sections.tsv: what a person should decide.
    image_right : side of the brain at the right of an unmirrored image.

    Raises
    ------
    InputError
        If a person laid a section onto one that is not usable, or too far away.
    """
    segmented = {row.section: row for path in tables for row in read_rows(SegmentationRow, path)}
    usable = [s.section for s in sections if _status(s, segmented) == "ok"]
    # a pair of a section that was excluded since is not used
    found = [
        pair
        for path in chunk_pairs
        for pair in read_rows(PairRow, path)
        if set(pair.sections) <= set(usable)
    ]
    confirmed = {s.section: s.mirrored for s in sections if s.mirrored is not None}
    places: dict[int, stacking.Place] = {}
    mirrored: dict[int, bool] = {}
    sigma_um: dict[int, float] = {}
    if usable:
        mirrored = stacking.mirror_flags(usable, found, confirmed, params)
        tissue_mm2 = {s: segmented[s].tissue_mm2 for s in usable}
        largest_mm2 = max(tissue_mm2.values())
        given = given_places([s for s in sections if s.section in set(usable)], found)
        found = stacking.judge(found, mirrored, largest_mm2, params.min_tissue_share)
        base = stacking.choose_base(usable, tissue_mm2, found, params.min_tissue_share)
        widths_um = {s: segmented[s].width_um for s in usable}
        places = stacking.compose(base, found, mirrored, widths_um, given)
        if params.composition == "graph":
            links = stacking.links_of(found, mirrored, widths_um)
            sizes_um = {s: (widths_um[s], segmented[s].height_um) for s in usable}
            places, sigma_um = relax({base, *given.in_stack}, places, links, sizes_um)
        info(
            f"{sections[0].brain}: {len(places)} of {len(usable)} usable sections placed around "
            f"{base}; mirrored: {[s for s in usable if mirrored[s]] or 'none'}"
        )
    rows = []
    for section in sections:
        place = places.get(section.section)
        flag = mirrored.get(section.section, bool(section.mirrored))
        status = _status(section, segmented)
        if status == "ok" and (place is None or not place.certain):
            status = "unaligned" if place is None else "uncertain"
        measured = segmented.get(section.section)
        rows.append(
            StackRow(
                brain=section.brain,
                section=section.section,
                z_um=section.section * section.thickness_um,
                width_um=measured.width_um if measured else np.nan,
                height_um=measured.height_um if measured else np.nan,
                full_spacing_um=measured.full_spacing_um if measured else section.spacing_um,
                mirrored=flag,
                **rigid_columns(place.rigid if place else None),
                via=place.via if place else -1,
                sigma_um=sigma_um.get(section.section, np.nan),
                image_right=image_right,
                status=status,
            )
        )
    statuses = {row.section: row.status for row in rows}
    write_proposals(proposals(sections, found, mirrored, statuses), proposed, sections[0].brain)
    write_rows(PairRow, found, pairs)
    write_rows(StackRow, rows, stack)


@provenance.recorded
def run_audit(
    *,
    sections: list[Section],
    images: list[Path],
    tables: list[Path],
    labels: list[Path],
    findings: Output,
    proposed: Output,
    max_rotation_deg: float,
    params: Audit,
) -> None:
    """Find sections that are mirrored, swapped or misplaced, from their images alone (`audit`).

    Parameters
    ----------
    sections, images : all of one brain, and their scans or pyramids.
    tables, labels : segmentation of its chunks.
    findings : written, AuditRow, one row per finding.
    proposed : written last, the same in the form of manual/{brain}/sections.tsv.
    max_rotation_deg : the largest rotation between two sections, as in the alignment.
    """
    segmented = {row.section: (row, path) for row, path in read_segmentation(tables, labels)}
    for section in sections:
        _status(section, {number: row for number, (row, _) in segmented.items()})
    rotation_rad = float(np.radians(max_rotation_deg))
    audited = from_files.audit_sections(sections, images, segmented, rotation_rad, params)
    for row, _ in audited:
        info(f"{row.brain} {row.section}: {row.finding}, confidence {row.confidence:.3f}")
    write_rows(AuditRow, [row for row, _ in audited], findings)
    write_proposals([proposal for _, proposal in audited], proposed, sections[0].brain)


def _status(section: Section, segmented: dict[int, SegmentationRow]) -> str:
    if section.excluded:
        return "excluded"
    if section.section not in segmented:
        raise InputError(
            f"section {section.section} of {section.brain} is in config/sections.tsv but not in "
            "its segmentation; rerun the segmentation of its chunk"
        )
    return segmented[section.section].status


def _view(
    section: Section, image: Path, row: SegmentationRow, labels_path: Path, params: Alignment
) -> PreparedSection:
    with open_pyramid(image, section.spacing_um) as pyramid:
        pixels = pyramid.to_8_bit(pyramid.read_at(params.spacing_um))
    labels = read_labels(labels_path, row.page)
    if not labels.any():
        raise InputError(
            f"{labels_path}: page {row.page} has no tissue but section {section.section} has "
            "status ok; rerun the segmentation"
        )
    spacing_um = params.spacing_um
    labels = resample_labels(labels, row.spacing_um, pixels.shape, spacing_um, row.full_spacing_um)
    texture_um = max(params.texture_um, spacing_um)
    return prepare_section(row, pixels, labels, spacing_um, texture_um, section.mirrored)
