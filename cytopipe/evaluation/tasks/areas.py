"""Task `areas`: brain areas from frozen features by a linear probe (CytoNet section 3.5)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytopipe import provenance
from cytopipe.evaluation import charts
from cytopipe.evaluation.adjacency import UNREACHABLE, hops
from cytopipe.evaluation.labelled import TESTS, Labelled, features_of, labelled
from cytopipe.evaluation.predictions import (
    Answers,
    Score,
    confusion_panels,
    hops_panels,
    mean_of,
    scores_of,
    scores_panel,
)
from cytopipe.evaluation.probes import fit_probe
from cytopipe.evaluation.samples import write_scores
from cytopipe.files import Output
from cytopipe.formats import tables
from cytopipe.formats.atlas import read_atlas
from cytopipe.learning import checkpoints
from cytopipe.logs import info
from cytopipe.study.config import AreasTask

_TITLES = {
    "areas": "Probe of the features",
    "areas_projected": "Probe of the projected features",
    "areas_classifier": "The run's own classifier",
}


def probed(values: NDArray[np.float32], data: Labelled, params: AreasTask) -> list[Answers]:
    """A probe's answers for each seed and test split."""
    train = data.splits["train"]
    found = []
    for seed in params.seeds:
        probe = fit_probe(
            values[train],
            data.labels[train],
            len(data.areas),
            standardise=params.standardise,
            epochs=params.epochs,
            batch_size=params.batch_size,
            optimiser=params.optimiser,
            seed=seed,
        )
        for split in data.tests:
            rows = data.splits[split]
            found.append(Answers(split, seed, data.labels[rows], probe.logits(values[rows])))
    return found


def classified(logits: NDArray[np.float32], data: Labelled) -> list[Answers]:
    """The answers of a classifier whose logits (n, classes) are known; its fold is 0."""
    splits = {split: data.splits[split] for split in data.tests}
    return [Answers(split, 0, data.labels[rows], logits[rows]) for split, rows in splits.items()]


def predicted(
    answers: Sequence[Answers],
    table: pd.DataFrame,
    data: Labelled,
    steps: NDArray[np.int64] | None,
) -> pd.DataFrame:
    """The answers of the first seed (PredictionRow).

    Parameters
    ----------
    table, data : the data set (PatchRow) and what of it is used.
    steps : hops between the areas, or None without an atlas.
    """
    names = np.array(data.areas)
    found = [tables.frame_of(tables.PredictionRow, [])]
    for answer in answers:
        if answer.fold != answers[0].fold:
            continue
        # differences to the largest logit: no overflow
        odds = np.exp(answer.logits - answer.logits.max(axis=1, keepdims=True))
        hops_of = np.full(len(answer.truth), np.nan)
        if steps is not None:
            between = steps[answer.truth, answer.predicted]
            hops_of = np.where(between == UNREACHABLE, np.nan, between)
        found.append(
            pd.DataFrame(
                {
                    "point_id": table.point_id.to_numpy()[data.splits[answer.split]],
                    "split": answer.split,
                    "area": names[answer.truth],
                    "predicted": names[answer.predicted],
                    "probability": 1 / odds.sum(axis=1),
                    "hops": hops_of,
                }
            )
        )
    return pd.concat(found[1:] or found, ignore_index=True)


