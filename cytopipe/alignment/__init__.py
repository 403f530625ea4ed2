"""Rigid alignment of the sections of a brain (CytoNet paper, section 3.2).

Each section is aligned to its neighbours, as scanned and mirrored (`pairwise`; the paper found
face-down scans by eye). `acceptance` decides which pairs are accepted. These are composed outwards
from the centre section (`stack`), then all solved together (`graph`).
"""

from pathlib import Path

import numpy as np

from cytopipe import provenance
from cytopipe.alignment.audit import from_files
from cytopipe.alignment.manual_decisions import manual_rigid_between, proposals
from cytopipe.alignment.pairwise.outlines import read_outline
from cytopipe.alignment.pairwise.pairs import align_pair, manual_pair
from cytopipe.alignment.pairwise.prepared_section import (
    PreparedSection,
    prepare_section,
    read_section,
)
from cytopipe.alignment.pairwise.surf_features import Features, features_of
from cytopipe.alignment.placing import PlacedStack, place_sections
from cytopipe.files import InputError, Output
from cytopipe.formats.tables import (
    CANNOT_TELL,
    MIRRORED,
    PLAIN,
    UNCERTAIN,
    WITH_OUTLINE,
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

VERSION = 6


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
    sections, images : of the chunks before that pairs can reach, and of this chunk.
    tables, labels : segmentation of the same chunks, in the same order.
    chunk, chunk_span : this chunk; a pair belongs to the chunk of its moving section.
    pairs : written, PairRow; `run` adds the statuses that need the whole brain.
    """
    segmentation = {row.section: (row, path) for row, path in read_segmentation(tables, labels)}
    statuses = _statuses(sections, [row for row, _ in segmentation.values()])
    usable = [
        (section, image)
        for section, image in zip(sections, images, strict=True)
        if statuses[section.section] in WITH_OUTLINE
    ]
    here = [s for s, _ in usable if chunk_of(s.section, chunk_span) == chunk]
    tissue_mm2 = {
        section.section: segmentation[section.section][0].tissue_mm2 for section, _ in usable
    }
    enough_mm2 = params.min_tissue_share * max(tissue_mm2.values(), default=0.0)
    numbers = [section.section for section, _ in usable]
    first = len(usable) - len(here)

    def partners(place: int) -> list[int]:
        """The last usable sections before a place; of small ones, also those before them."""
        large = [n for n in numbers[:place] if tissue_mm2[n] >= enough_mm2]
        return sorted({*numbers[:place][-params.neighbours :], *large[-params.neighbours :]})

    # of the chunks before, only the sections that occur in a pair are read
    needed = [(s, image) for s, image in usable if s in here or s.section in partners(first)]
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
            for other, fixed, features in reversed(before):
                distance = numbers.index(section.section) - numbers.index(other.section)
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
        kept = partners(numbers.index(section.section) + 1)
        before = [one for one in (*before, (section, moving, features)) if one[0].section in kept]
    write_rows(PairRow, rows, pairs)


@provenance.recorded
def run(
    *,
    sections: list[Section],
    chunk_pairs: list[Path],
    tables: list[Path],
    labels: list[Path],
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
    chunk_pairs, tables, labels : pairs and segmentation of all its chunks.
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
    segmented = {row.section: (row, path) for row, path in read_segmentation(tables, labels)}
    statuses = _statuses(sections, [row for row, _ in segmented.values()])
    usable = [s for s in sections if statuses[s.section] in WITH_OUTLINE]
    numbers = [s.section for s in usable]
    # pairs of a section that was excluded since are not used
    judged = [
        pair
        for path in chunk_pairs
        for pair in read_rows(PairRow, path)
        if set(pair.sections) <= set(numbers)
    ]
    placed = PlacedStack(-1, judged, {}, {}, {}, {})
    if usable:
        placed = place_sections(
            usable,
            judged,
            {number: row for number, (row, _) in segmented.items()},
            lambda number: read_outline(*segmented[number], params),
            params,
        )
        unknown = [n for n, answer in placed.handedness.items() if answer == CANNOT_TELL]
        info(
            f"{brain}: {len(placed.places)} of {len(usable)} usable sections placed around "
            f"{placed.base}, {list(placed.fragments.values()).count(1)} of them by accepted pairs; "
            f"mirrored: {[n for n in numbers if placed.mirrored[n]] or 'none'}; "
            f"cannot tell: {unknown or 'none'}"
        )
    rows = []
    for section in sections:
        number = section.section
        place = placed.places.get(number)
        if statuses[number] in WITH_OUTLINE:
            if place is None:
                statuses[number] = "unaligned"
            elif not place.certain or placed.handedness[number] == CANNOT_TELL:
                statuses[number] = UNCERTAIN
        row, _ = segmented.get(number, (None, None))
        rows.append(
            StackRow(
                brain=brain,
                section=number,
                z_um=number * section.thickness_um,
                width_um=row.width_um if row else np.nan,
                height_um=row.height_um if row else np.nan,
                full_spacing_um=row.full_spacing_um if row else section.spacing_um,
                mirrored=placed.mirrored.get(number, bool(section.mirrored)),
                handedness=placed.handedness.get(number, MIRRORED if section.mirrored else PLAIN),
                **rigid_columns(place.rigid if place else None),
                fragment=placed.fragments.get(number, 0),
                via=place.via if place else -1,
                sigma_um=placed.sigma_um.get(number, np.nan),
                image_right=image_right,
                status=statuses[number],
            )
        )
    own = proposals(sections, placed.pairs, placed.handedness, statuses)
    write_proposals(own, proposed, brain)
    write_rows(PairRow, placed.pairs, pairs)
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
