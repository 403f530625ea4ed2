"""The truth table: the results on a phantom compared with its ground truth.

Reads only the study's `truth/` folder and the results. Each metric is computed per brain and, over
the samples of all brains together, for "all".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cytopipe import logs, provenance
from cytopipe.files import Output
from cytopipe.formats import surfaces, tables, transforms, truth_table, volumes
from cytopipe.formats.atlas import read_label_names
from cytopipe.mapping.scoring import read_map
from cytopipe.numerics.geometry import Floats
from cytopipe.study.config import Goals
from cytopipe.truth.exclusion_errors import dice_of_columns, exclusion_samples
from cytopipe.truth.ground_truth import TruthBrain, placements
from cytopipe.truth.map_errors import map_rows, true_areas
from cytopipe.truth.point_errors import coordinate_samples, coverage_samples, depth_samples
from cytopipe.truth.section_errors import (
    Samples,
    drift,
    label_samples,
    mirror_samples,
    pair_samples,
)
from cytopipe.truth.surface_errors import surface_samples
from cytopipe.truth.true_surface import true_mids

# a pretrained network is clearly better if its mean macro-F1 exceeds the best baseline's by this;
# chosen, not measured
F1_MARGIN = 0.05
# the splits with this goal, which is missed without scores
GOAL_SPLITS = ("seen", "transfer")
# a point covers the true midline within this many point spacings; chosen, not measured
REACH_SPACINGS = 1.5

Reduce = Callable[[Floats], float]


@dataclass(frozen=True)
class Metric:
    """One line of the table.

    Attributes
    ----------
    name, unit : as printed.
    samples : key of the samples from which it is computed.
    reduce : from samples to the value; NaN, which meets no goal, if there are none.
    relation, goal : "at least", "at most" or "exactly" a number; "" if only reported.
    """

    name: str
    unit: str
    samples: str
    reduce: Reduce
    relation: str = ""
    goal: float = float("nan")


def judged(
    name: str, brain: str, value: float, unit: str, relation: str, goal: float
) -> tables.TruthRow:
    """A row of the table, with its goal in words and whether it is met, up to rounding."""
    meets = {
        "at least": value >= goal - 1e-9,
        "at most": value <= goal + 1e-9,
        "exactly": abs(value - goal) <= 1e-9,
    }
    return tables.TruthRow(
        metric=name,
        brain=brain,
        value=value,
        unit=unit,
        goal=f"{relation} {goal:g}" if relation else "",
        met=("yes" if meets[relation] else "no") if relation else "",
    )


def _of_any(reduce: Callable[[Floats], Any]) -> Reduce:
    return lambda samples: float(reduce(samples)) if len(samples) else float("nan")


median = _of_any(np.median)
mean = _of_any(np.mean)
worst = _of_any(np.max)
least = _of_any(np.min)
p95 = _of_any(lambda samples: np.percentile(samples, 95))


def count(samples: Floats) -> float:
    """The number of occurrences; 0 without samples."""
    return float(samples.sum())


def _column(number: int, reduce: Reduce) -> Reduce:
    return lambda samples: reduce(samples[:, number])


def metrics(goals: Goals, target: str) -> list[Metric]:
    """All metrics in the order of the table; `target` is the refinement's."""
    high, low, equal = "at least", "at most", "exactly"
    px = "px of 256 um"
    within = _of_any(lambda distances: np.mean(distances <= 1.5))

    def limited(relation: str, goal: float | None) -> tuple[str, float]:
        return ("", float("nan")) if goal is None else (relation, goal)

    return [
        Metric("Dice of gray matter, median, good sections", "", "dice_gray", median, high,
               goals.dice_gray),
        Metric("Dice of white matter, median, good sections", "", "dice_white", median, high,
               goals.dice_white),
        # a median hides sections that failed completely
        Metric("good sections with a gray Dice below 0.8", "sections", "dice_gray",
               lambda dice: float((dice < 0.8).sum())),
        Metric("mirrored sections found", "share", "mirrored_found", mean, equal, 1),
        Metric("falsely called mirrored", "sections", "mirrored_invented", count, equal, 0),
        Metric("sections with tissue but no transform", "sections", "unplaced", count),
        Metric("pair error at the border, median", px, "pair_error", median, low, 1),
        Metric("pair error at the border, worst", px, "pair_error", worst, low, 3),
        Metric("pairs with tissue accepted", "share", "pair_accepted", mean, equal, 1),
        Metric("pole pairs beyond 3 px, no status", "pairs", "pole_pair_wrong", count, equal, 0),
        Metric("drift after a global rigid fit, median", "mm", "drift_mm", median, low, 1),
        Metric("drift after a global rigid fit, 95 %", "mm", "drift_mm", p95, low, 3),
        Metric("exclusion mask of the lab, Dice", "", "exclusion_lab", dice_of_columns, high, 0.9),
        Metric("exclusion mask proposed, Dice", "", "exclusion_proposed", dice_of_columns, high,
               0.9),
        Metric("mid-surface to true mid-depth, median", "mm", "surface_mm", median,
               *limited(low, goals.surface_median_mm)),
        Metric("mid-surface to true mid-depth, 95 %", "mm", "surface_mm", p95,
               *limited(low, goals.surface_95_mm)),
        Metric("true mid-depth within 1.5 mm of mid-surface", "share", "cortex_mm", within,
               *limited(high, goals.cortex_1_5_mm_share)),
        Metric("mid-surface to true mid-depth, median", "voxels", "surface_voxel", median,
               *limited(low, goals.surface_median_voxels)),
        Metric("mid-surface to true mid-depth, 95 %", "voxels", "surface_voxel", p95,
               *limited(low, goals.surface_95_voxels)),
        Metric("true mid-depth to mid-surface, 95 %", "voxels", "cortex_voxel", p95,
               *limited(low, goals.cortex_95_voxels)),
        Metric("true mid-depth within 1.5 voxels of mid-surface", "share", "cortex_voxel", within,
               *limited(high, goals.cortex_1_5_voxels_share)),
        Metric("hemispheres closed, manifold, Euler 2", "share", "sphere", mean, equal, 1),
        Metric("edges of 0.8 to 1.33 voxels, worst mesh", "share", "edges", least, high, 0.9),
        Metric(f"refined points within 0.1 of depth 0.5 ({target})", "share", "depth",
               _column(0, mean), high, goals.middle_points),
        Metric("the same points before refinement", "share", "depth", _column(1, mean)),
        Metric("gain of the refinement", "share", "depth",
               lambda depth: mean(depth[:, 0]) - mean(depth[:, 1]), high, 0.001),
        Metric("true midline within 1.5 spacings, certain sections", "share", "coverage", mean,
               high, 0.97),
        Metric("true midline in sections of uncertain place", "share", "uncertain_midline", mean),
        Metric("points of the wrong hemisphere", "points", "wrong_hemisphere", count, equal, 0),
        Metric("coordinate, no drift, median", "mm", "coordinate", _column(0, median), low, 1.2),
        Metric("coordinate, no drift, 95 %", "mm", "coordinate", _column(0, p95), low, 3),
        Metric("the same, affine only, median", "mm", "coordinate", _column(1, median)),
        Metric("median over the affine's median", "ratio", "coordinate",
               lambda mm: median(mm[:, 0]) / max(median(mm[:, 1]), 1e-12), low, 0.5),
        Metric("coordinate with drift, median", "mm", "coordinate_total", median),
        Metric("coordinate with drift, 95 %", "mm", "coordinate_total", p95),
    ]  # fmt: skip


