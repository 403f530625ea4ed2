"""The page of the study: its brains, networks, scores and, for a phantom, the truth table."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cytopipe.formats import truth_table
from cytopipe.formats.tables import AuditRow, SurfaceRow, TruthRow
from cytopipe.report import figures
from cytopipe.report.brain_page import markup
from cytopipe.study.results import BrainResults

BRAIN_COLUMNS = (
    "sections",
    "in the stack",
    "uncertain",
    "mirrored",
    "Euler number L",
    "Euler number R",
    "usable points",
    "with a coordinate",
    "failed checks",
)
# beginnings of the names of metrics for which more is better; the best value is bold
MORE_IS_BETTER = ("macro_f1", "weighted_f1", "top1", "top3", "r2 ", "purity_area", "adjusted_rand")


def cell(text: str, bad: bool = False) -> dict[str, Any]:
    """A cell of a table; bad cells are red."""
    return {"text": text, "bad": bad}


def surface_cell(row: SurfaceRow | None) -> dict[str, Any]:
    """The Euler number of a surface and the first word of its status; red if it is not ok."""
    if row is None or row.is_absent:
        return cell("none" if row is None else "absent", row is None)
    text = str(row.euler) if row.is_ok else f"{row.euler}, {row.status.split(':')[0]}"
    return cell(text, row.euler != 2 or not row.is_ok)


def brain_cells(brain: BrainResults) -> list[dict[str, Any]]:
    """The cells of a brain, in the order of BRAIN_COLUMNS."""
    placed = [row for row in brain.stack if row.is_placed]
    surfaces = {row.hemisphere: row for row in brain.surface_table}
    points, usable = brain.points, brain.usable
    failed = sum(check.has_failed for check in brain.checks)
    located = (usable & points["x_mm"].notna()).sum() / max(int(usable.sum()), 1)
    return [
        cell(str(len(brain.stack))),
        cell(str(len(placed)), len(placed) < 0.8 * len(brain.stack)),
        cell(str(sum(row.is_uncertain for row in placed))),
        cell(str(sum(row.mirrored for row in placed))),
        *(surface_cell(surfaces.get(h)) for h in "LR"),
        cell(f"{int(usable.sum()):,}", not usable.any()),
        cell(f"{located:.0%}", located < 0.95),
        cell(str(failed), failed > 0),
    ]


def score_tasks(
    scores: pd.DataFrame, task_pages: Mapping[str, Mapping[str, str]]
) -> list[dict[str, Any]]:
    """One table per task, with one row per split and metric and one column per run.

    Parameters
    ----------
    task_pages : for each task, run to the address of its page of figures.
    """
    tasks = []
    for name, of_task in scores.groupby("task", sort=False):
        runs = list(dict.fromkeys(of_task["run"]))
        groups = of_task.groupby(["split", "metric", "run"])["value"]
        means, spreads, counts = groups.mean(), groups.std(ddof=0), groups.count()
        rows = []
        for split, metric in dict.fromkeys(zip(of_task["split"], of_task["metric"], strict=True)):
            best = means.loc[split, metric].max() if metric.startswith(MORE_IS_BETTER) else np.nan
            cells = []
            for run in runs:
                key = (split, metric, run)
                if key not in means.index:
                    cells.append({"text": "", "best": False})
                    continue
                text = f"{means[key]:.3f}"
                if counts[key] > 1:
                    text += f" ± {spreads[key]:.3f}"
                cells.append({"text": text, "best": bool(means[key] == best and len(runs) > 1)})
            rows.append({"split": split, "metric": metric.replace("_", " "), "cells": cells})
        pages = task_pages.get(str(name), {})
        tasks.append({"name": str(name), "runs": runs, "rows": rows, "pages": pages})
    return tasks


def truth_values(truth: Sequence[TruthRow]) -> dict[str, Any]:
    """The truth table with one column per brain."""
    brains, lines = truth_table.lines_of(truth)
    rows = []
    for (metric, unit, goal), line in lines.items():
        cells = []
        for brain in brains:
            if brain not in line:
                cells.append(cell(""))
                continue
            value = line[brain].value
            text = f"{value:.3g}" if np.isfinite(value) else "not measurable"
            cells.append(cell(text, line[brain].is_missed))
        rows.append({"metric": metric, "unit": unit, "goal": goal, "cells": cells})
    judged = [row for row in truth if row.met]
    met = sum(not row.is_missed for row in judged)
    return {"brains": brains, "rows": rows, "met": met, "judged": len(judged)}


def page_values(
    brains: Sequence[dict[str, Any]],
    metrics: dict[str, pd.DataFrame],
    scores: pd.DataFrame,
    truth: Sequence[TruthRow] | None,
    task_pages: Mapping[str, Mapping[str, str]],
    audit: Sequence[AuditRow] | None,
) -> dict[str, Any]:
    """Everything that the template `study.html` needs.

    Parameters
    ----------
    brains : brain, role, page and cells of each brain.
    metrics : MetricRow of each run.
    task_pages : see `score_tasks`.
    audit : findings in all brains; None without an audit.
    """
    trained = {run: table for run, table in metrics.items() if len(table)}
    runs = [
        {
            "run": run,
            "epochs": int(table["epoch"].max()) + 1,
            "steps": int(table["step"].max()),
            **{
                name: float(table[name].iloc[-1])
                for name in ("loss", "knn_accuracy", "effective_rank")
            },
        }
        for run, table in trained.items()
    ]
    return {
        "brains": brains,
        "brain_columns": BRAIN_COLUMNS,
        "audit": audit and sorted(audit, key=lambda r: (r.brain, -r.confidence, r.section)),
        "training": markup(figures.training_figure(trained)) if runs else "",
        "runs": runs,
        "tasks": score_tasks(scores, task_pages),
        "truth": None if truth is None else truth_values(truth),
    }
