"""Task `shortcuts`: what can be read off features that has nothing to do with cytoarchitecture.

CytoNet 7.6 shows in one figure that SimCLR groups patches by vessels and the shape of the tissue.
Here a linear probe says how well each such property, and beside them area and position, can be
read off the features. Beyond the papers.

A patch shares pixels with its neighbours and anatomy with those of the next sections: a random
split would test on what was trained on. Points are therefore split by slabs, groups of sections.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import RidgeClassifierCV, RidgeCV
from sklearn.metrics import r2_score
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cytopipe import provenance
from cytopipe.evaluation import charts, staining
from cytopipe.evaluation.samples import read_samples, write_scores
from cytopipe.evaluation.similarity import unit
from cytopipe.files import Output
from cytopipe.learning import checkpoints, distributed
from cytopipe.logs import info
from cytopipe.study.config import ShortcutsTask
from cytopipe.study.sections import Section

Values = NDArray[np.float32]
Groups = NDArray[np.int64]
TURNS = 4  # by 0, 90, 180 and 270 degrees
LEAST = 10  # points of a hemisphere of a section, for it to be told from the next one
_PENALTIES = np.logspace(-2, 5, 8)
_SHOWN_FROM = -0.25


def read_class(values: Values, labels: NDArray[np.str_], folds: Groups) -> float:
    """Balanced accuracy with which a linear probe names the label of points of other folds.

    The mean recall of the labels: chance is 1 / labels, however often each occurs. NaN without two
    labels and two folds. The probe is a ridge classifier on standardised features; its penalty is
    chosen by generalised cross-validation on its training points.
    """
    if len(np.unique(labels)) < 2:
        return float("nan")
    found = np.full(len(labels), "", object)
    for fold in np.unique(folds):
        test = folds == fold
        if len(np.unique(labels[~test])) < 2:
            return float("nan")
        probe = make_pipeline(
            StandardScaler(), RidgeClassifierCV(_PENALTIES, class_weight="balanced")
        )
        found[test] = probe.fit(values[~test].astype(float), labels[~test]).predict(
            values[test].astype(float)
        )
    recalls = [np.mean(found[labels == label] == label) for label in np.unique(labels)]
    return float(np.mean(recalls))


def read_number(values: Values, targets: NDArray[np.floating], folds: Groups) -> float:
    """R2 with which a linear probe predicts a number of points of other folds; chance is 0.

    One R2 over the predictions of all folds. NaN targets are left out; NaN without two folds or
    with a constant target.
    """
    known = np.isfinite(targets)
    values, targets, folds = values[known].astype(float), targets[known], folds[known]
    if len(np.unique(folds)) < 2 or np.ptp(targets) == 0:
        return float("nan")
    found = np.empty(len(targets))
    for fold in np.unique(folds):
        test = folds == fold
        probe = make_pipeline(StandardScaler(), RidgeCV(_PENALTIES))
        found[test] = probe.fit(values[~test], targets[~test]).predict(values[test])
    return float(r2_score(targets, found))


def tell_sections_apart(
    values: Values, points: pd.DataFrame, pairs: int, seed: int
) -> NDArray[np.float64]:
    """Accuracy for pairs of adjacent sections of one brain; chance is 0.5.

    A probe learns on one hemisphere which of two sections a point is of, and is tested on the
    other, both ways: what it finds belongs to the section as a whole, such as its staining. Where
    sections are millimetres apart, anatomy that changes on both sides alike counts as well.
    """
    section, side = points.section.to_numpy(), points.hemisphere.to_numpy(str)
    counts = pd.crosstab(section, side)
    if not {"L", "R"} <= set(counts):
        return np.array([])
    enough = {int(number) for number in counts.index[(counts[["L", "R"]] >= LEAST).all(axis=1)]}
    candidates = [p for p in pairwise(np.unique(section).tolist()) if enough.issuperset(p)]
    drawn = np.random.default_rng(seed).permutation(len(candidates))[:pairs]
    found = []
    for one, other in (candidates[number] for number in drawn):
        here = (section == one) | (section == other)
        folds = (side[here] == "R").astype(np.int64)
        found.append(read_class(values[here], section[here].astype(str), folds))
    return np.array(found)


def turned_distance(turned: Values) -> float:
    """How far features move when a patch is turned, in units of the distance of two patches.

    Parameters
    ----------
    turned : (n, turns, d), the first turn being none. 0: turning changes nothing; 1: a turned patch
        is as far from itself as from any other.
    """
    count, turns, _ = turned.shape
    directions = unit(turned.reshape(count * turns, -1)).reshape(turned.shape).astype(float)
    own = 1 - (directions[:, :1] * directions[:, 1:]).sum(-1).mean()
    total = directions[:, 0].sum(0)
    others = 1 - (total @ total - np.square(directions[:, 0]).sum()) / (count * (count - 1))
    return float(own / others) if others > 0 else float("nan")


def foreignness(
    values: Values, brains: NDArray[np.str_], roles: Mapping[str, str], neighbours: int
) -> dict[str, float]:
    """How far a brain's points are from those of pretrained brains, 1 for a pretrained brain.

    Of each point, the mean distance (of unit vectors) to its nearest points in pretrained brains
    other than its own; of a brain, the median; in units of the mean of the pretrained brains. For
    an unseen brain each pretrained brain is left out in turn, so that all search equally many.
    Empty with fewer than two pretrained brains.
    """
    present = [brain for brain in roles if (brains == brain).any()]
    pretrained = [brain for brain in present if roles[brain] != "unseen"]
    if len(pretrained) < 2:
        return {}
    directions = unit(values)
    medians: dict[str, list[float]] = {brain: [] for brain in present}
    for left_out in pretrained:
        others = directions[np.isin(brains, pretrained) & (brains != left_out)]
        search = NearestNeighbors(n_neighbors=min(neighbours, len(others))).fit(others)
        for brain in present:
            if brain == left_out or roles[brain] == "unseen":
                distances = search.kneighbors(directions[brains == brain])[0].mean(1)
                medians[brain].append(float(np.median(distances)))
    scale = np.mean([medians[brain][0] for brain in pretrained])
    return {brain: float(np.mean(found) / scale) for brain, found in medians.items()}


def embed_turned(
    weights: Path, windows: NDArray[np.uint8], batch_size: int
) -> tuple[Values, Values]:
    """Backbone and projected features (n, 4, d) of patches turned by quarters of a turn."""
    encoder, _ = checkpoints.load_encoder(weights)
    encoder.to(distributed.world().device)
    turned = np.stack([np.rot90(windows, turn, (1, 2)) for turn in range(TURNS)], axis=1)
    flat = turned.reshape(-1, *windows.shape[1:])
    parts = [
        encoder.embed(flat[start : start + batch_size]) for start in range(0, len(flat), batch_size)
    ]
    backbone, projected = (
        np.concatenate(of_kind).reshape(len(windows), TURNS, -1)
        for of_kind in zip(*parts, strict=True)
    )
    return backbone, projected


def folds_of(points: pd.DataFrame, slab_mm: float, folds: int) -> Groups:
    """Fold of each point: slabs along the cutting axis, dealt in turn."""
    slabs = np.floor(points.z_stack_um.to_numpy() / 1000 / slab_mm).astype(np.int64)
    return slabs % folds


@provenance.recorded
def run_shortcuts(
    *,
    points: Mapping[str, Path],
    backbone: Mapping[str, Path],
    projected: Mapping[str, Path],
    rows: Mapping[str, Path],
    roles: Mapping[str, str],
    sections: Sequence[Section],
    segmentation: Sequence[Path],
    labels: Sequence[Path],
    weights: Path | None,
    patch_px: int,
    spacing_um: float,
    scores: Output,
    html: Output,
    run: str,
    threads: int,
    params: ShortcutsTask,
) -> None:
    """Score what a linear probe reads off the features of one run, and how foreign brains are.

    A score's split is `backbone` or `projected`. Metrics `brain`, `section`, `rotation`, `area`,
    `hemisphere` and `vessels` (a patch has some) are balanced accuracies, `patch_intensity`,
    `section_staining`, `x_mm`, `y_mm` and `z_mm` are R2; each has a ` chance`. `turned_distance` is
    0 for features that do not change with a turn of the patch (chance, 1: any other patch),
    `foreignness of BRAIN` is 1 for a brain like those of the pretraining.

    Parameters
    ----------
    points, rows : brain to its points (PointRow) and the table of its features' rows.
    backbone, projected : brain to its .npy array; `projected` is empty for features without a head.
    roles : brain to role.
    sections : of these brains; `image` is the pyramid that is read.
    segmentation, labels : table and label file of each of their chunks, in the same order.
    weights : final.pt of the run, for turned patches; None for features without a network.
    patch_px, spacing_um : of the patches that the run's features are of.
    scores, html : the table (ScoreRow) and the page of figures to write.
    threads : that libraries may take (`cytopipe.threads`).

    Raises
    ------
    InputError
        If rows and points differ, no brain has a usable point, or a patch cannot be read.
    """
    kinds = {"backbone": backbone, "projected": projected}
    kinds = {split: arrays for split, arrays in kinds.items() if arrays}
    samples = {
        split: read_samples(points, arrays, rows, most=params.points_per_brain, seed=params.seed)
        for split, arrays in kinds.items()
    }
    table = samples["backbone"].points
    windows, measured = staining.measure(
        table, sections, segmentation, labels, patch_px, spacing_um
    )
    few = table.groupby("brain").sample(frac=1, random_state=params.seed)
    few = few.groupby("brain").head(params.turned_per_brain)
    turned: dict[str, Values] = {}
    if weights is not None:
        of_both = embed_turned(weights, windows[few.index], params.batch_size)
        turned = dict(zip(("backbone", "projected"), of_both, strict=True))
    found: list[tuple[str, str, float, float]] = []
    strange: dict[str, dict[str, float]] = {}
    for split, arrays in kinds.items():
        values = samples[split].values
        for name, value, chance in _read(values, table, measured, params):
            found.append((split, name, value, chance))
        accuracies = [
            tell_sections_apart(mine.values, mine.points, params.section_pairs, params.seed)
            for mine in (
                read_samples({brain: points[brain]}, arrays, rows, most=None, seed=0)
                for brain in table.brain.unique()
            )
        ]
        pairs = np.concatenate(accuracies)
        found.append((split, "section", float(pairs.mean()) if len(pairs) else np.nan, 0.5))
        if split in turned:
            folds = np.repeat(folds_of(few, params.slab_mm, params.folds), TURNS)
            flat = turned[split].reshape(len(folds), -1)
            turns = np.tile(np.arange(TURNS), len(few)).astype(str)
            found.append((split, "rotation", read_class(flat, turns, folds), 1 / TURNS))
            found.append((split, "turned_distance", turned_distance(turned[split]), 1.0))
        brains = table.brain.to_numpy(str)
        strange[split] = foreignness(values, brains, roles, params.neighbours)
        found += [(split, f"foreignness of {b}", v, 1.0) for b, v in strange[split].items()]
    found = [score for score in found if np.isfinite(score[2])]
    for split in kinds:
        said = (f"{name} {value:.2f}" for kind, name, value, _ in found if kind == split)
        info(f"{run}: {split}, {', '.join(said)}")
    charts.write(
        f"Shortcuts of {run}",
        _panels(found, strange, roles, params),
        html,
    )
    rows_of_scores = [(split, 0, name, value) for split, name, value, _ in found]
    rows_of_scores += [(split, 0, f"{name} chance", chance) for split, name, _, chance in found]
    write_scores(scores, run, "shortcuts", rows_of_scores)


def _read(
    values: Values, table: pd.DataFrame, measured: pd.DataFrame, params: ShortcutsTask
) -> list[tuple[str, float, float]]:
    """Name, score and chance of all that is read off the sampled points."""
    folds = folds_of(table, params.slab_mm, params.folds)
    found = []
    for name in ("area", "hemisphere", "brain"):
        label = table[name].to_numpy(str)
        known = label != ""
        chance = 1 / max(1, len(np.unique(label[known])))
        found.append((name, read_class(values[known], label[known], folds[known]), chance))
    # with or without: the share itself is 0 for most patches, and a torn section outweighs all
    vessels = measured.vessels.to_numpy()
    known = np.isfinite(vessels)
    seen = np.where(vessels > 0, "with", "without")
    found.append(("vessels", read_class(values[known], seen[known], folds[known]), 0.5))
    numbers = {name: table[name].to_numpy() for name in ("x_mm", "y_mm", "z_mm")}
    numbers |= {n: measured[n].to_numpy() for n in ("patch_intensity", "section_staining")}
    found += [(name, read_number(values, number, folds), 0.0) for name, number in numbers.items()]
    return found


_BIOLOGY = ("area", "x_mm", "y_mm", "z_mm", "hemisphere")


def _panels(
    found: Sequence[tuple[str, str, float, float]],
    strange: Mapping[str, Mapping[str, float]],
    roles: Mapping[str, str],
    params: ShortcutsTask,
) -> list[tuple[charts.Panel, str]]:
    """What is read, from chance (0) to perfection (1); and how foreign each brain is."""
    above = {
        (split, name): max(_SHOWN_FROM, (value - chance) / (1 - chance))
        for split, name, value, chance in found
        if chance < 1
    }
    names = list(dict.fromkeys(name for _, name in above))
    panels: list[tuple[charts.Panel, str]] = []
    for title, chosen in {
        "Position and area": [name for name in names if name in _BIOLOGY],
        "Shortcuts": [name for name in names if name not in _BIOLOGY],
    }.items():
        series = {
            split: ([above.get((split, n), np.nan) for n in chosen], [0.0] * len(chosen))
            for split in strange
        }
        panels.append(
            (
                charts.Bars(
                    title, "0 chance, 1 perfect", [n.replace("_", " ") for n in chosen], series
                ),
                "What a linear probe reads off the features of sections that it was not trained "
                "on: accuracies from chance to 1, R2 of numbers as it is (drawn from "
                f"{_SHOWN_FROM:g}).",
            )
        )
    of_brains = list(dict.fromkeys(brain for values in strange.values() for brain in values))
    if of_brains:
        series = {
            split: ([values.get(b, np.nan) for b in of_brains], [0.0] * len(of_brains))
            for split, values in strange.items()
        }
        panels.append(
            (
                charts.Bars(
                    "How foreign a brain is",
                    "distance, 1 as pretrained brains",
                    [f"{brain} ({roles[brain]})" for brain in of_brains],
                    series,
                ),
                f"Distance of a brain's points to their {params.neighbours} nearest points in "
                "other, pretrained brains, in units of that of the pretrained brains.",
            )
        )
    return panels
