"""Task `areas`: how well a linear probe on frozen features predicts areas (CytoNet section 3.5)."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytopipe import provenance
from cytopipe.evaluation import charts
from cytopipe.evaluation.adjacency import UNREACHABLE, hops
from cytopipe.evaluation.labelled_patches import (
    TESTS,
    LabelledPatches,
    features_of,
    select_patches,
    views_of,
)
from cytopipe.evaluation.predictions import (
    Predictions,
    macro_f1_text,
    mean_of,
    score_predictions,
    scores_panel,
    write_results,
)
from cytopipe.evaluation.probes import Probe, fit_probe
from cytopipe.evaluation.samples import Score, write_scores
from cytopipe.evaluation.stored_features import Features, StoredFeatures, blocks_of
from cytopipe.files import Output
from cytopipe.formats import linear_classifier, tables
from cytopipe.formats.atlas import read_atlas
from cytopipe.formats.linear_classifier import LinearClassifier
from cytopipe.learning import checkpoints
from cytopipe.logs import info
from cytopipe.study.config import AreasTask

_TITLES = {
    "areas": "Probe of the features",
    "areas_projected": "Probe of the projected features",
    "areas_classifier": "The run's own classifier",
}


def fit_probes(
    features: StoredFeatures,
    views: Sequence[StoredFeatures],
    data: LabelledPatches,
    params: AreasTask,
) -> dict[int, Probe]:
    """Train a probe per seed.

    Parameters
    ----------
    features : of all patches of the data set.
    views : those of the training patches, augmented; empty to train on `features`.
    """
    rows = data.splits["train"]
    train: list[Features | StoredFeatures] = [*views] or [features.where(rows)]
    if sum(each.nbytes for each in train) <= params.cache_mb * 1e6:
        train = [each[:] for each in train]
    labels, classes = data.labels[rows], len(data.areas)
    return {seed: fit_probe(train, labels, classes, seed, params) for seed in params.seeds}


def predict_by_probes(
    features: StoredFeatures, data: LabelledPatches, probes: Mapping[int, Probe]
) -> list[Predictions]:
    """The predictions of each test split by each probe, seed by seed."""
    classifiers = {seed: probe.logits for seed, probe in probes.items()}
    of_splits = [
        predictions_in_blocks(
            features.where(data.splits[split]), split, data.labels[data.splits[split]], classifiers
        )
        for split in data.tests
    ]
    return [each for of_seed in zip(*of_splits) for each in of_seed]


def predictions_in_blocks(
    features: StoredFeatures,
    split: str,
    labels: NDArray[np.int64],
    classifiers: Mapping[int, Callable[[Features], Features]],
) -> list[Predictions]:
    """Predictions of several classifiers (fold to the function that returns logits).

    The features of a test split may not fit into memory: each block is read once for all of them.
    """
    parts: dict[int, list[Predictions]] = {fold: [] for fold in classifiers}
    start = 0
    for block in blocks_of(features):
        truth = labels[start : start + len(block)]
        for fold, logits_of in classifiers.items():
            parts[fold].append(Predictions.of_logits(split, fold, truth, logits_of(block)))
        start += len(block)
    return [Predictions.joined(of_fold) for of_fold in parts.values()]


def prediction_table(
    predictions: Sequence[Predictions],
    table: pd.DataFrame,
    data: LabelledPatches,
    steps: NDArray[np.int64] | None,
) -> pd.DataFrame:
    """The predictions of the first seed (PredictionRow).

    Parameters
    ----------
    table, data : the data set (PatchRow) and its usable patches.
    steps : hops between the areas, or None without an atlas.
    """
    names = np.array(data.areas)
    frames = []
    for each in predictions:
        if each.fold != predictions[0].fold:
            continue
        distance = np.full(len(each.truth), np.nan)
        if steps is not None:
            between = steps[each.truth, each.predicted]
            distance = np.where(between == UNREACHABLE, np.nan, between)
        columns = {
            "point_id": table.point_id.to_numpy()[data.splits[each.split]],
            "split": each.split,
            "area": names[each.truth],
            "predicted": names[each.predicted],
            "probability": each.probability,
            "hops": distance,
        }
        frames.append(pd.DataFrame(columns))
    if not frames:
        return tables.frame_of(tables.PredictionRow, [])
    return pd.concat(frames, ignore_index=True)


@provenance.recorded
def run_areas(
    *,
    patches: Path,
    features: Sequence[Path],
    projected: Sequence[Path],
    rows: Sequence[Path],
    views: Sequence[Path],
    weights: Sequence[Path],
    atlas: Sequence[Path],
    scores: Output,
    predictions: Output,
    classifier: Output,
    html: Output,
    run: str,
    threads: int,
    params: AreasTask,
) -> None:
    """Train a probe per seed on the split `train`; score it on `seen`, `transfer` and `unseen`.

    Scores of the task `areas` are those of a probe on the backbone's features, `areas_projected`
    those of a probe on the outputs of the projection head (the paper's variant P), and
    `areas_classifier` those of the classifier that a run with the loss `supervised` has trained
    itself (fold 0).

    Parameters
    ----------
    patches : the data set (PatchRow).
    features, rows : backbone features and their rows, as for `features_of`.
    projected : outputs of the run's head, of the same rows.
    views : backbone features and head outputs of augmented training patches, and their rows
        (`features.run_views`), on which the probes are trained; empty to train them on the features
        of patches that are not augmented. Tests are never augmented.
    weights : final.pt of the run; empty for features without a network.
    atlas : label volume and its table, for the hops between areas; empty without an atlas.
    scores, html : table (ScoreRow) and page of figures to write.
    predictions : written: what the first seed's probe of the backbone's features predicts
        (PredictionRow).
    classifier : written: that probe, for the map (`formats.linear_classifier`).
    run : name of the run.
    threads : number of threads that libraries may use (`cytopipe.threads`).

    Raises
    ------
    InputError
        If there are fewer than two areas to train on, or a point has no row among the features.
    """
    table = tables.read(tables.PatchRow, patches)
    values = features_of(table, features, rows)
    data = select_patches(table, values.finite(), None, patches.stem)
    graph = read_atlas(*atlas) if atlas else None
    steps = hops(graph, data.areas) if graph else None
    training = table.iloc[data.splits["train"]]
    augmented = [views_of(training, array, views[-1]) for array in views[:-1]] or [[], []]
    probes = fit_probes(values, augmented[0], data, params)
    by_probes = predict_by_probes(values, data, probes)
    scored = {"areas": score_predictions(by_probes, steps)}
    content: dict[str, Any] = (
        checkpoints.load_trained(weights[0]) if weights else {"plan": {"head": ""}}
    )
    if content["plan"]["head"] == "classifier":
        logits = features_of(table, projected, rows)
        own = select_patches(table, logits.finite(), content["classes"], patches.stem)
        by_classifier = []
        for split in own.tests:
            members = own.splits[split]
            by_classifier += predictions_in_blocks(
                logits.where(members), split, own.labels[members], {0: lambda block: block}
            )
        own_steps = hops(graph, own.areas) if graph else None
        scored["areas_classifier"] = score_predictions(by_classifier, own_steps)
    elif content["plan"]["head"] == "projection":
        outputs = features_of(table, projected, rows)
        probes_of_outputs = fit_probes(outputs, augmented[1], data, params)
        by_outputs = predict_by_probes(outputs, data, probes_of_outputs)
        scored["areas_projected"] = score_predictions(by_outputs, steps)
    write_results("Areas", _TITLES, scored, by_probes, data, steps, run, scores, html)
    tables.write(tables.PredictionRow, prediction_table(by_probes, table, data, steps), predictions)
    first = probes[params.seeds[0]]
    parts = (tuple(data.areas), first.mean, first.scale, first.weights)
    linear_classifier.write(LinearClassifier(*parts), classifier)


@provenance.recorded
def run_cross_validation(
    *,
    patches: Mapping[str, Path],
    features: Sequence[Path],
    rows: Sequence[Path],
    views: Sequence[Path],
    scores: Output,
    html: Output,
    run: str,
    threads: int,
    params: AreasTask,
) -> None:
    """Train and score the probe for each choice of the transfer brain (CytoNet Table 6).

    All seen and transfer brains took part in pretraining, so one run serves every choice. A score
    is the mean over the probe's seeds; the fold is the number of the transfer brain, from 0.

    Parameters
    ----------
    patches : transfer brain to its data set (PatchRow).
    features, rows, views, scores, html, run, threads : as in `run_areas`.
    """
    by_brain: dict[str, list[Score]] = {}
    for fold, (brain, path) in enumerate(patches.items()):
        table = tables.read(tables.PatchRow, path)
        values = features_of(table, features, rows)
        data = select_patches(table, values.finite(), None, path.stem)
        training = table.iloc[data.splits["train"]]
        augmented = views_of(training, views[0], views[-1]) if views else []
        probes = fit_probes(values, augmented, data, params)
        of_seeds = score_predictions(predict_by_probes(values, data, probes), None)
        keys = dict.fromkeys((split, metric) for split, _, metric, _ in of_seeds)
        by_brain[brain] = [(s, fold, m, mean_of(of_seeds, s, m)[0]) for s, m in keys]
        info(f"{run}: transfer brain {brain}, {macro_f1_text(of_seeds, data.tests)}")
    series = {}
    for split in TESTS:
        means = [mean_of(listed, split, "macro_f1")[0] for listed in by_brain.values()]
        if np.isfinite(means).any():
            series[split] = (np.array(means), np.zeros(len(means)))
    caption = "Seen brains, the transfer brain and unseen ones, for each transfer brain."
    every = [score for listed in by_brain.values() for score in listed]
    panels = [
        charts.bars("Macro-F1 by transfer brain", caption, "macro-F1", list(by_brain), series),
        scores_panel("Over all choices", every),
    ]
    charts.write(f"Cross-validation over transfer brains: {run}", panels, html)
    write_scores(scores, run, {"cross_validation": every})
