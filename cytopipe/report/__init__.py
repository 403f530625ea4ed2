"""report: the pages that a person looks at, one per brain and one for the study.

Pages open from the disk, without a network or a server. The data of a brain's page lie in the
folder of the same name beside it, the figures of the evaluation under results/evaluation.
`web/` holds what runs in the browser.
"""

import math
import os
from pathlib import Path

import pandas as pd

from cytopipe import logs, provenance
from cytopipe.files import Output
from cytopipe.formats import surfaces as surface_files
from cytopipe.formats import tables, truth_table, volumes
from cytopipe.report import brain_page, bundle, section_files, section_numbers, study_page
from cytopipe.study import corrections
from cytopipe.study.config import Report
from cytopipe.study.sections import Section, read_tsv

VERSION = 6

__all__ = ["run", "run_brain"]


@provenance.recorded
def run_brain(
    *,
    brain: str,
    sections: list[Section],
    images: list[Path],
    labels: list[Path],
    segmentations: list[Path],
    stack: Path,
    pairs: Path,
    proposed: Path,
    audit: Path | None,
    tissue: Path,
    repairs: Path,
    surfaces: dict[str, Path],
    thickness: dict[str, Path],
    curvature: dict[str, Path],
    table: Path,
    midlines: list[Path],
    points: Path,
    checks: Path,
    template: Path,
    supplied_tissue: list[Path],
    supplied_surfaces: list[Path],
    earlier: Path | None,
    max_rotation_deg: float,
    numbers: Output,
    page: Output,
    params: Report,
) -> None:
    """Write a brain's page, and beside it the folder of that name with what it loads.

    Parameters
    ----------
    sections, images : all sections of the brain and their scans or pyramids, in the same order.
    labels, segmentations : label file and table of each chunk.
    stack, pairs : StackRow and PairRow of the brain.
    proposed, audit : what alignment and audit propose, in the form of manual/{brain}/sections.tsv;
        None without an audit.
    tissue, repairs : reconstructed tissue, and RepairRow.
    surfaces, thickness, curvature : mid-surface and its maps, by hemisphere L and R.
    table : SurfaceRow.
    midlines : MidlineRow of each chunk.
    points : PointRow.
    checks : CheckRow.
    template : tissue volume of the template.
    supplied_tissue, supplied_surfaces : ready-made ones, which took the place of ours; the page
        names them.
    earlier : `numbers` of an earlier run, to be compared with. None for none.
    max_rotation_deg : of the alignment; used for the handedness that it did not choose.
    numbers : written: the numbers of each section, TSV.
    page : written last: it stands for the files of its folder.

    Raises
    ------
    InputError
        If `earlier` is no such table.
    """
    placed = tables.read_rows(tables.StackRow, stack)
    paired = tables.read_rows(tables.PairRow, pairs)
    midline = pd.concat([tables.read(tables.MidlineRow, path) for path in midlines])
    located = tables.read(tables.PointRow, points)
    segmented = tables.read_segmentation(segmentations, labels)
    volume, mould = volumes.read_tissue(tissue), volumes.read_tissue(template)
    hemispheres = {h: surface_files.read(path) for h, path in surfaces.items()}
    maps = {
        name: {h: surface_files.read_map(path) for h, path in of.items()}
        for name, of in (("thickness", thickness), ("curvature", curvature))
    }
    repaired = tables.read_rows(tables.RepairRow, repairs)
    before = None if earlier is None else section_numbers.read(earlier)
    with bundle.whole_folder(page.parent / brain) as folder:
        written = section_files.write_all(
            sections, images, segmented, placed, midline, folder, params
        )
        shown = list(logs.progress(written, len(sections), f"report {brain}"))
        for name, values in (
            ("tissue", bundle.volume_text(volume, brain_page.LONGEST)),
            ("template", bundle.volume_text(mould, brain_page.LONGEST)),
            ("surface", bundle.surface_values(hemispheres, maps, params.surface_faces)),
            ("points", brain_page.point_values(located)),
        ):
            bundle.write_script(folder / f"{name}.js", name, values)
        bundle.write_niivue(folder / "niivue.js")
    centroids = {s.entry["section"]: s.centroid_um for s in shown if s.centroid_um is not None}
    measured = section_numbers.table(
        sections, [row for row, _ in segmented], centroids, placed, paired, midline
    )
    section_numbers.write(measured, numbers)
    measured = section_numbers.read(numbers)
    changes = None if before is None else section_numbers.changes(before, measured)
    values = brain_page.page_values(
        brain,
        brain_page.summary(sections, placed, midline, located),
        brain_page.rows(
            shown,
            sections,
            proposed_rows([proposed] if audit is None else [proposed, audit]),
            measured,
            changes or [],
            segmented,
            placed,
            paired,
        ),
        brain_page.pair_rows(shown, paired, placed, math.radians(max_rotation_deg)),
        measured,
        changes,
        placed,
        volume,
        mould,
        repaired,
        hemispheres,
        maps["thickness"],
        tables.read_rows(tables.SurfaceRow, table),
        located,
        tables.read_rows(tables.CheckRow, checks),
        [path.name for path in [*supplied_tissue, *supplied_surfaces]],
    )
    brain_page.write_page("brain.html", values, page)


