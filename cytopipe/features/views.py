"""Features of augmented views of training patches, on which linear probes are trained."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cytopipe import provenance
from cytopipe.features.arrays import new_array, write_rows
from cytopipe.files import Output, atomic_write
from cytopipe.formats import tables
from cytopipe.learning import augmentation, checkpoints, distributed
from cytopipe.learning.loading import Field, Patches, load
from cytopipe.learning.step import choose_kernels, mixed_precision
from cytopipe.logs import progress
from cytopipe.study.config import Augmentation, NetworkFeatures, Views


@provenance.recorded
def run_views(
    *,
    patches: Sequence[Path],
    weights: Path,
    backbone: Output,
    projected: Output,
    rows: Output,
    threads: int,
    views: Views,
    params: NetworkFeatures,
) -> None:
    """Embed augmented views of the patches that classifiers of areas are trained on.

    CytoNet (section 3.5) augments patches while it trains a linear probe: with a frozen network, a
    probe needs no more than the features of these patches. Each window is read once for all of its
    views. Patches and augmentation are as in the training of the network; batch norm uses its
    running statistics. A job that was killed starts again.

    Parameters
    ----------
    patches : data sets (PatchRow), of which the points of the split `train` are embedded. A point
        that was drawn several times has its views once.
    weights : final.pt of a pretraining run.
    backbone, projected : float32 .npy arrays (views x points, features) to write: the first view of
        all points, then the second one, and so on.
    rows : table of their rows (FeatureRow), written last.
    threads : number of threads that libraries may use (`cytopipe.threads`).
    views : number of views of each patch, and the seed of their augmentation.
    params : `batch_size` is the number of views that are embedded at a time, at least those of one
        patch.

    Raises
    ------
    InputError
        If a patch cannot be read.
    """
    every = pd.concat([tables.read(tables.PatchRow, path) for path in patches])
    points = every[every.split == "train"].drop_duplicates("point_id")
    # each section is read in one go
    points = points.sort_values(["brain", "section", "point_id"], ignore_index=True)
    encoder, trained = checkpoints.load_encoder(weights)
    device = distributed.world().device
    encoder.to(device)
    choose_kernels(encoder, device, params.precision)
    changes = Augmentation(**trained["augmentation"])
    field = Field(trained["patch_px"], trained["spacing_um"], trained["margin"], changes.shift_mm)
    level_mb = params.cache_mb / max(1, params.workers)
    count = views.count
    read = Patches(points, field, changes, views.seed, 0.0, views=count, level_mb=level_mb)
    size = max(1, params.batch_size // count)
    batches = [
        [(0, row) for row in range(start, min(start + size, len(points)))]
        for start in range(0, len(points), size)
    ]
    with ExitStack() as stack:
        paths = [stack.enter_context(atomic_write(path)) for path in (backbone, projected)]
        widths = (encoder.backbone.width, encoder.plan.outputs)
        arrays = [
            new_array(path, (count * len(points), width))
            for path, width in zip(paths, widths, strict=True)
        ]
        loader = load(read, batches, params.workers, pinned=device.type == "cuda")
        for batch in progress(loader, len(batches), "views"):
            windows, draws, members = batch.to(device)
            with torch.inference_mode():
                images = augmentation.apply(windows, draws, field.patch_px, field.spacing_um)
                with mixed_precision(device, params.precision):
                    outputs = encoder(images)
            for array, features in zip(arrays, outputs, strict=True):
                of_views = features.float().cpu().numpy().reshape(len(members), count, -1)
                for view in range(count):
                    array[view * len(points) + members.cpu().numpy()] = of_views[:, view]
        for array in arrays:
            array.flush()
    point_ids = pd.Series(np.tile(points.point_id.to_numpy(), count))
    write_rows(point_ids, pd.Series("ok", index=point_ids.index), rows)
