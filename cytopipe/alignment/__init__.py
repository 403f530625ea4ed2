"""Rigid alignment of the sections of a brain (CytoNet paper, section 3.2).

SURF features of neighbouring sections are matched, RANSAC and a fit in closed form give the rigid
transform of each pair, tried as scanned and mirrored (the paper found face-down scans by eye); the
pairs are composed outwards from the centre section, then all solved together (`graph`). Sections
that cannot be aligned are bridged.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cytopipe import provenance
from cytopipe.alignment import stack as stacking
from cytopipe.alignment.audit import from_files
from cytopipe.alignment.corrections import given_between, given_places, proposals
from cytopipe.alignment.graph import relax
from cytopipe.alignment.pairwise.features import Features, features_of
from cytopipe.alignment.pairwise.pairs import Pair, align_pair, given_pair
from cytopipe.alignment.pairwise.prepared_section import View, make_view
from cytopipe.files import InputError, Output
from cytopipe.formats.images import open_pyramid, read_labels
from cytopipe.formats.tables import AUDIT, PAIRS, SEGMENTATION, STACK, read, write
from cytopipe.logs import progress, say
from cytopipe.numerics.geometry import ImageRight, Rigid, resample_labels
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
    pairs : written, `tables.PAIRS`; statuses that need the whole brain come with `run`.
    """
    segmented = _segmented(tables, labels)
    usable = [
        (section, image)
        for section, image in zip(sections, images, strict=True)
        if _status(section, segmented) == "ok"
    ]
    here = [s for s, _ in usable if chunk_of(s.section, chunk_span) == chunk]
    # of the chunk before, only the sections that a pair reaches are read
    needed = usable[max(0, len(usable) - len(here) - params.neighbours) :]
    found: list[Pair] = []
    before: list[tuple[Section, View, Features]] = []
    for section, image in progress(needed, len(needed), f"aligning chunk {chunk}"):
        view = _view(section, image, segmented[section.section], params)
        if section in here:
            for distance, (other, fixed, features) in enumerate(reversed(before), start=1):
                rigid = given_between(other, section)
                pair = (
                    align_pair(fixed, view, features, distance, params)
                    if rigid is None
                    else given_pair(fixed, view, rigid, distance, params)
                )
                say(
                    f"{pair.moving} to {pair.fixed}: {pair.status} by {pair.method}, inliers "
                    f"{pair.inliers_plain} plain, {pair.inliers_mirrored} mirrored, peak "
                    f"{pair.peak_plain:.1f} plain, {pair.peak_mirrored:.1f} mirrored"
                )
                found.append(pair)
        features = features_of(view, False, 0.0, params.octaves, params.max_features)
        before = [*before, (section, view, features)][-params.neighbours :]
    write(PAIRS, _pairs_frame(sections[0].brain, found), pairs)


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
    stack : written, `tables.STACK`, one row per section, also for those without a transform.
    pairs : written, `tables.PAIRS` with final statuses; before `stack`.
    proposed : written, in the form of manual/{brain}/sections.tsv: what a person should decide.
    image_right : side of the brain at the right of an unmirrored image.

    Raises
    ------
    InputError
        If a person laid a section onto one that is not usable, or too far away.
    """
    segmented = _segmented(tables, [])
    usable = [s.section for s in sections if _status(s, segmented) == "ok"]
    # a pair of a section that was excluded since is not used
    found = [
        pair
        for path in chunk_pairs
        for pair in _pairs_of(read(PAIRS, path))
        if {pair.fixed, pair.moving} <= set(usable)
    ]
    confirmed = {s.section: s.mirrored for s in sections if s.mirrored is not None}
    places: dict[int, stacking.Place] = {}
    mirrored: dict[int, bool] = {}
    sigma_um: dict[int, float] = {}
    if usable:
        mirrored = stacking.mirror_flags(usable, found, confirmed, params)
        tissue_mm2 = {s: float(segmented[s]["tissue_mm2"]) for s in usable}
        largest_mm2 = max(tissue_mm2.values())
        given = given_places([s for s in sections if s.section in set(usable)], found)
        found = stacking.judge(found, mirrored, largest_mm2, params.min_tissue_share)
        base = stacking.choose_base(usable, tissue_mm2, found, params.min_tissue_share)
        widths_um = {s: float(segmented[s]["width_um"]) for s in usable}
        places = stacking.compose(base, found, mirrored, widths_um, given)
        if params.composition == "graph":
            links = stacking.links_of(found, mirrored, widths_um)
            sizes_um = {s: (widths_um[s], float(segmented[s]["height_um"])) for s in usable}
            places, sigma_um = relax({base, *given.in_stack}, places, links, sizes_um)
        say(
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
        sigma = sigma_um.get(section.section, np.nan)
        rows.append(_stack_row(section, segmented, place, sigma, flag, image_right, status))
    brain = sections[0].brain
    statuses = {row["section"]: row["status"] for row in rows}
    write_proposals(proposals(sections, found, mirrored, statuses), proposed, brain)
    write(PAIRS, _pairs_frame(brain, found), pairs)
    write(STACK, pd.DataFrame(rows, columns=STACK.names), stack)


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
    findings : written, `tables.AUDIT`, one row per finding.
    proposed : written last, the same in the form of manual/{brain}/sections.tsv.
    max_rotation_deg : the largest rotation between two sections, as in the alignment.
    """
    segmented = _segmented(tables, labels)
    for section in sections:
        _status(section, segmented)
    pages = {number: (row, row["labels"]) for number, row in segmented.items()}
    rotation_rad = float(np.radians(max_rotation_deg))
    rows = from_files.rows_of(sections, images, pages, rotation_rad, params)
    brain = sections[0].brain
    for row in rows:
        say(f"{brain} {row.section}: {row.finding}, confidence {row.confidence:.3f}")
    columns = [name for name in AUDIT.names if name != "brain"]
    frame = pd.DataFrame([[getattr(row, c) for c in columns] for row in rows], columns=columns)
    write(AUDIT, frame.assign(brain=brain), findings)
    write_proposals([row.proposal() for row in rows], proposed, brain)