def score(samples: dict[str, Samples], goals: Goals, target: str) -> list[tables.TruthRow]:
    """Rows of all metrics for each brain and for the samples of all brains together.

    Only the exclusion masks have no samples where a brain has no mask.
    """
    rows = []
    for metric in metrics(goals, target):
        by_brain = {
            brain: of_brain[metric.samples]
            for brain, of_brain in samples.items()
            if metric.samples in of_brain
        }
        if len(by_brain) > 1:
            by_brain["all"] = np.concatenate(list(by_brain.values()))
        for brain, values in by_brain.items():
            value = metric.reduce(values)
            rows.append(
                judged(metric.name, brain, value, metric.unit, metric.relation, metric.goal)
            )
    return rows


def probe_rows(scores: pd.DataFrame, baselines: Sequence[str]) -> list[tables.TruthRow]:
    """The macro-F1 of areas of each pretrained run, and how far it exceeds the best baseline's.

    Parameters
    ----------
    scores : ScoreRow of all runs.
    baselines : runs without pretraining (untrained network, mean profiles).
    """
    scores = scores[(scores["task"] == "areas") & (scores["metric"] == "macro_f1")]
    means = scores.pivot_table("value", "run", "split", aggfunc="mean", sort=False)
    # a goal without scores is NaN, and missed
    means = means.reindex(columns=list(dict.fromkeys([*GOAL_SPLITS, *scores["split"]])))
    is_baseline = means.index.isin(baselines)
    rows: list[tables.TruthRow] = []
    for split, of_run in means.items():
        known = of_run[is_baseline].dropna()
        best, name = (known.max(), known.idxmax()) if len(known) else (float("nan"), "missing")
        for run, value in of_run[~is_baseline].items():
            title = f"macro-F1 of areas, {split}: {run}"
            rows.append(judged(title, "all", float(value), "", "", float("nan")))
            title += f" above {name} (best baseline)"
            goal = ("at least", F1_MARGIN) if split in GOAL_SPLITS else ("", float("nan"))
            rows.append(judged(title, "all", float(value - best), "", *goal))
    return rows


