"""What the map needs beside the classifier: a calibrated softmax, and a measure of novelty."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytopipe import provenance
from cytopipe.files import InputError, Output, atomic_write, reading, require
from cytopipe.formats import linear_classifier, tables
from cytopipe.formats.linear_classifier import LinearClassifier
from cytopipe.logs import info
from cytopipe.mapping.novelty import Novelty, calibrated_temperature, fit_novelty
from cytopipe.study.config import Mapping

_REMEDY = "delete it and rerun the mapping"


@dataclass(frozen=True)
class Reference:
    """What `run_reference` measures on labelled points.

    Attributes
    ----------
    temperature : the logits are divided by it before the softmax.
    false_alarms : share of held-out points that are marked as foreign.
    """

    novelty: Novelty
    temperature: float
    false_alarms: float


@provenance.recorded
def run_reference(
    *,
    patches: Path,
    classifier: Path,
    features: Sequence[Path],
    rows: Sequence[Path],
    reference: Output,
    threads: int,
    params: Mapping,
) -> None:
    """Measure on labelled points what is usual, and how sure the classifier may be.

    Uses at most `params.reference` training points, and as many of the held-out ones of the split
    `seen`, which come from other sections of the same brains.

    Parameters
    ----------
    patches : the data set on which the classifier was trained (PatchRow).
    classifier : the classifier.
    features, rows : .npy arrays that contain the points of the data set, and the tables of their
        rows (FeatureRow) in the same order.
    reference : written: .npz, see `Reference`.

    Raises
    ------
    InputError
        If there are too few labelled points, a point has no row among the features, or the features
        are not those of the classifier.
    """
    table = tables.read(tables.PatchRow, patches)
    judge = linear_classifier.read(classifier)
    training, train_values = _drawn(table[table.split == "train"], judge, features, rows, params)
    is_test = (table.split == "seen") & table.area.isin(judge.classes)
    held_out, held_values = _drawn(table[is_test], judge, features, rows, params)
    novelty = fit_novelty(
        train_values,
        training.brain.to_numpy(str),
        held_values,
        held_out.brain.to_numpy(str),
        params.components,
        params.neighbours,
        params.false_alarms,
    )
    labels = pd.Index(judge.classes).get_indexer(pd.Index(held_out.area))
    temperature = calibrated_temperature(judge.logits(held_values), labels.tolist())
    info(
        f"{len(training)} training and {len(held_out)} held-out points; temperature "
        f"{temperature:.2f}; foreign beyond {novelty.own:.3g}, in other brains {novelty.other:.3g}"
    )
    write(Reference(novelty, temperature, params.false_alarms), reference)


def write(reference: Reference, path: Path) -> None:
    """Write a reference as .npz; equal ones give equal bytes."""
    arrays = {name: np.asarray(value) for name, value in asdict(reference.novelty).items()}
    with atomic_write(path) as beside:
        np.savez(
            beside,
            allow_pickle=False,
            temperature=np.array(reference.temperature),
            false_alarms=np.array(reference.false_alarms),
            **arrays,
            **{key: np.array(text) for key, text in provenance.entry().items()},
        )


def read(path: Path) -> Reference:
    """Read a reference.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    require(path, _REMEDY)
    with reading(path, "reference of the map", _REMEDY), open(path, "rb") as opened:
        file = np.load(opened, allow_pickle=False)
        novelty = Novelty(
            mean=file["mean"],
            axes=file["axes"],
            reference=file["reference"],
            brains=tuple(file["brains"].tolist()),
            neighbours=int(file["neighbours"]),
            own=float(file["own"]),
            other=float(file["other"]),
        )
        return Reference(novelty, float(file["temperature"]), float(file["false_alarms"]))


def _drawn(
    points: pd.DataFrame,
    judge: LinearClassifier,
    arrays: Sequence[Path],
    rows: Sequence[Path],
    params: Mapping,
) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    """At most `params.reference` points with features, each once: a training set repeats some.

    The memory-mapped arrays are read only where these points lie.
    """
    points = points.drop_duplicates("point_id")
    if len(points) > params.reference:
        points = points.sample(params.reference, random_state=params.seed)
    points = points.reset_index(drop=True)
    width = len(judge.mean)
    values = np.full((len(points), width), np.nan, np.float32)
    pending = np.arange(len(points))
    for array_path, rows_path in zip(arrays, rows, strict=True):
        array = np.load(array_path, mmap_mode="r")
        if array.shape[1] != width:
            raise InputError(
                f"{array_path}: {array.shape[1]} features, the classifier was trained on {width}; "
                "rerun the evaluation"
            )
        listed = pd.Index(tables.read(tables.FeatureRow, rows_path).point_id)
        first = np.flatnonzero(~listed.duplicated())
        at = listed[first].get_indexer(pd.Index(points.point_id)[pending])
        here = at >= 0
        values[pending[here]] = array[first[at[here]]]
        pending = pending[~here]
    if len(pending):
        raise InputError(
            f"{', '.join(map(str, rows)) or 'no features'}: no row for point "
            f"{points.point_id[pending[0]]}; rerun the features"
        )
    finite = np.flatnonzero(np.isfinite(values).all(1))
    return points.iloc[finite], values[finite]
