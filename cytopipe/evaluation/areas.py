"""Task `areas`: brain areas from frozen features by a linear probe (CytoNet section 3.5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from cytopipe.evaluation.metrics import scores as scores_of
from cytopipe.evaluation.probes import fit_probe
from cytopipe.files import InputError
from cytopipe.formats import tables
from cytopipe.learning.optimisers import Optimiser
from cytopipe.logs import say

TESTS = ("seen", "transfer", "unseen")


@dataclass(frozen=True)
class AreaParams:
    """Values of the config's `evaluation.areas`.

    Attributes
    ----------
    dataset : name of a data set for `areas` in `patches.datasets`.
    standardise, epochs, batch_size, optimiser : of the probe, see `probes.fit_probe`.
    seeds : a probe is trained for each; the `fold` of its scores.
    """

    dataset: str
    standardise: bool
    epochs: int
    batch_size: int
    optimiser: Mapping[str, Any]
    seeds: Sequence[int]


def features_of(
    patches: pd.DataFrame, arrays: Mapping[str, Path], rows: Mapping[str, Path]
) -> NDArray[np.float32]:
    """(patches, features) of the patches' points; NaN for a point without features.

    Parameters
    ----------
    arrays, rows : brain to the .npy array and the table of its rows (FEATURE_ROWS).

    Raises
    ------
    InputError
        If a point of `patches` has no row: patches and features are of different points.
    """
    found: NDArray[np.float32] | None = None
    for brain in patches.brain.unique():
        places = np.flatnonzero(patches.brain == brain)
        point_ids = patches.point_id.to_numpy()[places]
        array = np.load(arrays[brain], mmap_mode="r")
        index = pd.Index(tables.read(tables.FEATURE_ROWS, rows[brain]).point_id)
        at = index.get_indexer(pd.Index(point_ids))
        if (at < 0).any():
            missing = point_ids[np.argmin(at)]
            raise InputError(f"{rows[brain]}: no row for point {missing}; rerun the features")
        if found is None:
            found = np.empty((len(patches), array.shape[1]), np.float32)
        found[places] = array[at]
    if found is None:
        raise InputError("areas: the data set has no patches; look at the areas in the report")
    return found


def run_areas(
    *,
    patches: Path,
    features: dict[str, Path],
    rows: dict[str, Path],
    scores: Path,
    run_name: str,
    threads: int,
    params: AreaParams,
) -> None:
    """Train a probe a seed on the split `train`; score it on `seen`, `transfer` and `unseen`.

    Test patches of areas that do not occur in training are left out, because no answer would be
    right; so are patches without features. Both are counted in the log.

    Parameters
    ----------
    patches : the data set (PATCHES).
    features, rows : brain to array and table of its rows, as for `features_of`.
    scores : the table to write (SCORES).
    run_name : the run whose features these are.
    threads : CPU threads for torch.

    Raises
    ------
    InputError
        If fewer than two areas can be trained on.
    """
    torch.set_num_threads(threads)
    table = tables.read(tables.PATCHES, patches)
    values = features_of(table, features, rows)
    whole = np.isfinite(values).all(axis=1)
    split_of = table.split.to_numpy()
    areas = sorted(table.area[whole & (split_of == "train")].unique())
    if len(areas) < 2:
        raise InputError(
            f"{patches}: {len(areas)} areas in the split 'train', a classifier needs two; lower "
            "min_probability in config/config.yaml or look at the areas in the report"
        )
    known = table.area.isin(areas).to_numpy()
    say(
        f"{run_name}: {len(areas)} areas; left out {np.sum(~whole)} patches without features and "
        f"{np.sum(whole & ~known)} of areas that are not in training"
    )
    labels = np.searchsorted(areas, table.area).astype(np.int64)
    used = {split: whole & known & (split_of == split) for split in ("train", *TESTS)}
    found = []
    for seed in params.seeds:
        probe = fit_probe(
            values[used["train"]],
            labels[used["train"]],
            len(areas),
            standardise=params.standardise,
            epochs=params.epochs,
            batch_size=params.batch_size,
            optimiser=Optimiser(**params.optimiser),
            seed=seed,
        )
        for split in TESTS:
            if used[split].any():
                logits = probe.logits(values[used[split]])
                for metric, value in scores_of(labels[used[split]], logits).items():
                    found.append((run_name, "areas", split, seed, metric, value))
    frame = pd.DataFrame(found, columns=tables.SCORES.names)
    means = frame[frame.metric == "macro_f1"].groupby("split").value.mean()
    say(f"{run_name}: macro-F1 " + ", ".join(f"{s} {v:.3f}" for s, v in means.items()))
    tables.write(tables.SCORES, frame, scores)
