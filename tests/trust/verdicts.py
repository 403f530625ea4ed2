"""The error of a row against the truth, what the program said, and the verdict.

A result is wrong if its error is more than three times the goal of the truth table; a section's
result also if that much of its tissue is lost. A wrong result of which the program does not vouch
(its status is not ok, a check failed, or the run ended with an explanation) counts as said.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.spatial import cKDTree

from cytopipe.commands import status
from cytopipe.formats import images, surfaces, tables, volumes
from cytopipe.numerics.geometry import (
    Floats,
    fit_rigid,
    pixels_to_section,
    resample_labels,
    section_to_pixels,
)
from cytopipe.study import config as study_config
from cytopipe.study.sections import read_sections
from cytopipe.truth import scoring
from cytopipe.truth.ground_truth import TruthBrain, placements
from cytopipe.truth.point_errors import midline_um
from cytopipe.truth.section_errors import POLE_SHARE, dice
from cytopipe.truth.surface_errors import surface_samples
from cytopipe.truth.true_surface import true_mids
from trust.disturbances import Disturbance
from trust.panel import Panel, targets

RIGHT, SAID, SILENT = "right", "said so", "silently wrong"
CRASH = "crash"
TIMES = 3.0
# a section is misplaced beyond three times the goal for the median of the drift
_PLACE_GOAL_MM = 1.0
_STEP = 7  # every n-th tissue pixel shows where a section lies
# a stop that a person can act on, against any other one
_EXPLAINED = re.compile(r"^\d\d:\d\d:\d\d error: ", re.MULTILINE)


@dataclass
class Outcome:
    """What came out of a row.

    Attributes
    ----------
    silent : wrong results of which the program vouches, in words.
    said : what it said about results that are wrong or missing.
    errors : the measured errors, in words.
    """

    errors: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    is_crash: bool = False

    @property
    def verdict(self) -> str:
        if self.is_crash:
            return CRASH
        return SILENT if self.silent else SAID if self.said else RIGHT


def limit(samples: str, name: str = "") -> float:
    """The largest error of a metric that is not wrong: three times what its goal allows."""
    goals = study_config.Goals(**study_config.read(study_config.DEFAULTS)["report"]["goals"])
    metric = next(
        m
        for m in scoring.metrics(goals, "laplacian")
        if m.samples == samples and m.relation and name in m.name
    )
    allowed = 1 - metric.goal if metric.relation == "at least" else metric.goal
    return TIMES * allowed


def outcome(panel: Panel, row: Disturbance) -> Outcome:
    """Measure a row whose stages ran as far as they could."""
    result = Outcome()
    brain = row.name
    missing = [t for t in targets(panel, row) if not (panel.folder / t).exists()]
    if missing:
        _explain(panel, brain, result)
        return result
    measure = {
        "sections": _segmentation,
        "chunk": _alignment,
        "brain": _coordinates,
        "folds": _folds,
    }[panel.kind]
    measure(panel.folder, brain, result)
    return result


def _explain(panel: Panel, brain: str, result: Outcome) -> None:
    """Why a run ended early: an error with a remedy, or a crash."""
    logs = sorted(
        (path for path in (panel.folder / "logs").rglob("*.log") if brain in str(path)),
        key=lambda path: path.stat().st_mtime,
    )
    for log in reversed(logs):
        text = log.read_text(errors="replace")
        if error := status.error_in(log):
            result.is_crash = not _EXPLAINED.search(text)
            result.said.append(_plain(error, panel.folder))
            return
    result.is_crash = True
    result.said.append("no result and no message")


def _plain(text: str, folder: Path) -> str:
    return " ".join(text.replace(f"{folder}/", "").split())


def _segmentation(folder: Path, brain: str, result: Outcome) -> None:
    truth = TruthBrain(folder / "truth", brain)
    results = folder / "results" / "segmentation" / brain
    rows = {
        row.section: (row, path.with_suffix(".tif"))
        for path in sorted(results.glob("*.parquet"))
        for row in tables.read_rows(tables.SegmentationRow, path)
    }
    smallest = POLE_SHARE * max(truth.tissue_px.values())
    worst = {"gray Dice": 1.0, "white Dice": 1.0, "lost": 0.0}
    for true in truth.sections:
        if true.section not in rows or true.condition == "excluded":
            continue
        row, path = rows[true.section]
        name = f"section {true.section}"
        if truth.tissue_px[true.section] == 0:
            if row.is_usable:
                result.silent.append(f"{name}: {row.tissue_mm2:.0f} mm2 of tissue on a blank slide")
            continue
        if truth.tissue_px[true.section] < smallest:
            continue
        if not row.is_usable:
            result.said.append(f"{name}: {row.status}")
            continue
        page = truth.page(true.section, "tissue")
        labels = resample_labels(
            images.read_labels(path, row.page),
            row.spacing_um,
            page.shape,
            truth.spacing_um,
            row.full_spacing_um,
        )
        gray, white = dice(labels, page, 1), dice(labels, page, 2)
        lost = float(((labels == 0) & (page > 0)).sum() / (page > 0).sum())
        for key, value in (("gray Dice", gray), ("white Dice", white)):
            worst[key] = min(worst[key], value)
        worst["lost"] = max(worst["lost"], lost)
        wrong = [
            f"{what} {value:.2f}"
            for what, value, error, largest in (
                ("gray Dice", gray, 1 - gray, limit("dice_gray")),
                ("white Dice", white, 1 - white, limit("dice_white")),
                ("lost", lost, lost, limit("dice_gray")),
            )
            if error > largest
        ]
        if wrong and row.remarks:  # a remark takes the place of ok on the page
            result.said.append(f"{name}: {row.remarks} ({', '.join(wrong)})")
        elif wrong:
            result.silent.append(f"{name}: {', '.join(wrong)}")
    result.errors += [f"worst {key} {value:.2f}" for key, value in worst.items()]


def _alignment(folder: Path, brain: str, result: Outcome) -> None:
    truth = TruthBrain(folder / "truth", brain)
    stack = folder / "results" / "alignment" / brain / "stack.parquet"
    rows = {row.section: row for row in tables.read_rows(tables.StackRow, stack)}
    placed = placements(rows.values())
    points = {
        n: (placed[n](at), truth.placements[n](at))
        for n in truth.with_tissue
        if n in placed
        for at in [_tissue_um(truth, n)]
    }
    errors = _errors_mm(points, [n for n in points if rows[n].status == tables.OK])
    largest = 0.0
    for number in truth.with_tissue:
        if number not in rows:
            result.silent.append(f"section {number}: not in the stack")
            continue
        own = rows[number].status
        if number not in errors:
            result.said.append(f"section {number}: {own}")
            continue
        wrong = []
        if placed[number].mirrored != truth.placements[number].mirrored:
            wrong.append("wrong handedness")
        elif errors[number] > TIMES * _PLACE_GOAL_MM:
            wrong.append(f"{errors[number]:.1f} mm off")
        if own == tables.OK:
            largest = max(largest, errors[number])
        if wrong:
            words = f"section {number}: {' and '.join(wrong)}"
            (result.silent if own == tables.OK else result.said).append(
                words if own == tables.OK else f"{words} ({own})"
            )
    result.errors.append(f"worst section with status ok {largest:.2f} mm off")


def _tissue_um(truth: TruthBrain, section: int) -> Floats:
    pixels = np.argwhere(truth.page(section, "tissue") > 0)[::_STEP, ::-1].astype(float)
    return pixels_to_section(pixels, truth.spacing_um, truth.full_spacing_um[section])


def _errors_mm(
    points: dict[int, tuple[Floats, Floats]], certain: Sequence[int]
) -> dict[int, float]:
    """Median distance of each section from its true place, after the best rigid fit of the stack.

    The fit is that of the certain section with which most certain ones agree: sections that are far
    off do not spoil it, nor do those whose place is uncertain. The section that all others are
    placed against is certain, whatever became of the others.
    """
    certain = certain or list(points)

    def distances(fit: Any) -> dict[int, float]:
        return {
            n: float(np.median(np.linalg.norm(fit(own) - true, axis=1))) / 1000
            for n, (own, true) in points.items()
        }

    if not points:
        return {}
    fits = [fit_rigid(*points[n], "stack", "true stack") for n in certain]
    near = [
        [n for n, mm in distances(fit).items() if mm <= _PLACE_GOAL_MM and n in certain]
        for fit in fits
    ]
    chosen = max(near, key=len) or certain[:1]  # a wrong handedness fits nothing
    own, true = (np.concatenate([points[n][side] for n in chosen]) for side in (0, 1))
    return distances(fit_rigid(own, true, "stack", "true stack"))


def _words(folder: Path, brain: str, of_sections: bool) -> list[str]:
    """What `cytopipe status` says about a brain, with or without its single sections."""
    config = study_config.read(folder / "config" / "config.yaml")
    sections = [s for s in read_sections(folder / "config" / "sections.tsv") if s.brain == brain]
    lines = status.lines_of(folder, brain, "seen", sections, config)[1:]
    lines = [_plain(line, folder) for line in lines]
    lines = [line for line in lines if not re.match(r"files: |\d+ (proposals|findings)", line)]
    about_sections = re.compile(r"\d+ [^:]+: \d|accepted pairs")
    return [line for line in lines if of_sections or not about_sections.match(line)]


def _coordinates(folder: Path, brain: str, result: Outcome) -> None:
    truth = TruthBrain(folder / "truth", brain)
    results = folder / "results"
    points = tables.read(tables.PointRow, results / "coordinates" / brain / "points.parquet")
    usable = points[(points["status"] == "ok") & points["section"].isin(truth.with_tissue)]
    if not len(usable):
        statuses = ", ".join(sorted(set(points["status"])))
        result.said += [f"no point is ok, but {statuses}", *_words(folder, brain, of_sections=True)]
        return
    true_mm = np.concatenate(
        [np.empty((0, 3)), *(_true_mm(truth, n, own) for n, own in usable.groupby("section"))]
    )
    usable = usable.sort_values("section", kind="stable")
    off_mm = np.linalg.norm(usable[["x_mm", "y_mm", "z_mm"]].to_numpy() - true_mm, axis=1)
    side = np.where(true_mm[:, 0] > 0, "R", "L")
    # within 3 mm of the midline the side is a matter of definition
    clear = np.abs(true_mm[:, 0]) > 3
    swapped = float((usable["hemisphere"].to_numpy() != side)[clear].mean())
    missed = _missed(folder, brain, truth, points)
    measures = [
        ("coordinate, median", np.median(off_mm), "mm", limit("coordinate", "median"), False),
        ("coordinate, 95 %", np.percentile(off_mm, 95), "mm", limit("coordinate", "95"), False),
        ("points on the wrong side", 100 * swapped, "%", 1.0, False),
        ("midline missed", 100 * missed, "%", 100 * limit("coverage"), False),
        # a section without a place is a word about lost volume, not about a wrong coordinate
        ("volume lost", 100 * _lost_volume(folder, brain), "%", 100 * limit("coverage"), True),
    ]
    for name, value, unit, most, of_sections in measures:
        result.errors.append(f"{name} {value:.1f} {unit}")
        if value > most:
            words = _words(folder, brain, of_sections)
            (result.said if words else result.silent).append(f"{name} {value:.1f} {unit}")
            result.said += [line for line in words if line not in result.said]


def _true_mm(truth: TruthBrain, section: int, points: pd.DataFrame) -> Floats:
    at_um = points[["x_um", "y_um"]].to_numpy()
    pixels = section_to_pixels(at_um, truth.coordinates_spacing_um, truth.full_spacing_um[section])
    pages = truth.coordinates(section)
    return np.stack(
        [
            ndimage.map_coordinates(page, pixels[:, ::-1].T, order=1, mode="nearest")
            for page in pages
        ],
        axis=1,
    )


def _missed(folder: Path, brain: str, truth: TruthBrain, points: pd.DataFrame) -> float:
    """The share of the true midline of all sections with a certain place that has no point near."""
    stack = folder / "results" / "alignment" / brain / "stack.parquet"
    certain = [r.section for r in tables.read_rows(tables.StackRow, stack) if r.status == tables.OK]
    config = study_config.read(folder / "config" / "config.yaml")
    reach_um = scoring.REACH_SPACINGS * config["midline"]["spacing_mm"] * 1000
    missed = [np.zeros(0)]
    for section in set(certain) & set(truth.with_tissue):
        own = points[(points["section"] == section) & (points["status"] == "ok")]
        distance, _ = cKDTree(own[["x_um", "y_um"]].to_numpy()).query(midline_um(truth, section))
        missed.append(distance > reach_um)
    return float(np.concatenate(missed).mean())


def _lost_volume(folder: Path, brain: str) -> float:
    """The share of the true tissue's volume that the reconstruction lacks, gaps included."""
    paths = (
        folder / "results" / "reconstruction" / brain / "tissue.nii.gz",
        folder / "truth" / brain / "tissue.nii.gz",
    )
    own, true = (
        float(np.count_nonzero(v.data) * np.prod(v.voxel_mm)) for v in map(volumes.read, paths)
    )
    return 1 - own / true


