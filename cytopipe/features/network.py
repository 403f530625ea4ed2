"""Features of a pretrained network, before and after its projection head."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from cytopipe.features.arrays import new_array, sections_of, write_rows
from cytopipe.files import whole
from cytopipe.formats import tables
from cytopipe.formats.sections import Section
from cytopipe.learning import checkpoints, distributed
from cytopipe.learning.loading import SectionReader, open_section
from cytopipe.logs import progress


@dataclass(frozen=True)
class NetworkParams:
    """Values of the config's `features.network`.

    Attributes
    ----------
    batch_size : patches at a time.
    cache_mb : a level of at most this size is decoded once for all points of a section; a larger
        one is read tile by tile.
    """

    batch_size: int
    cache_mb: float


def run_network(
    *,
    points: Path,
    sections: Sequence[Section],
    weights: Path,
    backbone: Path,
    projected: Path,
    rows: Path,
    threads: int,
    params: NetworkParams,
) -> None:
    """Features of every point of a brain, without augmentation.

    Parameters
    ----------
    points : points of the brain (POINTS).
    sections : of the brain; `image` is the pyramid that windows are read from.
    weights : final.pt of a pretraining run.
    backbone, projected : float32 .npy arrays (points, features) to write.
    rows : the table of their rows to write (FEATURE_ROWS), last.
    threads : CPU threads for torch.

    Raises
    ------
    InputError
        If a patch cannot be read.
    """
    torch.set_num_threads(threads)
    encoder, trained = checkpoints.load_encoder(weights)
    encoder.to(distributed.world().device)
    table = tables.read(tables.POINTS, points)
    with ExitStack() as stack:
        paths = [stack.enter_context(whole(path)) for path in (backbone, projected)]
        widths = (encoder.backbone.width, encoder.plan.outputs)
        arrays = [new_array(p, (len(table), w)) for p, w in zip(paths, widths, strict=True)]
        groups = sections_of(table, sections)
        for section, members in progress(groups, len(groups), "features of sections"):
            with open_section(
                f"{section.brain} section {section.section}",
                section.image,
                section.spacing_um,
                trained["spacing_um"],
                int(params.cache_mb * 1e6),
            ) as reader:
                for start in range(0, len(members), params.batch_size):
                    chosen = members[start : start + params.batch_size]
                    windows = _windows(reader, table.iloc[chosen], trained["patch_px"])
                    for array, found in zip(arrays, encoder.embed(windows), strict=True):
                        array[chosen] = found
        for array in arrays:
            array.flush()
    write_rows(table, table.status, rows)


def _windows(reader: SectionReader, points: pd.DataFrame, patch_px: int) -> NDArray[np.uint8]:
    places = zip(points.x_um, points.y_um, strict=True)
    return np.stack([reader.window(x, y, patch_px) for x, y in places])