@provenance.recorded
def run(
    *,
    folder: Path,
    brains: list[str],
    labels: list[Path],
    segmentations: list[Path],
    pairs: list[Path],
    stacks: list[Path],
    wholes: list[Path],
    exclusions: list[Path],
    proposals: list[Path],
    tissues: list[Path],
    surfaces_left: list[Path],
    surfaces_right: list[Path],
    midlines: list[Path],
    points: list[Path],
    affines: list[Path],
    scores: list[Path],
    areas: dict[str, Path],
    area_names: Path | None,
    table: Output,
    roles: dict[str, str],
    masked: list[str],
    goals: Goals,
    target: str,
    spacing_mm: float,
    baselines: list[str],
) -> None:
    """Score all brains of a phantom study.

    Parameters
    ----------
    folder : the study's `truth`.
    labels, segmentations : label files of all chunks of all brains, and their tables.
    pairs, stacks, tissues, surfaces_left, surfaces_right, points, affines : in order of `brains`.
    wholes : the reconstructions before anything is excluded, in order of `brains`.
    exclusions, masked : the lab's exclusion masks, and their brains.
    proposals : proposed exclusion masks, in order of `brains`, or nothing.
    midlines : of all chunks of all brains.
    scores : ScoreRow of the runs.
    areas : brain to its map (MapRow); empty without maps.
    area_names : table of the labels of areas, which are those of the template's atlas.
    table : written: the truth table.
    roles : role of each brain.
    goals : those that depend on the phantom.
    target, spacing_mm : the midline's refinement target and point spacing.
    baselines : the runs with which pretrained networks are compared.
    """
    segmented = tables.read_segmentation(segmentations, labels)
    midline = pd.concat([tables.read(tables.MidlineRow, path) for path in midlines])
    samples: dict[str, Samples] = {}
    for number, brain in enumerate(logs.progress(brains, len(brains), "truth")):
        truth = TruthBrain(folder, brain)
        stack = tables.read_rows(tables.StackRow, stacks[number])
        placed = placements(stack)
        uncertain = {row.section for row in stack if row.is_uncertain}
        drifted = drift(truth, placed)
        read = {
            "L": surfaces.read(surfaces_left[number]),
            "R": surfaces.read(surfaces_right[number]),
        }
        estimated = {side: surface for side, surface in read.items() if not surface.is_empty}
        voxel_mm = float(volumes.read(tissues[number]).voxel_mm[0])
        mids = true_mids(truth)
        exclusion_masks = dict(zip(masked, exclusions, strict=True))
        mask_paths = {
            **({"exclusion_lab": exclusion_masks[brain]} if brain in exclusion_masks else {}),
            **({"exclusion_proposed": proposals[number]} if proposals else {}),
        }
        of_brain = midline[midline["brain"] == brain]
        samples[brain] = {
            **label_samples(truth, [pair for pair in segmented if pair[0].brain == brain]),
            **mirror_samples(truth, placed),
            **pair_samples(truth, tables.read_rows(tables.PairRow, pairs[number])),
            "drift_mm": drifted.distance_mm,
            **exclusion_samples(truth, placed, volumes.read(wholes[number]), mask_paths),
            **surface_samples(truth, estimated, mids, placed, voxel_mm),
            **depth_samples(truth, of_brain, mids),
            **coverage_samples(truth, of_brain, REACH_SPACINGS * spacing_mm * 1000, uncertain),
            **coordinate_samples(
                truth,
                tables.read(tables.PointRow, points[number]),
                placed,
                drifted.fit,
                transforms.read(affines[number], brain, "template", moves="points"),
            ),
        }
    rows = score(samples, goals, target)
    if scores:
        rows += probe_rows(pd.concat([tables.read(tables.ScoreRow, s) for s in scores]), baselines)
    if areas and area_names:
        names = read_label_names(area_names)
        of_brains = {}
        for brain, path in zip(brains, points, strict=True):
            of_points, of_map = read_map(path, areas[brain])
            of_brains[brain] = true_areas(TruthBrain(folder, brain), of_points, names), of_map
        rows += map_rows(of_brains, roles)
    truth_table.write(rows, table)
