"""The error of a row against the truth, what the program said, and the verdict.

A result is wrong if its error is more than three times what the goal of the truth table allows; a
section's result also if that much of its tissue is lost. The program said so if the status of that
very result is not ok, if an alarm speaks of it (`alarms`), or if the run ended with an explanation.
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
from cytopipe.truth import scoring
from cytopipe.truth.ground_truth import TruthBrain, placements
from cytopipe.truth.point_errors import midline_um
from cytopipe.truth.section_errors import POLE_SHARE, dice
from cytopipe.truth.surface_errors import surface_samples
from cytopipe.truth.true_surface import true_mids
from trust import alarms
from trust.disturbances import Disturbance
from trust.panel import Panel, targets

RIGHT, SAID, SILENT = "right", "said so", "silently wrong"
CRASH = "crash"
TIMES = 3.0
# a section is misplaced beyond three times the goal for the median of the drift
_PLACE_GOAL_MM = 1.0
# The goal is that no point lies on the wrong side. Up to this share, points beside the midline may
# lie there by the error of a border; chosen
_SWAPPED = 0.01
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

    def judge(self, wrong: str, words: Sequence[str]) -> None:
        """Note a wrong result, and what the program said about that very result."""
        if words:
            self.said.append(f"{wrong} ({'; '.join(words)})")
        else:
            self.silent.append(wrong)

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
        lost = float(((labels == 0) & (page > 0)).sum() / (page > 0).sum())
        # deep nuclei and cerebellum are neither: the exclusion mask takes them out
        depth = truth.page(true.section, "depth")
        excluded = (page == 1) & ~np.isfinite(depth)
        labels, page = (np.where(excluded, 0, image) for image in (labels, page))
        gray, white = dice(labels, page, 1), dice(labels, page, 2)
        for key, value in (("gray Dice", gray), ("white Dice", white)):
            worst[key] = min(worst[key], value)
        worst["lost"] = max(worst["lost"], lost)
        for what, value, error, largest, fault in (
            ("gray Dice", gray, 1 - gray, "dice_gray", alarms.main_fault(labels, page, 1)),
            ("white Dice", white, 1 - white, "dice_white", alarms.main_fault(labels, page, 2)),
            ("lost", lost, lost, "dice_gray", alarms.LOST),
        ):
            if error > limit(largest):
                words = alarms.remarks_on(row, fault)
                result.judge(f"{name}: {what} {value:.2f}", words)
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
    certain = [n for n in points if rows[n].status == tables.OK]
    errors = _errors_mm(points, certain)
    for number in truth.with_tissue:
        if number not in rows:
            result.silent.append(f"section {number}: not in the stack")
            continue
        own = rows[number].status
        name = f"section {number}"
        if number not in errors:
            result.said.append(f"{name}: {own}")
            continue
        words = [] if own == tables.OK else [own]
        if placed[number].mirrored != truth.placements[number].mirrored:
            result.judge(f"{name}: wrong handedness", words)
        elif errors[number] > TIMES * _PLACE_GOAL_MM:
            result.judge(f"{name}: {errors[number]:.1f} mm off", words)
    largest = max((errors[n] for n in certain), default=0.0)
    result.errors.append(
        f"{len(certain)} of {len(truth.with_tissue)} sections ok, the worst {largest:.2f} mm off"
    )


def _tissue_um(truth: TruthBrain, section: int) -> Floats:
    pixels = np.argwhere(truth.page(section, "tissue") > 0)[::_STEP, ::-1].astype(float)
    return pixels_to_section(pixels, truth.spacing_um, truth.full_spacing_um[section])


def _errors_mm(
    points: dict[int, tuple[Floats, Floats]], certain: Sequence[int]
) -> dict[int, float]:
    """Median distance of each section from its true place, after the best rigid fit of the stack.

    The fit is that of the section with which most others agree: sections that are far off do not
    spoil it. If most sections are certain, only those count. Otherwise all do: a lone certain
    section agrees with itself wherever it lies, but is wrong if it lies elsewhere than the brain.
    """
    voters = certain if 2 * len(certain) > len(points) else list(points)

    def distances(fit: Any) -> dict[int, float]:
        return {
            n: float(np.median(np.linalg.norm(fit(own) - true, axis=1))) / 1000
            for n, (own, true) in points.items()
        }

    if not points:
        return {}
    fits = [fit_rigid(*points[n], "stack", "true stack") for n in voters]
    near = [
        [n for n, mm in distances(fit).items() if mm <= _PLACE_GOAL_MM and n in voters]
        for fit in fits
    ]
    chosen = max(near, key=len) or voters[:1]  # a wrong handedness fits nothing
    own, true = (np.concatenate([points[n][side] for n in chosen]) for side in (0, 1))
    return distances(fit_rigid(own, true, "stack", "true stack"))


def _coordinates(folder: Path, brain: str, result: Outcome) -> None:
    truth = TruthBrain(folder / "truth", brain)
    results = folder / "results"
    points = tables.read(tables.PointRow, results / "coordinates" / brain / "points.parquet")
    usable = points[(points["status"] == "ok") & points["section"].isin(truth.with_tissue)]
    if not len(usable):
        statuses = ", ".join(sorted(set(points["status"])))
        words = alarms.about_coordinates(folder, brain)
        result.said += [f"no point is ok, but {statuses}", *words]
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
    missed, unmarked = _missed(folder, brain, truth, points)
    lost, unexplained = _lost_volume(folder, brain, truth)
    about_coordinates = alarms.about_coordinates(folder, brain)
    about_sides = alarms.about_sides(folder, brain)
    if swapped > _SWAPPED:  # a coordinate on the wrong side is far off
        about_coordinates += [word for word in about_sides if word not in about_coordinates]
    about_surfaces = alarms.about_surfaces(folder, brain)
    coverage = limit("coverage")
    if unmarked <= coverage:
        about_surfaces.append("points there, but none with status ok")
    about_volume = ["sections without labels or place"] if unexplained <= coverage else []
    for name, value, unit, most, words in (
        (
            "coordinate, median",
            np.median(off_mm),
            "mm",
            limit("coordinate", "median"),
            about_coordinates,
        ),
        (
            "coordinate, 95 %",
            np.percentile(off_mm, 95),
            "mm",
            limit("coordinate", "95"),
            about_coordinates,
        ),
        (
            "points on the wrong side",
            100 * swapped,
            "%",
            100 * _SWAPPED,
            about_sides,
        ),
        ("midline missed", 100 * missed, "%", 100 * coverage, about_surfaces),
        ("volume lost", 100 * lost, "%", 100 * coverage, about_volume),
    ):
        result.errors.append(f"{name} {value:.1f} {unit}")
        if value > most:
            result.judge(f"{name} {value:.1f} {unit}", words)


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


def _missed(
    folder: Path, brain: str, truth: TruthBrain, points: pd.DataFrame
) -> tuple[float, float]:
    """Shares of the true midline, in sections of certain place, that have no point near.

    Of the first share, no point with status ok is near; of the second, none of any status.
    """
    stack = folder / "results" / "alignment" / brain / "stack.parquet"
    certain = [r.section for r in tables.read_rows(tables.StackRow, stack) if r.status == tables.OK]
    config = study_config.read(folder / "config" / "config.yaml")
    reach_um = scoring.REACH_SPACINGS * config["midline"]["spacing_mm"] * 1000
    far = [np.zeros((2, 0), bool)]
    for section in set(certain) & set(truth.with_tissue):
        own = points[points["section"] == section]
        line_um = midline_um(truth, section)
        distances = [
            cKDTree(some[["x_um", "y_um"]].to_numpy()).query(line_um)[0]
            for some in (own[own["status"] == "ok"], own)
        ]
        far.append(np.stack(distances) > reach_um)
    without_ok, without_any = np.concatenate(far, axis=1).mean(axis=1)
    return float(without_ok), float(without_any)


def _lost_volume(folder: Path, brain: str, truth: TruthBrain) -> tuple[float, float]:
    """The share of the true tissue's volume that the reconstruction lacks, gaps included.

    The second share is without the sections that have no labels or no place, by their status.
    """
    reconstruction = folder / "results" / "reconstruction" / brain / "tissue.nii.gz"
    own, true = (
        float(np.count_nonzero(v.data) * np.prod(v.voxel_mm))
        for v in (volumes.read(reconstruction), truth.volume("tissue"))
    )
    stack = folder / "results" / "alignment" / brain / "stack.parquet"
    placed = placements(tables.read_rows(tables.StackRow, stack))
    without_place = sum(px for n, px in truth.tissue_px.items() if n not in placed)
    lost = 1 - own / true
    return lost, lost - without_place / sum(truth.tissue_px.values())


def _folds(folder: Path, brain: str, result: Outcome) -> None:
    truth = TruthBrain(folder / "truth", brain)
    results = folder / "results" / "midsurface" / brain
    mids = true_mids(truth)
    tissue = volumes.read(folder / "results" / "reconstruction" / brain / "tissue.nii.gz")
    voxel_mm = float(tissue.voxel_mm[0])
    for side in "LR":
        surface = surfaces.read(results / f"hemi-{side}_mid.surf.gii")
        samples = surface_samples(
            truth, {side: surface}, {side: mids[side]}, truth.placements, voxel_mm
        )
        words = alarms.about_surfaces(folder, brain, side)
        for name, value, most in (
            ("median mm", np.median(samples["surface_mm"]), limit("surface_mm", "median")),
            ("95 % mm", np.percentile(samples["surface_mm"], 95), limit("surface_mm", "95")),
            ("cortex beyond 1.5 mm", np.mean(samples["cortex_mm"] > 1.5), limit("cortex_mm")),
        ):
            result.errors.append(f"{side}: {name} {value:.2f}")
            if value > most:
                result.judge(f"{side}: {name} {value:.2f}", words)
