"""Rigid alignment of the sections of a brain (CytoNet paper, section 3.2).

Each section is aligned to its neighbours, as scanned and mirrored (`pairwise`; the paper found
face-down scans by eye). `acceptance` decides which pairs are accepted. These are composed outwards
from the centre section (`stack`), then all solved together (`graph`).
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from cytopipe import provenance
from cytopipe.alignment.acceptance import contradicted, judge_in_stack
from cytopipe.alignment.audit import from_files
from cytopipe.alignment.graph import relax
from cytopipe.alignment.handedness import handedness_of
from cytopipe.alignment.links import fragments_of, links_of
from cytopipe.alignment.manual_decisions import manual_places, manual_rigid_between, proposals
from cytopipe.alignment.pairwise.pairs import align_pair, manual_pair
from cytopipe.alignment.pairwise.prepared_section import (
    PreparedSection,
    prepare_section,
    read_section,
)
from cytopipe.alignment.pairwise.surf_features import Features, features_of
from cytopipe.alignment.stack import Place, choose_base, compose
from cytopipe.files import InputError, Output
from cytopipe.formats.tables import (
    CANNOT_TELL,
    MIRRORED,
    PLAIN,
    UNCERTAIN,
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
from cytopipe.numerics.geometry import ImageRight
from cytopipe.study.config import Alignment, Audit
from cytopipe.study.corrections import write_proposals
from cytopipe.study.sections import Section, chunk_of

__all__ = ["run", "run_audit", "run_pairs"]

VERSION = 4
# share of the error of pairs that follow the anatomy that all of them have in common, so that it
# adds up along the stack; a phantom without shared texture drifts by 0.2 mm per mm
_DRIFT = 0.5


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
    pairs : written, PairRow; `run` adds the statuses that need the whole brain.
    """
    segmentation = {row.section: (row, path) for row, path in read_segmentation(tables, labels)}
    statuses = _statuses(sections, [row for row, _ in segmentation.values()])
    usable = [
        (section, image)
        for section, image in zip(sections, images, strict=True)
        if statuses[section.section] == "ok"
    ]
    here = [s for s, _ in usable if chunk_of(s.section, chunk_span) == chunk]
    # of the chunk before, only the sections that occur in a pair are read
    needed = usable[max(0, len(usable) - len(here) - params.neighbours) :]
    rows: list[PairRow] = []
    before: list[tuple[Section, PreparedSection, Features]] = []
    for section, image in progress(needed, len(needed), f"aligning chunk {chunk}"):
        row, label_file = segmentation[section.section]
        pixels, own_labels = read_section(section, image, row, label_file, params.spacing_um)
        texture_um = max(params.texture_um, params.spacing_um)
        moving = prepare_section(
            row, pixels, own_labels, params.spacing_um, texture_um, section.mirrored
        )
        if section in here:
            for distance, (other, fixed, features) in enumerate(reversed(before), start=1):
                rigid = manual_rigid_between(other, section)
                pair = (
                    align_pair(fixed, moving, features, distance, params)
                    if rigid is None
                    else manual_pair(fixed, moving, rigid, distance, params)
                )
                info(
                    f"{pair.moving} to {pair.fixed}: {pair.status} by {pair.method}, confirmed by "
                    f"{pair.agreement:.2f} of the tissue; log odds of mirrored "
                    f"{pair.log_odds_mirrored:.1f}, inliers {pair.inliers_plain} plain, "
                    f"{pair.inliers_mirrored} mirrored"
                )
                rows.append(pair)
        features = features_of(moving, 0.0, params)
        before = [*before, (section, moving, features)][-params.neighbours :]
    write_rows(PairRow, rows, pairs)


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
    pairs : written before `stack`, PairRow with final statuses.
    proposed : written, in the form of manual/{brain}/sections.tsv: what a person should decide.
    image_right : side of the brain at the right of an unmirrored image.

    Raises
    ------
    InputError
        If a person laid a section onto one that is not usable, or too far away.
    """
    brain = sections[0].brain
    segmented = {row.section: row for path in tables for row in read_rows(SegmentationRow, path)}
    statuses = _statuses(sections, list(segmented.values()))
    usable = [s for s in sections if statuses[s.section] == "ok"]
    numbers = [s.section for s in usable]
    # pairs of a section that was excluded since are not used
    judged = [
        pair
        for path in chunk_pairs
        for pair in read_rows(PairRow, path)
        if set(pair.sections) <= set(numbers)
    ]
    places: dict[int, Place] = {}
    mirrored: dict[int, bool] = {}
    handedness: dict[int, str] = {}
    fragments: list[list[int]] = []
    sigma_um: dict[int, float] = {}
    thickness_um = sections[0].thickness_um
    if usable:
        confirmed = {s.section: s.mirrored for s in usable if s.mirrored is not None}
        handedness = handedness_of(
            numbers, judged, confirmed, params.mirrored_share, params.min_confidence
        )
        mirrored = {number: answer == MIRRORED for number, answer in handedness.items()}
        onto, in_stack = manual_places(usable, judged)
        tissue_mm2 = {number: segmented[number].tissue_mm2 for number in numbers}
        sizes_um = {n: (segmented[n].width_um, segmented[n].height_um) for n in numbers}
        judged = judge_in_stack(judged, mirrored, max(tissue_mm2.values()), params.min_tissue_share)
        links = links_of(judged, mirrored, sizes_um, thickness_um, params.anatomy_ratio)
        against = contradicted(links, sizes_um, params.part_um)
        judged = [
            replace(pair, status=UNCERTAIN) if pair.sections in against else pair for pair in judged
        ]
        links = links_of(judged, mirrored, sizes_um, thickness_um, params.anatomy_ratio)
        fragments = fragments_of(numbers, links)
        enough_mm2 = params.min_tissue_share * max(tissue_mm2.values())
        # two sections that one pair connects may have been connected by chance
        largest = fragments[0] if len(fragments[0]) > 2 else numbers
        base = choose_base(largest, tissue_mm2, (numbers[0] + numbers[-1]) / 2, enough_mm2)
        fragments.sort(key=lambda fragment: base not in fragment)
        places = compose(base, numbers, links, onto, in_stack)
        if params.composition == "graph":
            places, sigma_um = relax({base, *in_stack}, places, links, sizes_um)
            for number, placed in places.items():
                drift_um = _DRIFT * params.anatomy_ratio * placed.uncertain_um
                sigma_um[number] = float(np.hypot(sigma_um[number], drift_um))
        info(
            f"{brain}: {len(places)} of {len(usable)} usable sections placed around {base}, "
            f"{len(fragments[0])} of them by accepted pairs; "
            f"mirrored: {[n for n in numbers if mirrored[n]] or 'none'}; cannot tell: "
            f"{[n for n in numbers if handedness[n] == CANNOT_TELL] or 'none'}"
        )
    of_fragment = {n: i for i, fragment in enumerate(fragments, start=1) for n in fragment}
    rows = []
    for section in sections:
        number = section.section
        place = places.get(number)
        if statuses[number] == "ok":
            if place is None:
                statuses[number] = "unaligned"
            elif not place.certain or handedness[number] == CANNOT_TELL:
                statuses[number] = UNCERTAIN
        row = segmented.get(number)
        rows.append(
            StackRow(
                brain=brain,
                section=number,
                z_um=number * section.thickness_um,
                width_um=row.width_um if row else np.nan,
                height_um=row.height_um if row else np.nan,
                full_spacing_um=row.full_spacing_um if row else section.spacing_um,
                mirrored=mirrored.get(number, bool(section.mirrored)),
                handedness=handedness.get(number, MIRRORED if section.mirrored else PLAIN),
                **rigid_columns(place.rigid if place else None),
                fragment=of_fragment.get(number, 0),
                via=place.via if place else -1,
                sigma_um=sigma_um.get(number, np.nan),
                image_right=image_right,
                status=statuses[number],
            )
        )
    write_proposals(proposals(sections, judged, handedness, statuses), proposed, brain)
    write_rows(PairRow, judged, pairs)
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
    """Find sections that look mirrored, swapped or misplaced, from their images alone (`audit`).

    Parameters
    ----------
    sections, images : all of one brain, and their scans or pyramids.
    tables, labels : segmentation of its chunks.
    findings : written, AuditRow, one row per finding.
    proposed : written last, the same in the form of manual/{brain}/sections.tsv.
    max_rotation_deg : the largest rotation between two sections, as in the alignment.
    """
    segmented = {row.section: (row, path) for row, path in read_segmentation(tables, labels)}
    _statuses(sections, [row for row, _ in segmented.values()])  # checks that all are segmented
    max_rotation_rad = float(np.radians(max_rotation_deg))
    audited = from_files.audit_sections(sections, images, segmented, max_rotation_rad, params)
    for row, _ in audited:
        info(f"{row.brain} {row.section}: {row.finding}, confidence {row.confidence:.3f}")
    write_rows(AuditRow, [row for row, _ in audited], findings)
    write_proposals([proposal for _, proposal in audited], proposed, sections[0].brain)


def _statuses(sections: list[Section], rows: list[SegmentationRow]) -> dict[int, str]:
    """The status of each section before it is aligned: excluded, or that of its segmentation."""
    statuses = {row.section: row.status for row in rows}
    for section in sections:
        if section.excluded:
            statuses[section.section] = "excluded"
        if section.section not in statuses:
            raise InputError(
                f"section {section.section} of {section.brain} is in config/sections.tsv but not "
                "in its segmentation; rerun the segmentation of its chunk"
            )
    return statuses