def _folds(folder: Path, brain: str, result: Outcome) -> None:
    truth = TruthBrain(folder / "truth", brain)
    results = folder / "results" / "midsurface" / brain
    estimated = {h: surfaces.read(results / f"hemi-{h}_mid.surf.gii") for h in "LR"}
    mids = true_mids(truth)
    tissue = volumes.read(folder / "results" / "reconstruction" / brain / "tissue.nii.gz")
    voxel_mm = float(tissue.voxel_mm[0])
    samples = surface_samples(truth, estimated, mids, truth.placements, voxel_mm)
    far = float(np.mean(samples["cortex_mm"] > 1.5))
    measures = [
        ("mid-surface, median mm", np.median(samples["surface_mm"]), limit("surface_mm", "median")),
        (
            "mid-surface, 95 % mm",
            np.percentile(samples["surface_mm"], 95),
            limit("surface_mm", "95"),
        ),
        ("share of cortex beyond 1.5 mm", far, limit("cortex_mm")),
    ]
    result.errors += [f"{name} {value:.2f}" for name, value, _ in measures]
    wrong = [f"{name} {value:.2f}" for name, value, most in measures if value > most]
    rows = tables.read_rows(tables.SurfaceRow, results / "surfaces.parquet")
    words = [f"{row.hemisphere}: {row.status}" for row in rows if not row.is_ok]
    if wrong:
        (result.said if words else result.silent).extend(wrong)
        result.said += words