@provenance.recorded
def run_areas(
    *,
    patches: Path,
    features: Sequence[Path],
    projected: Sequence[Path],
    rows: Sequence[Path],
    weights: Sequence[Path],
    atlas: Sequence[Path],
    scores: Output,
    predictions: Output,
    html: Output,
    run: str,
    threads: int,
    params: AreasTask,
) -> None:
    """Train a probe a seed on the split `train`; score it on `seen`, `transfer` and `unseen`.

    Scores of the task `areas` are of the backbone's features. `areas_projected` are of a probe on
    the outputs of the projection head (the paper's variant P), `areas_classifier` of the classifier
    that a run with the loss `supervised` trained itself (its fold is 0).

    Parameters
    ----------
    patches : the data set (PatchRow).
    features, rows : backbone features and their rows, as for `features_of`.
    projected : outputs of the run's head, of the same rows.
    weights : final.pt of the run, which says what its head is; empty for features that no network
        made, which have no projected ones.
    atlas : label volume and its table, for the hops between areas; empty for areas of no atlas.
    scores, html : the table (ScoreRow) and the page of figures to write.
    predictions : what the first seed's probe of the backbone's features answers (PredictionRow).
    run : the run whose features these are.
    threads : that libraries may take (`cytopipe.threads`).

    Raises
    ------
    InputError
        If fewer than two areas can be trained on, or a point has no row among the features.
    """
    table = tables.read(tables.PatchRow, patches)
    values = features_of(table, features, rows)
    data = labelled(table, values, None, patches.stem)
    graph = read_atlas(*atlas) if atlas else None
    steps = hops(graph, data.areas) if graph else None
    answers = probed(values, data, params)
    found = {"areas": scores_of(answers, steps)}
    head: dict[str, Any] = checkpoints.load(weights[0]) if weights else {"plan": {"head": ""}}
    if head["plan"]["head"] == "classifier":
        logits = features_of(table, projected, rows)
        own = labelled(table, logits, head["classes"], patches.stem)
        own_steps = hops(graph, own.areas) if graph else None
        found["areas_classifier"] = scores_of(classified(logits, own), own_steps)
    elif head["plan"]["head"] == "projection":
        outputs = features_of(table, projected, rows)
        found["areas_projected"] = scores_of(probed(outputs, data, params), steps)
    panels = [scores_panel(_TITLES[task], scored) for task, scored in found.items()]
    if steps is not None:
        panels += hops_panels(answers, found["areas"], steps)
    panels += confusion_panels(answers, data.areas)
    charts.write(f"Areas: {run}", panels, html)
    for task, scored in found.items():
        info(f"{run}: {task}, macro-F1 " + _macro_f1(scored, data.tests))
    tables.write(tables.PredictionRow, predicted(answers, table, data, steps), predictions)
    rows_of_scores = [
        tables.ScoreRow(run, task, *score) for task, scored in found.items() for score in scored
    ]
    tables.write_rows(tables.ScoreRow, rows_of_scores, scores)


@provenance.recorded
def run_cross_validation(
    *,
    patches: Mapping[str, Path],
    features: Sequence[Path],
    rows: Sequence[Path],
    scores: Output,
    html: Output,
    run: str,
    threads: int,
    params: AreasTask,
) -> None:
    """The same probe for each choice of the transfer brain (CytoNet Table 6).

    Seen and transfer brains are all in pretraining, so that one run serves every choice. A score is
    the mean over the probe's seeds; the fold is the number of the transfer brain, from 0.

    Parameters
    ----------
    patches : transfer brain to the data set (PatchRow) in which it is the transfer brain.
    features, rows, scores, html, png, run, threads : as in `run_areas`.
    """
    found: list[Score] = []
    by_brain: dict[str, list[Score]] = {}
    for fold, (brain, path) in enumerate(patches.items()):
        table = tables.read(tables.PatchRow, path)
        values = features_of(table, features, rows)
        data = labelled(table, values, None, path.stem)
        each = scores_of(probed(values, data, params), None)
        of_metric = dict.fromkeys((split, metric) for split, _, metric, _ in each)
        by_brain[brain] = [(s, fold, m, mean_of(each, s, m)[0]) for s, m in of_metric]
        found += by_brain[brain]
        info(f"{run}: transfer brain {brain}, macro-F1 " + _macro_f1(each, data.tests))
    series = {}
    for split in TESTS:
        values_of = [mean_of(each, split, "macro_f1")[0] for each in by_brain.values()]
        if np.isfinite(values_of).any():
            series[split] = (np.array(values_of), np.zeros(len(values_of)))
    by_choice = charts.Bars("Macro-F1 by transfer brain", "macro-F1", list(by_brain), series)
    panels = [
        (by_choice, "Seen brains, the transfer brain and unseen ones, for each transfer brain."),
        scores_panel("Over all choices", found),
    ]
    charts.write(f"Cross-validation over transfer brains: {run}", panels, html)
    write_scores(scores, run, "cross_validation", found)


def _macro_f1(scores: Sequence[Score], splits: Sequence[str]) -> str:
    return ", ".join(f"{split} {mean_of(scores, split, 'macro_f1')[0]:.3f}" for split in splits)
