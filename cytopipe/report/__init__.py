"""The pages that a person looks at, one per brain and one for the study.

Pages open from the disk, without a network or a server. A brain's page loads its data from the
folder of the same name beside it. The figures of the evaluation are under results/evaluation.
`web/` holds what runs in the browser.
"""

import math
import os
from pathlib import Path

import pandas as pd

from cytopipe import logs, provenance
from cytopipe.files import Output, atomic_folder
from cytopipe.formats import tables, truth_table
from cytopipe.formats.text import read_table
from cytopipe.report import brain_page, bundle, section_files, section_numbers, study_page
from cytopipe.report.area_map import run_map as run_map
from cytopipe.report.section_files import centroids_of
from cytopipe.study import corrections
from cytopipe.study.config import Report
from cytopipe.study.results import BrainResults
from cytopipe.study.sections import Section

VERSION = 8


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
    mapped: bool,
    max_rotation_deg: float,
    numbers: Output,
    pictures: Output,
    page: Output,
    params: Report,
) -> None:
    """Write the page of a brain, and the folder of pictures and data that it loads.

    Parameters
    ----------
    sections, images : all sections of the brain and their scans or pyramids, in the same order.
    labels, segmentations : label file and SegmentationRow of each chunk.
    stack, pairs : StackRow and PairRow.
    proposed, audit : what alignment and audit propose, in the format of
        manual/{brain}/sections.tsv; None without an audit.
    tissue, repairs : reconstructed tissue, and RepairRow.
    surfaces, thickness, curvature : mid-surface and its maps, by hemisphere L and R.
    table : SurfaceRow.
    midlines : MidlineRow of each chunk.
    points : PointRow.
    checks : CheckRow.
    template : tissue volume of the template.
    supplied_tissue, supplied_surfaces : files in `manual/` that replace results; the page names
        them.
    earlier : `numbers` of an earlier run to compare with, or None.
    mapped : whether a map of areas is planned, which `run_map` adds to the page.
    max_rotation_deg : of the alignment; used for the handedness that it did not choose.
    numbers : written: the numbers of each section, TSV.
    pictures : written: the folder beside the page with the name of the brain.
    page : written last.

    Raises
    ------
    InputError
        If `earlier` is not such a table.
    """
    results = BrainResults(
        brain,
        sections,
        {
            "labels": labels,
            "segmentations": segmentations,
            "stack": stack,
            "pairs": pairs,
            "tissue": tissue,
            "repairs": repairs,
            "surfaces": surfaces,
            "thickness": thickness,
            "curvature": curvature,
            "surface_table": table,
            "midlines": midlines,
            "points": points,
            "checks": checks,
            "template": template,
        },
    )
    earlier_numbers = None if earlier is None else section_numbers.read(earlier)
    with atomic_folder(pictures, replace=True) as folder:
        written = section_files.write_all(results, images, folder, params)
        summaries = list(logs.progress(written, len(sections), f"report {brain}"))
        bundle.write_viewer_data(results, params.surface_faces, folder)
    section_numbers.write(section_numbers.table(results, centroids_of(summaries)), numbers)
    # read back, so that numbers are compared as they are written
    measured = section_numbers.read(numbers)
    values = brain_page.page_values(
        results,
        summaries,
        measured,
        None if earlier_numbers is None else section_numbers.changes(earlier_numbers, measured),
        proposals([proposed] if audit is None else [proposed, audit]),
        math.radians(max_rotation_deg),
        [path.name for path in [*supplied_tissue, *supplied_surfaces]],
        mapped,
    )
    brain_page.write_page("brain.html", values, page)


def proposals(paths: list[Path]) -> dict[int, dict[str, str]]:
    """What is proposed for each section: mirrored, excluded and notes, "" for nothing.

    Where two files propose something for a section, the first one wins; the notes are joined.
    """
    proposed: dict[int, dict[str, str]] = {}
    for path in paths:
        for _, row in read_table(path, ("section",), corrections.COLUMNS[1:]):
            earlier = proposed.get(int(row["section"]), {})
            notes = filter(None, (earlier.get("notes"), row["notes"]))
            proposed[int(row["section"])] = {
                name: earlier.get(name) or row[name] for name in ("mirrored", "excluded")
            } | {"notes": "; ".join(notes)}
    return proposed


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
    scores : ScoreRow of each task and run.
    figures : the pages {task}/{run}/figures.html of the evaluation, to which the page links.
    table : the truth table of a phantom, or None.
    page : written; it links to all other pages.
    """
    brains = []
    names = ("stack", "surface_table", "points", "checks")
    files = zip(stacks, surfaces, points, checks, strict=True)
    for brain, page_of_brain, paths in zip(roles, pages, files, strict=True):
        results = BrainResults(brain, [], dict(zip(names, paths, strict=True)))
        brains.append(
            {
                "brain": brain,
                "role": roles[brain],
                "page": page_of_brain.name,
                "cells": study_page.brain_cells(results),
            }
        )
    score_tables = [tables.read(tables.ScoreRow, path) for path in scores]
    task_pages: dict[str, dict[str, str]] = {}
    for path in figures:
        address = Path(os.path.relpath(path, page.parent)).as_posix()
        task_pages.setdefault(path.parents[1].name, {})[path.parent.name] = address
    audit = [row for path in audits for row in tables.read_rows(tables.AuditRow, path)]
    values = study_page.page_values(
        brains,
        {run: tables.read(tables.MetricRow, path) for run, path in metrics.items()},
        pd.concat(score_tables) if score_tables else tables.frame_of(tables.ScoreRow, []),
        None if table is None else truth_table.read(table),
        task_pages,
        audit if audits else None,
    )
    brain_page.write_page("study.html", values, page)
