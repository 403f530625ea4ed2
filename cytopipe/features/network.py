"""Features of a pretrained network, before and after its projection head."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytopipe import provenance
from cytopipe.features.arrays import new_array, sections_of, write_rows
from cytopipe.files import Output, atomic_write
from cytopipe.formats import tables
from cytopipe.learning import checkpoints, distributed
from cytopipe.learning.loading import open_section
from cytopipe.logs import progress
from cytopipe.study.config import NetworkFeatures
from cytopipe.study.sections import Section


@provenance.recorded
def run(
    *,
    points: Path,
    sections: Sequence[Section],
    weights: Path,
    backbone: Output,
    projected: Output,
    rows: Output,
    threads: int,
    params: NetworkFeatures,
) -> None:
    """Compute the features of every point of a brain, without augmentation.

    Parameters
    ----------
    points : points of the brain (PointRow).
    sections : of the brain; `image` is the pyramid from which patches are read.
    weights : final.pt of a pretraining run.
    backbone, projected : float32 .npy arrays (points, features) to write.
    rows : table of their rows (FeatureRow), written last.
    threads : number of threads that libraries may use (`cytopipe.threads`).

    Raises
    ------
    InputError
        If a patch cannot be read.
    """
    table = tables.read(tables.PointRow, points)
    groups = [
        (f"{section.brain} section {section.section}", section.image, section.spacing_um, members)
        for section, members in sections_of(table, sections)
    ]
    _embed(table, groups, weights, backbone, projected, params)
    write_rows(table.point_id, table.status, rows)


@provenance.recorded
def run_patches(
    *,
    patches: Sequence[Path],
    weights: Path,
    backbone: Output,
    projected: Output,
    rows: Output,
    threads: int,
    params: NetworkFeatures,
) -> None:
    """Compute the features of data sets whose points are not among the points of the brains.

    A point that was drawn several times has one row.

    Parameters
    ----------
    patches : data sets (PatchRow) of the same annotations: a cross-validation draws other training
        points for each choice of the transfer brain.
    weights, backbone, projected, rows, threads, params : as for `run`.

    Raises
    ------
    InputError
        If a patch cannot be read.
    """
    table = pd.concat([tables.read(tables.PatchRow, path) for path in patches])
    table = table.drop_duplicates("point_id", ignore_index=True)
    groups = []
    for members in table.groupby(["brain", "section"]).indices.values():
        first = table.iloc[members[0]]
        name = f"{first.brain} section {first.section}"
        groups.append((name, first.image, float(first.full_spacing_um), np.asarray(members)))
    _embed(table, groups, weights, backbone, projected, params)
    write_rows(table.point_id, pd.Series("ok", index=table.index), rows)


def _embed(
    table: pd.DataFrame,
    groups: list[tuple[str, str, float, NDArray[np.intp]]],
    weights: Path,
    backbone: Path,
    projected: Path,
    params: NetworkFeatures,
) -> None:
    """Write both arrays, with one row per row of `table`; rows without a group are NaN.

    Parameters
    ----------
    groups : name, image, pixel size of level 0 in um, and rows of each section.
    """
    encoder, trained = checkpoints.load_encoder(weights)
    encoder.to(distributed.world().device)
    x_um, y_um = table.x_um.tolist(), table.y_um.tolist()
    with ExitStack() as stack:
        paths = [stack.enter_context(atomic_write(path)) for path in (backbone, projected)]
        widths = (encoder.backbone.width, encoder.plan.outputs)
        arrays = [new_array(p, (len(table), w)) for p, w in zip(paths, widths, strict=True)]
        hold_bytes = int(params.cache_mb * 1e6)
        for name, image, spacing_um, members in progress(groups, len(groups), "features"):
            with open_section(name, image, spacing_um, trained["spacing_um"], hold_bytes) as reader:
                for start in range(0, len(members), params.batch_size):
                    batch = members[start : start + params.batch_size]
                    windows = np.stack(
                        [reader.window(x_um[row], y_um[row], trained["patch_px"]) for row in batch]
                    )
                    for array, features in zip(arrays, encoder.embed(windows), strict=True):
                        array[batch] = features
        for array in arrays:
            array.flush()
