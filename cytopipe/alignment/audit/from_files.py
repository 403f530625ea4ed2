"""The audit of a brain's sections from its files: findings in words, and what to write where."""

from pathlib import Path

from cytopipe.alignment.audit.findings import ELSEWHERE, MIRRORED, NEITHER, SWAPPED, Finding
from cytopipe.alignment.audit.order import Pair, audit
from cytopipe.alignment.audit.similarity import likeness
from cytopipe.alignment.pairwise.prepared_section import PreparedSection, oriented, prepare_section
from cytopipe.formats.images import open_pyramid, read_labels
from cytopipe.formats.tables import AuditRow, SegmentationRow
from cytopipe.logs import progress
from cytopipe.numerics.geometry import resample_labels
from cytopipe.study.config import Audit
from cytopipe.study.corrections import Proposal
from cytopipe.study.sections import Section

# pixels along the root of the largest section's area, so that a mouse and a human look alike
_PIXELS = 138


def audit_sections(
    sections: list[Section],
    images: list[Path],
    segmented: dict[int, tuple[SegmentationRow, Path]],
    max_rotation_rad: float,
    params: Audit,
) -> list[tuple[AuditRow, Proposal]]:
    """Findings in one brain, in words and as proposals.

    Sections that are excluded, blank or unreadable take no part.

    Parameters
    ----------
    sections, images : all of the brain with what a person decided, and their scans or pyramids.
    segmented : segmentation and label file of each section, by its number.
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
    views = [_view(s, image, *segmented[s.section], spacing_um) for s, image in usable]
    compared: dict[tuple[int, int], Pair] = {}

    def compare(one: int, other: int) -> Pair:
        if (one, other) not in compared:
            compared[one, other] = pair_of(views[one], views[other], max_rotation_rad)
        return compared[one, other]

    numbers = range(len(views))
    brain = sections[0].brain if sections else ""
    for one in progress(numbers, len(views), f"comparing the sections of {brain}"):
        for other in numbers[one + 1 : one + 1 + params.hand_reach]:
            compare(one, other)
    ordered = [section for section, _ in usable]
    return [_in_words(finding, ordered) for finding in audit(len(views), compare, params)]


def pair_of(one: PreparedSection, other: PreparedSection, max_rotation_rad: float) -> Pair:
    """Two sections of a stack compared in both hands; the rotation between them is limited."""
    plain, mirrored = (likeness(one, other, flipped, max_rotation_rad) for flipped in (False, True))
    return Pair(
        plain.whole, mirrored.whole, plain.left - plain.right, mirrored.left - mirrored.right
    )


def _view(
    section: Section, image: Path, row: SegmentationRow, labels_path: Path, spacing_um: float
) -> PreparedSection:
    with open_pyramid(image, section.spacing_um) as pyramid:
        pixels = pyramid.to_8_bit(pyramid.read_at(spacing_um))
    labels = read_labels(labels_path, row.page)
    labels = resample_labels(labels, row.spacing_um, pixels.shape, spacing_um, row.full_spacing_um)
    flipped = bool(section.mirrored)
    return prepare_section(
        row, oriented(pixels, flipped), oriented(labels, flipped), spacing_um, spacing_um
    )


def _in_words(finding: Finding, sections: list[Section]) -> tuple[AuditRow, Proposal]:
    """A finding as a row of the table, and in the form of manual/{brain}/sections.tsv."""
    section = sections[finding.index]
    others = [str(sections[i].section) if i >= 0 else "" for i in finding.others]
    manual = f"manual/{section.brain}/sections.tsv: {section.section}"
    mirrored = None
    if finding.kind == MIRRORED:
        words = {None: "mirrored", True: "not mirrored, against what is written"}
        found = words.get(section.mirrored, "mirrored, against what is written")
        remedy = f"{manual}, mirrored {'no' if section.mirrored else 'yes'}"
        mirrored = not section.mirrored
    elif finding.kind == SWAPPED:
        found = f"swapped with {others[0]}"
        remedy = f"config/sections.tsv: exchange the images of {section.section} and {others[0]}"
    elif finding.kind == ELSEWHERE:
        before, after = others
        found = f"belongs between {before} and {after}" if before and after else ""
        found = found or (f"belongs before {after}" if after else f"belongs after {before}")
        remedy = f"config/sections.tsv: correct its number, or {manual}, excluded yes"
    else:
        assert finding.kind == NEITHER
        found = f"matches neither {others[0]} nor {others[1]}"
        remedy = f"if it is foreign or too damaged, {manual}, excluded yes"
    row = AuditRow(section.brain, section.section, found, finding.confidence, remedy)
    notes = f"audit: {found}, confidence {finding.confidence:.3f}"
    if mirrored is None:
        notes += f"; {remedy}"
    return row, Proposal(section.section, mirrored=mirrored, notes=notes)
