"""Features of a pretrained network, before and after its projection head."""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from cytopipe import features, provenance
from cytopipe.features.arrays import new_array, sections_of, write_rows
from cytopipe.files import Output, atomic_write
from cytopipe.formats import tables
from cytopipe.learning import checkpoints, distributed, embedding, networks
from cytopipe.learning.loading import Field, Key, Patches
from cytopipe.learning.resuming import identity_of
from cytopipe.learning.step import choose_kernels
from cytopipe.logs import info, progress
from cytopipe.study.config import NetworkFeatures
from cytopipe.study.sections import Section

BLOCK = 16384  # patches between two saves: 150 MB of features of R50, less than a minute on a GPU
PLACE = ["brain", "section", "image", "full_spacing_um", "x_um", "y_um"]  # of a patch


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
    table, places, members = places_of_brain(points, sections)
    _embed(places, members, len(table), weights, backbone, projected, params)
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
    table, places, members = places_of_patches(patches)
    _embed(places, members, len(table), weights, backbone, projected, params)
    write_rows(table.point_id, pd.Series("ok", index=table.index), rows)


def places_of_brain(
    points: Path, sections: Sequence[Section]
) -> tuple[pd.DataFrame, pd.DataFrame, NDArray[np.intp]]:
    """The points of a brain (PointRow); places of the usable ones by section; their rows."""
    table = tables.read(tables.PointRow, points)
    groups = sections_of(table, sections)
    members = np.concatenate([np.empty(0, np.intp), *(members for _, members in groups)])
    counts = [len(members) for _, members in groups]
    images = np.repeat([section.image for section, _ in groups], counts)
    spacings_um = np.repeat([section.spacing_um for section, _ in groups], counts)
    places = table.iloc[members].assign(image=images, full_spacing_um=spacings_um)
    return table, places[PLACE], members


def places_of_patches(
    patches: Sequence[Path],
) -> tuple[pd.DataFrame, pd.DataFrame, NDArray[np.intp]]:
    """The points of data sets (PatchRow), each once; their places by section, and their rows."""
    table = pd.concat([tables.read(tables.PatchRow, path) for path in patches])
    table = table.drop_duplicates("point_id", ignore_index=True)
    members = np.concatenate([*table.groupby(["brain", "section"]).indices.values()])
    return table, table.iloc[members][PLACE], members


def _embed(
    places: pd.DataFrame,
    rows: NDArray[np.intp],
    count: int,
    weights: Path,
    backbone: Path,
    projected: Path,
    params: NetworkFeatures,
) -> None:
    encoder, trained = checkpoints.load_encoder(weights)
    widths = {backbone: encoder.backbone.width, projected: encoder.plan.outputs}
    embed(places, rows, count, encoder, trained["spacing_um"], [weights], widths, params)


def embed(
    places: pd.DataFrame,
    rows: NDArray[np.intp],
    count: int,
    encoder: networks.Encoder,
    spacing_um: float,
    made_of: Sequence[Path],
    arrays: Mapping[Path, int],
    params: NetworkFeatures,
) -> None:
    """Write arrays (count, features) of an encoder; rows that are not in `rows` are NaN.

    Blocks of features are saved beside the first array until all are complete: if the job is
    killed, the same call continues after the last block.

    Parameters
    ----------
    places : the patches, ordered by section: brain, section, image, full_spacing_um, x_um, y_um.
    rows : (n,) the row of each patch in the arrays.
    spacing_um : pixel size of the patches.
    made_of : files of the encoder.
    arrays : each array to write, to its width: backbone features and then head outputs, if any.
    """
    device = distributed.world().device
    encoder.to(device)
    choose_kernels(encoder, device, params.precision)
    widths = [*arrays.values()]
    folder = next(iter(arrays)).with_suffix(".blocks")
    settings = params.model_dump(exclude={"workers", "cache_mb"})
    hashes = pd.util.hash_pandas_object(places, index=False).to_numpy()
    digest = hashlib.sha256(hashes.tobytes()).hexdigest()
    open_blocks(folder, identity_of([features.VERSION, settings, digest], [*made_of]))
    blocks = {
        folder / f"{start:09d}.npy": range(start, min(start + BLOCK, len(places)))
        for start in range(0, len(places), BLOCK)
    }
    pending = {path: _batches(block, params) for path, block in blocks.items() if not path.exists()}
    field = Field(encoder.plan.patch_px, spacing_um, "reflect", shift_mm=0.0)
    level_mb = params.cache_mb / max(1, params.workers)
    patches = Patches(places, field, None, seed=0, cache_mb=0.0, level_mb=level_mb)
    # one stream for all blocks: the workers read the next block while this one is saved
    stream = embedding.outputs_of(
        encoder, patches, list(chain(*pending.values())), params.precision, params.workers
    )
    for path, batches in progress(pending.items(), len(pending), "blocks of features"):
        parts = [torch.cat(next(stream), dim=1) for _ in batches]
        with atomic_write(path) as beside:
            np.save(beside, torch.cat(parts).cpu().numpy())
    with ExitStack() as stack:
        paths = [stack.enter_context(atomic_write(path)) for path in arrays]
        written = [new_array(p, (count, width)) for p, width in zip(paths, widths, strict=True)]
        for path, block in blocks.items():
            values = np.load(path)
            columns = np.split(values, np.cumsum(widths)[:-1], axis=1)
            for array, part in zip(written, columns, strict=True):
                array[rows[block.start : block.stop]] = part
        for array in written:
            array.flush()
    shutil.rmtree(folder)


def _batches(block: range, params: NetworkFeatures) -> list[list[Key]]:
    """The batches of a block; every patch is read as in epoch 0."""
    starts = block[:: params.batch_size]
    return [
        [(0, place) for place in block[start - block.start :][: params.batch_size]]
        for start in starts
    ]


def open_blocks(folder: Path, identity: str) -> None:
    """Make the folder of a job's blocks; blocks of a job with another identity are deleted."""
    mark = folder / "identity.txt"
    if folder.exists() and not (mark.exists() and mark.read_text() == identity):
        shutil.rmtree(folder)
    kept = len([*folder.glob("*.npy")])
    if kept:
        info(f"{folder}: continues after {kept} blocks of an interrupted job")
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(mark) as beside:
        beside.write_text(identity)
