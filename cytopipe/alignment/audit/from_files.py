"""The audit of a brain's sections from its files; findings in words, with what to write where."""

from pathlib import Path

import numpy as np

from cytopipe.alignment.audit.comparison import Comparison, compare
from cytopipe.alignment.audit.findings import ELSEWHERE, MIRRORED, SWAPPED, AuditFinding
from cytopipe.alignment.audit.order import audit
from cytopipe.alignment.pairwise.prepared_section import (
    PreparedSection,
    prepare_section,
    read_section,
)
from cytopipe.formats.tables import AuditRow, SegmentationRow
from cytopipe.study.config import Audit
from cytopipe.study.corrections import Proposal
from cytopipe.study.sections import Section

# pixels along the root of the largest section's area, so that brains of all sizes look alike; the
# constants of `comparison` are in these pixels (chosen, not measured)
_PIXELS = 138


def audit_sections(
    sections: list[Section],
    images: list[Path],
    segmented: dict[int, tuple[SegmentationRow, Path]],
    max_rotation_rad: float,
    params: Audit,
) -> list[tuple[AuditRow, Proposal]]:
    """Findings in one brain, in words and as proposals.

    Parameters
    ----------
    sections, images : all of the brain, with a person's decisions, and their scans or pyramids.
    segmented : row and label file of each section's segmentation, by section number.
    """
    usable = [
        (section, image)
        for section, image in zip(sections, images, strict=True)
        if not section.excluded and segmented[section.section][0].is_usable
    ]
    rows = [segmented[section.section][0] for section, _ in usable]
    largest_mm2 = max((row.tissue_mm2 for row in rows), default=0.0)
    finest_um = max((row.spacing_um for row in rows), default=0.0)
    spacing_um = max(1000 * largest_mm2**0.5 / _PIXELS, finest_um)
    prepared = [_prepare(s, image, *segmented[s.section], spacing_um) for s, image in usable]

    def compare_two(one: int, other: int) -> Comparison:
        return compare(prepared[one], prepared[other], max_rotation_rad)

    findings = audit(len(prepared), compare_two, params)
    return [_in_words(finding, [section for section, _ in usable]) for finding in findings]


def _prepare(
    section: Section, image: Path, row: SegmentationRow, labels_path: Path, spacing_um: float
) -> PreparedSection:
    """The section unmirrored, so that findings confirm or contradict a person's decision."""
    layers = read_section(section, image, row, labels_path, spacing_um)
    columns = slice(None, None, -1 if section.mirrored else 1)
    pixels, labels = (np.ascontiguousarray(layer[:, columns]) for layer in layers)
    return prepare_section(row, pixels, labels, spacing_um, spacing_um)


def _in_words(finding: AuditFinding, sections: list[Section]) -> tuple[AuditRow, Proposal]:
    """A finding as a row of the table, and in the form of manual/{brain}/sections.tsv."""
    section = sections[finding.index]
    others = [str(sections[i].section) if i >= 0 else "" for i in finding.others]
    manual = f"manual/{section.brain}/sections.tsv: {section.section}"
    mirrored = None
    if finding.kind == MIRRORED:
        mirrored = not section.mirrored
        words = "mirrored" if mirrored else "not mirrored"
        if section.mirrored is not None:
            words += ", against what is written"
        remedy = f"{manual}, mirrored {'yes' if mirrored else 'no'}"
    elif finding.kind == SWAPPED:
        words = f"swapped with {others[0]}"
        remedy = f"config/sections.tsv: exchange the images of {section.section} and {others[0]}"
    elif finding.kind == ELSEWHERE:
        before, after = others
        if before and after:
            words = f"belongs between {before} and {after}"
        else:
            words = f"belongs before {after}" if after else f"belongs after {before}"
        remedy = f"config/sections.tsv: correct its number, or {manual}, excluded yes"
    else:
        words = f"matches neither {others[0]} nor {others[1]}"
        remedy = f"if it is foreign or too damaged, {manual}, excluded yes"
    row = AuditRow(section.brain, section.section, words, finding.confidence, remedy)
    notes = f"audit: {words}, confidence {finding.confidence:.3f}"
    if mirrored is None:
        notes += f"; {remedy}"
    return row, Proposal(section.section, mirrored=mirrored, notes=notes)