def proposed_rows(paths: list[Path]) -> dict[int, dict[str, str]]:
    """What is proposed for sections: mirrored, excluded and notes, "" for nothing.

    The first file goes before the next where both propose something; the notes are joined.
    """
    found: dict[int, dict[str, str]] = {}
    for path in paths:
        for _, row in read_tsv(path, ("section",), corrections.COLUMNS[1:]):
            before = found.get(int(row["section"]), {})
            notes = filter(None, (before.get("notes"), row["notes"]))
            found[int(row["section"])] = {
                name: before.get(name) or row[name] for name in ("mirrored", "excluded")
            } | {"notes": "; ".join(notes)}
    return found


@provenance.recorded
def run(
    *,
    roles: dict[str, str],
    pages: list[Path],
    stacks: list[Path],
    surfaces: list[Path],
    points: list[Path],
    checks: list[Path],
    audits: list[Path],
    metrics: dict[str, Path],
    scores: list[Path],
    figures: list[Path],
    table: Path | None,
    page: Output,
) -> None:
    """Write the study's page.

    Parameters
    ----------
    roles : role of each brain.
    pages, stacks, surfaces, points, checks : page and tables of each brain, in the order of
        `roles`.
    audits : AuditRow of each brain; empty without audits.
    metrics : MetricRow of each run.
    scores : ScoreRow of all tasks and runs.
    figures : the pages {task}/{run}/figures.html of the evaluation, to which the page links.
    table : the truth table, if the study has a truth.
    page : written: the page that links to all others.
    """
    brains = [
        {
            "brain": brain,
            "role": role,
            "page": of_brain[0].name,
            "cells": study_page.brain_cells(
                tables.read_rows(tables.StackRow, of_brain[1]),
                tables.read_rows(tables.SurfaceRow, of_brain[2]),
                tables.read(tables.PointRow, of_brain[3]),
                tables.read_rows(tables.CheckRow, of_brain[4]),
            ),
        }
        for (brain, role), of_brain in zip(
            roles.items(), zip(pages, stacks, surfaces, points, checks, strict=True), strict=True
        )
    ]
    found = [tables.read(tables.ScoreRow, path) for path in scores]
    of_tasks: dict[str, dict[str, str]] = {}
    for path in figures:
        address = Path(os.path.relpath(path, page.parent)).as_posix()
        of_tasks.setdefault(path.parents[1].name, {})[path.parent.name] = address
    values = study_page.page_values(
        brains,
        {run: tables.read(tables.MetricRow, path) for run, path in metrics.items()},
        pd.concat(found) if found else tables.frame_of(tables.ScoreRow, []),
        None if table is None else truth_table.read(table),
        of_tasks,
        [row for path in audits for row in tables.read_rows(tables.AuditRow, path)]
        if audits
        else None,
    )
    brain_page.write_page("study.html", values, page)