def _segmented(tables: list[Path], labels: list[Path]) -> dict[int, dict[str, Any]]:
    """Rows of the segmentation by section number, with the path of the labels if given."""
    rows: dict[int, dict[str, Any]] = {}
    for index, path in enumerate(tables):
        for row in read(SEGMENTATION, path).to_dict("records"):
            rows[int(row["section"])] = {
                **{str(name): value for name, value in row.items()},
                "labels": labels[index] if labels else None,
            }
    return rows


def _status(section: Section, segmented: dict[int, dict[str, Any]]) -> str:
    if section.excluded:
        return "excluded"
    if section.section not in segmented:
        raise InputError(
            f"section {section.section} of {section.brain} is in config/sections.tsv but not in "
            "its segmentation; rerun the segmentation of its chunk"
        )
    return str(segmented[section.section]["status"])


def _view(section: Section, image: Path, row: dict[str, Any], params: Alignment) -> View:
    with open_pyramid(image, section.spacing_um) as pyramid:
        pixels = pyramid.to_8_bit(pyramid.read_at(params.spacing_um))
    labels = read_labels(row["labels"], int(row["page"]))
    if not labels.any():
        raise InputError(
            f"{row['labels']}: page {row['page']} has no tissue but section {section.section} has "
            "status ok; rerun the segmentation"
        )
    full_um = float(row["full_spacing_um"])
    labels = resample_labels(
        labels, float(row["spacing_um"]), pixels.shape, params.spacing_um, full_um
    )
    return make_view(
        section.section,
        pixels,
        labels,
        params.spacing_um,
        max(params.texture_um, params.spacing_um),
        full_um,
        float(row["width_um"]),
        float(row["height_um"]),
        section.mirrored,
    )


def _pairs_frame(brain: str, pairs: list[Pair]) -> pd.DataFrame:
    rows = []
    for pair in pairs:
        row = {name: getattr(pair, name) for name in PAIRS.names if hasattr(pair, name)}
        rigid = pair.rigid or Rigid(np.nan, np.nan, np.nan, "", "")
        row.update(brain=brain, angle_rad=rigid.angle_rad, x_um=rigid.x_um, y_um=rigid.y_um)
        rows.append(row)
    return pd.DataFrame(rows, columns=PAIRS.names)


def _pairs_of(frame: pd.DataFrame) -> list[Pair]:
    pairs = []
    for row in frame.to_dict("records"):
        fields = {str(name): value for name, value in row.items()}
        fields.pop("brain")
        angle, x, y = (float(fields.pop(name)) for name in ("angle_rad", "x_um", "y_um"))
        rigid = None if np.isnan(angle) else Rigid(angle, x, y, "moving", "fixed")
        pairs.append(Pair(**fields, rigid=rigid))
    return pairs


def _stack_row(
    section: Section,
    segmented: dict[int, dict[str, Any]],
    place: stacking.Place | None,
    sigma_um: float,
    mirrored: bool,
    image_right: ImageRight,
    status: str,
) -> dict[str, Any]:
    row = segmented.get(section.section, {})
    rigid = place.rigid if place else Rigid(np.nan, np.nan, np.nan, "", "")
    return {
        "brain": section.brain,
        "section": section.section,
        "z_um": section.section * section.thickness_um,
        "width_um": row.get("width_um", np.nan),
        "height_um": row.get("height_um", np.nan),
        "full_spacing_um": row.get("full_spacing_um", section.spacing_um),
        "mirrored": mirrored,
        "angle_rad": rigid.angle_rad,
        "x_um": rigid.x_um,
        "y_um": rigid.y_um,
        "via": place.via if place else -1,
        "sigma_um": sigma_um,
        "image_right": image_right,
        "status": status,
    }
