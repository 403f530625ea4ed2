"""report: what a person looks at, a page a brain and one for the study, readable offline.

Pages need nothing from elsewhere: they hold all their pictures, but for those of the evaluation,
which lie beside under results/evaluation. For a phantom study, `truth`
writes the table that holds the results against the truth.
"""

import os
from pathlib import Path

import pandas as pd

from cytopipe import logs
from cytopipe.formats import surfaces as surface_files
from cytopipe.formats import tables, truth_table, volumes
from cytopipe.formats.sections import Section
from cytopipe.report import brain_page, study_page
from cytopipe.report.params import Params
from cytopipe.report.truth import run_truth

VERSION = 3

__all__ = ["Params", "run", "run_brain", "run_truth"]


def run_brain(
    *,
    brain: str,
    sections: list[Section],
    images: list[Path],
    labels: list[Path],
    segmentations: list[Path],
    stack: Path,
    pairs: Path,
    tissue: Path,
    repairs: Path,
    surfaces: dict[str, Path],
    thickness: dict[str, Path],
    table: Path,
    midlines: list[Path],
    points: Path,
    template: Path,
    page: Path,
    params: Params,
) -> None:
    """Write a brain's page.

    Parameters
    ----------
    sections, images : all sections of the brain and their scans or pyramids, in the same order.
    labels, segmentations : label file and table of each chunk.
    table : SURFACES.
    template : tissue volume of the template.
    """
    placed = tables.read(tables.STACK, stack)
    midline = pd.concat([tables.read(tables.MIDLINE, path) for path in midlines])
    located = tables.read(tables.POINTS, points)
    pages = {
        int(row["section"]): (path, int(row["page"]), float(row["spacing_um"]))
        for path, segmentation in zip(labels, segmentations, strict=True)
        for row in tables.read(tables.SEGMENTATION, segmentation).to_dict("records")
        if row["status"] == "ok"
    }
    entries = brain_page.sheet(sections, images, pages, placed, midline, params)
    values = brain_page.page_values(
        brain,
        list(logs.progress(entries, len(sections), f"report {brain}")),
        brain_page.numbers(sections, placed, midline, located),
        placed,
        tables.read(tables.PAIRS, pairs),
        volumes.read_tissue(tissue),
        tables.read(tables.REPAIRS, repairs),
        {h: surface_files.read(path) for h, path in surfaces.items()},
        {h: surface_files.read_map(path) for h, path in thickness.items()},
        tables.read(tables.SURFACES, table),
        located,
        volumes.read_tissue(template),
    )
    brain_page.write_page("brain.html", values, page)


def run(
    *,
    roles: dict[str, str],
    pages: list[Path],
    stacks: list[Path],
    surfaces: list[Path],
    points: list[Path],
    metrics: dict[str, Path],
    scores: list[Path],
    figures: list[Path],
    table: Path | None,
    page: Path,
) -> None:
    """Write the study's page.

    Parameters
    ----------
    roles : role of each brain.
    pages, stacks, surfaces, points : page and tables of each brain, in the order of `roles`.
    metrics : METRICS of each run.
    scores : SCORES of all tasks and runs.
    figures : {task}/{run}/figures.html of them; the page links to them and shows the .png beside.
    table : the truth table, if the study has a truth.
    """
    brains = [
        {
            "brain": brain,
            "role": role,
            "page": of_brain[0].name,
            "cells": study_page.brain_cells(
                tables.read(tables.STACK, of_brain[1]),
                tables.read(tables.SURFACES, of_brain[2]),
                tables.read(tables.POINTS, of_brain[3]),
            ),
        }
        for (brain, role), of_brain in zip(
            roles.items(), zip(pages, stacks, surfaces, points, strict=True), strict=True
        )
    ]
    found = [tables.read(tables.SCORES, path) for path in scores]
    of_tasks: dict[str, dict[str, str]] = {}
    for path in figures:
        address = Path(os.path.relpath(path, page.parent)).as_posix()
        of_tasks.setdefault(path.parents[1].name, {})[path.parent.name] = address
    values = study_page.page_values(
        brains,
        {run: tables.read(tables.METRICS, path) for run, path in metrics.items()},
        pd.concat(found) if found else tables.SCORES.empty(),
        None if table is None else truth_table.read(table),
        of_tasks,
    )
    brain_page.write_page("study.html", values, page)
