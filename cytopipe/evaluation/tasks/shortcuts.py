"""Task `shortcuts`: whether features encode properties that are not cytoarchitecture.

CytoNet 7.6 shows in a figure that SimCLR groups patches by vessels and the shape of the tissue.
This task goes beyond the papers: it returns how well a linear probe predicts each such property
and, for comparison, area and position.

A patch shares pixels with its neighbours, and anatomy with the next sections. Points are therefore
split by slabs (groups of sections), because a random split would test on the training data.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import RidgeClassifierCV, RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cytopipe import provenance
from cytopipe.evaluation import charts, staining
from cytopipe.evaluation.image_windows import Windows, read_windows
from cytopipe.evaluation.samples import find_samples, read_samples, write_scores
from cytopipe.evaluation.similarity import unit_vectors
from cytopipe.evaluation.stored_features import StoredFeatures
from cytopipe.files import Output
from cytopipe.learning import checkpoints, distributed
from cytopipe.logs import info
from cytopipe.numerics.geometry import Floats
from cytopipe.study.config import ShortcutsTask
from cytopipe.study.sections import Section

Values = NDArray[np.float32]
Groups = NDArray[np.int64]
Result = tuple[str, str, float, float]  # split, metric, value, chance
TURNS = 4  # by 0, 90, 180 and 270 degrees
LEAST = 10  # points of a section needed in each hemisphere; chosen, not measured
_PENALTIES = np.logspace(-2, 5, 8)  # chosen, not measured
_BIOLOGY = ("area", "x_mm", "y_mm", "z_mm", "hemisphere")
_SHOWN_FROM = -0.25  # lower scores are drawn here; chosen, not measured


def class_accuracy(values: Values, labels: NDArray[np.str_], folds: Groups) -> float:
    """Balanced accuracy with which a linear probe predicts the labels of points of other folds.

    This is the mean recall of the labels, so chance is 1 / labels, however often each occurs. NaN
    without two labels and two folds. The probe is a ridge classifier on standardised features,
    whose penalty is chosen by generalised cross-validation on the training points.
    """
    parts = [labels, *(labels[folds != fold] for fold in np.unique(folds))]
    if any(len(np.unique(part)) < 2 for part in parts):
        return float("nan")
    predicted = _predict(
        RidgeClassifierCV(_PENALTIES, class_weight="balanced"), values, labels, folds
    )
    return float(
        np.mean([np.mean(predicted[labels == name] == name) for name in np.unique(labels)])
    )


def number_r2(values: Values, targets: NDArray[np.floating], folds: Groups) -> float:
    """R2 with which a linear probe predicts the targets of points of other folds; chance is 0.

    One R2 over the predictions of all folds. NaN targets are left out. NaN without two folds or
    with a constant target.
    """
    known = np.isfinite(targets)
    targets, folds = targets[known], folds[known]
    if len(np.unique(folds)) < 2 or np.ptp(targets) == 0:
        return float("nan")
    return float(r2_score(targets, _predict(RidgeCV(_PENALTIES), values[known], targets, folds)))


def _predict(probe: Any, values: Values, targets: NDArray[Any], folds: Groups) -> NDArray[Any]:
    probe = make_pipeline(StandardScaler(), probe)
    split = PredefinedSplit(folds)
    return np.asarray(cross_val_predict(probe, values.astype(float), targets, cv=split))


def section_accuracies(
    values: Values | StoredFeatures, points: pd.DataFrame, pairs: int, seed: int
) -> Floats:
    """Accuracy of distinguishing adjacent sections of one brain, for each pair; chance is 0.5.

    A probe learns from one hemisphere to which of two sections a point belongs, and is tested on
    the other, both ways. It can only use properties of the section as a whole, such as staining. If
    sections are millimetres apart, anatomy that changes equally on both sides contributes too.
    """
    section, side = points.section.to_numpy(), points.hemisphere.to_numpy(str)
    counts = pd.crosstab(section, side)
    if not {"L", "R"} <= set(counts):
        return np.array([])
    enough = {int(number) for number in counts.index[(counts[["L", "R"]] >= LEAST).all(axis=1)]}
    candidates = [p for p in pairwise(np.unique(section).tolist()) if enough.issuperset(p)]
    drawn = np.random.default_rng(seed).permutation(len(candidates))[:pairs]
    accuracies = []
    for one, other in (candidates[number] for number in drawn):
        here = np.flatnonzero((section == one) | (section == other))
        folds = (side[here] == "R").astype(np.int64)
        accuracies.append(class_accuracy(values[here], section[here].astype(str), folds))
    return np.array(accuracies)


def rotated_distance(rotated: Values) -> float:
    """Mean distance of features of rotated and unrotated patches, over that of different patches.

    0: rotation changes nothing. 1: a rotated patch is as far from itself as from any other.

    Parameters
    ----------
    rotated : (n, turns, d); the first turn is unrotated.
    """
    count, turns, _ = rotated.shape
    flat = unit_vectors(rotated.reshape(count * turns, -1))
    directions = flat.reshape(rotated.shape).astype(float)
    own = 1 - (directions[:, :1] * directions[:, 1:]).sum(-1).mean()
    total = directions[:, 0].sum(0)
    others = 1 - (total @ total - np.square(directions[:, 0]).sum()) / (count * (count - 1))
    return float(own / others) if others > 0 else float("nan")


def foreignness(
    values: Values, brains: NDArray[np.str_], roles: Mapping[str, str], neighbours: int
) -> dict[str, float]:
    """How far each brain's points are from those of pretrained brains; 1 on average for those.

    For each point, the mean distance (of unit vectors) to its nearest points in pretrained brains
    other than its own; for a brain, the median, over the mean of the pretrained brains. For an
    unseen brain each pretrained brain is left out in turn, so that all brains search in equally
    many. Empty with fewer than two pretrained brains.
    """
    present = [brain for brain in roles if (brains == brain).any()]
    pretrained = [brain for brain in present if roles[brain] != "unseen"]
    if len(pretrained) < 2:
        return {}
    directions = unit_vectors(values)
    medians: dict[str, list[float]] = {brain: [] for brain in present}
    for left_out in pretrained:
        others = directions[np.isin(brains, pretrained) & (brains != left_out)]
        search = NearestNeighbors(n_neighbors=min(neighbours, len(others))).fit(others)
        for brain in present:
            if brain == left_out or roles[brain] == "unseen":
                distances = search.kneighbors(directions[brains == brain])[0].mean(1)
                medians[brain].append(float(np.median(distances)))
    scale = np.mean([medians[brain][0] for brain in pretrained])
    return {brain: float(np.mean(values) / scale) for brain, values in medians.items()}


def embed_rotated(weights: Path, parts: Iterable[Windows]) -> tuple[Values, Values]:
    """Backbone and projected features (n, 4, d) of patches rotated by quarter turns.

    Parameters
    ----------
    parts : the patches (n, px, px), some at a time.
    """
    encoder, _ = checkpoints.load_encoder(weights)
    encoder.to(distributed.world().device)
    embedded = []
    for windows in parts:
        rotated = np.stack([np.rot90(windows, turn, (1, 2)) for turn in range(TURNS)], axis=1)
        embedded.append(encoder.embed(rotated.reshape(-1, *windows.shape[1:])))
    backbone, projected = (
        np.concatenate(of_kind).reshape(-1, TURNS, of_kind[0].shape[1])
        for of_kind in zip(*embedded, strict=True)
    )
    return backbone, projected


def folds_of(points: pd.DataFrame, slab_mm: float, folds: int) -> Groups:
    """Fold of each point: slabs along the cutting axis are assigned to the folds in turn."""
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
    """Score what a linear probe predicts from the features of one run, and how foreign brains are.

    A score's split is `backbone` or `projected`. Metrics `brain`, `section`, `rotation`, `area`,
    `hemisphere` and `vessels` (whether a patch has any) are balanced accuracies, `patch_intensity`,
    `section_staining`, `x_mm`, `y_mm` and `z_mm` are R2. `turned_distance` is `rotated_distance`,
    `foreignness of BRAIN` is `foreignness`. Each metric has a ` chance`; for these two it is 1.

    Parameters
    ----------
    points, backbone, projected, rows, roles : as in `run_embedding`.
    sections, patch_px, spacing_um : as in `run_retrieval`.
    segmentation, labels : table and label file of each of their chunks, in the same order.
    weights : final.pt of the run, for rotated patches; None for features without a network.
    scores, html, run, threads : as in `run_areas`.

    Raises
    ------
    InputError
        If rows and points differ, no brain has a usable point, or a patch cannot be read.
    """
    arrays_of = {"backbone": backbone} | ({"projected": projected} if projected else {})
    samples = {
        split: read_samples(points, arrays, rows, most=params.points_per_brain, seed=params.seed)
        for split, arrays in arrays_of.items()
    }
    table = samples["backbone"].points
    brains = table.brain.to_numpy(str)
    measured = staining.measure(table, sections, segmentation, labels, patch_px, spacing_um)
    few = table.groupby("brain").sample(frac=1, random_state=params.seed)
    few = few.groupby("brain").head(params.turned_per_brain).sort_index()  # section by section
    rotated: dict[str, Values] = {}
    if weights is not None:
        step = max(1, params.batch_size // TURNS)
        parts = (few.iloc[start : start + step] for start in range(0, len(few), step))
        of_both = embed_rotated(
            weights, (read_windows(part, sections, patch_px, spacing_um) for part in parts)
        )
        rotated = dict(zip(("backbone", "projected"), of_both, strict=True))
    results: list[Result] = []
    foreign: dict[str, dict[str, float]] = {}
    for split, arrays in arrays_of.items():
        values = samples[split].values
        results += [(split, *each) for each in _of_points(values, table, measured, params)]
        accuracies = []
        for brain in table.brain.unique():
            own = find_samples({brain: points[brain]}, arrays, rows)
            own = own.where(own.features.finite())
            accuracies.append(
                section_accuracies(own.features, own.points, params.section_pairs, params.seed)
            )
        pairs = np.concatenate(accuracies)
        results.append((split, "section", float(pairs.mean()) if len(pairs) else np.nan, 0.5))
        if split in rotated:
            folds = np.repeat(folds_of(few, params.slab_mm, params.folds), TURNS)
            flat = rotated[split].reshape(len(folds), -1)
            turns = np.tile(np.arange(TURNS), len(few)).astype(str)
            results.append((split, "rotation", class_accuracy(flat, turns, folds), 1 / TURNS))
            results.append((split, "turned_distance", rotated_distance(rotated[split]), 1.0))
        foreign[split] = foreignness(values, brains, roles, params.neighbours)
        results += [(split, f"foreignness of {b}", v, 1.0) for b, v in foreign[split].items()]
    results = [result for result in results if np.isfinite(result[2])]
    for split in arrays_of:
        texts = (f"{name} {value:.2f}" for kind, name, value, _ in results if kind == split)
        info(f"{run}: {split}, {', '.join(texts)}")
    charts.write(f"Shortcuts of {run}", _panels(results, foreign, roles, params), html)
    listed = [(split, 0, name, value) for split, name, value, _ in results]
    listed += [(split, 0, f"{name} chance", chance) for split, name, _, chance in results]
    write_scores(scores, run, {"shortcuts": listed})


def _of_points(
    values: Values, table: pd.DataFrame, measured: pd.DataFrame, params: ShortcutsTask
) -> list[tuple[str, float, float]]:
    """Name, score and chance of everything that is predicted from the sampled points."""
    folds = folds_of(table, params.slab_mm, params.folds)
    results = []
    for name in ("area", "hemisphere", "brain"):
        label = table[name].to_numpy(str)
        known = label != ""
        chance = 1 / max(1, len(np.unique(label[known])))
        results.append((name, class_accuracy(values[known], label[known], folds[known]), chance))
    # with or without: the share is 0 for most patches, and a torn section would outweigh the rest
    vessels = measured.vessels.to_numpy()
    known = np.isfinite(vessels)
    label = np.where(vessels > 0, "with", "without")
    results.append(("vessels", class_accuracy(values[known], label[known], folds[known]), 0.5))
    numbers = {name: table[name].to_numpy() for name in ("x_mm", "y_mm", "z_mm")}
    numbers |= {n: measured[n].to_numpy() for n in ("patch_intensity", "section_staining")}
    return results + [(n, number_r2(values, number, folds), 0.0) for n, number in numbers.items()]


def _panels(
    results: Sequence[Result],
    foreign: Mapping[str, Mapping[str, float]],
    roles: Mapping[str, str],
    params: ShortcutsTask,
) -> list[charts.Panel]:
    """Scores scaled from chance (0) to perfect (1), and how foreign each brain is."""
    scaled = {
        (split, name): max(_SHOWN_FROM, (value - chance) / (1 - chance))
        for split, name, value, chance in results
        if chance < 1
    }
    names = list(dict.fromkeys(name for _, name in scaled))
    caption = (
        "What a linear probe reads off the features of sections that it was not trained "
        "on: accuracies from chance to 1, R2 of numbers as it is (drawn from "
        f"{_SHOWN_FROM:g})."
    )
    panels: list[charts.Panel] = []
    for title, chosen in {
        "Position and area": [name for name in names if name in _BIOLOGY],
        "Shortcuts": [name for name in names if name not in _BIOLOGY],
    }.items():
        series = {
            split: ([scaled.get((split, n), np.nan) for n in chosen], [0.0] * len(chosen))
            for split in foreign
        }
        labels = [name.replace("_", " ") for name in chosen]
        panels.append(charts.bars(title, caption, "0 chance, 1 perfect", labels, series))
    brains = list(dict.fromkeys(brain for values in foreign.values() for brain in values))
    if brains:
        series = {
            split: ([values.get(b, np.nan) for b in brains], [0.0] * len(brains))
            for split, values in foreign.items()
        }
        panels.append(
            charts.bars(
                "How foreign a brain is",
                f"Distance of a brain's points to their {params.neighbours} nearest points in "
                "other, pretrained brains, in units of that of the pretrained brains.",
                "distance, 1 as pretrained brains",
                [f"{brain} ({roles[brain]})" for brain in brains],
                series,
            )
        )
    return panels
