"""Task `finetuning`: areas predicted by fine-tuning encoder and classifier (CytoNet 3.5)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from cytopipe import provenance
from cytopipe.evaluation.adjacency import hops
from cytopipe.evaluation.labelled_patches import select_patches
from cytopipe.evaluation.predictions import Predictions, score_predictions, write_results
from cytopipe.files import InputError, Output
from cytopipe.formats import tables
from cytopipe.formats.atlas import read_atlas
from cytopipe.learning import augmentation, checkpoints, distributed, networks, optimisers
from cytopipe.learning.distributed import World
from cytopipe.learning.loading import Field, Patches, batches_of_epoch, load
from cytopipe.learning.step import mixed_precision
from cytopipe.logs import info
from cytopipe.study.config import Augmentation, FinetuningTask

_TITLES = {
    "finetuning": "Fine-tuning",
    "finetuning_projected": "Fine-tuning with the projection head",
}


class Classifier(nn.Module):
    """An encoder, with or without its head, and a linear classifier without bias."""

    def __init__(self, encoder: networks.Encoder, classes: int, projected: bool) -> None:
        super().__init__()
        self.backbone = encoder.backbone
        self.head = encoder.head if projected else nn.Identity()
        width = encoder.plan.outputs if projected else encoder.backbone.width
        self.classifier = networks.HEADS["classifier"](width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes) of images (n, 1, h, w)."""
        logits: Tensor = self.classifier(self.head(self.backbone(images)))
        return logits


def classifier_of(
    weights: Path, classes: int, *, projected: bool, seed: int
) -> tuple[Classifier, dict[str, Any]]:
    """A classifier on the encoder of a run, and the params of that run.

    The weights of the classifier are drawn from `seed`, as are those of the encoder if the run was
    not trained.
    """
    encoder, trained = checkpoints.load_encoder(weights)
    if trained["epochs"] == 0:
        encoder = networks.build(encoder.plan, seed)
    if trained["checkpointing"]:
        networks.checkpoint_activations(encoder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Classifier(encoder, classes, projected), trained


def train(
    network: Classifier,
    patches: Patches,
    labels: NDArray[np.int64],
    trained: Mapping[str, Any],
    epochs: int,
    seed: int,
    params: FinetuningTask,
) -> None:
    """Train encoder and classifier by cross-entropy on augmented patches.

    Parameters
    ----------
    patches, labels : of the training set, in the same order.
    trained : params of the run, for the size of the patches.

    Raises
    ------
    InputError
        If the loss is NaN or infinite.
    """
    device = next(network.parameters()).device
    settings = params.optimiser
    batch_size = min(params.batch_size, len(patches))
    optimiser = optimisers.build(network, settings, batch_size)
    targets = torch.from_numpy(labels).to(device)
    steps = len(patches) // batch_size
    network.train()
    for epoch in range(epochs):
        loss_sum = torch.zeros((), device=device)
        keys = batches_of_epoch(len(patches), batch_size, seed, epoch, 0, World(0, 1, device))
        for step, batch in enumerate(
            load(patches, keys, params.workers, pinned=device.type == "cuda")
        ):
            windows, draws, rows = batch.to(device)
            images = augmentation.apply(windows, draws, trained["patch_px"], trained["spacing_um"])
            with mixed_precision(device, params.precision):
                logits = network(images)
            loss = functional.cross_entropy(logits.float(), targets[rows])
            optimisers.set_rate(optimiser, settings, batch_size, (epoch + step / steps) / epochs)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            loss_sum += loss.detach()
        mean_loss = float(loss_sum) / steps
        if not math.isfinite(mean_loss):
            raise InputError(
                f"finetuning: the loss is {mean_loss} in epoch {epoch} of seed {seed}; lower "
                "evaluation.finetuning.optimiser.learning_rate in config/config.yaml"
            )
        info(f"seed {seed}, epoch {epoch} of {epochs}: loss {mean_loss:.3f}")


def logits_of(
    network: Classifier, patches: Patches, patch_px: int, params: FinetuningTask
) -> NDArray[np.float32]:
    """Logits (n, classes) of patches in their order, without augmentation, in evaluation mode."""
    device = next(network.parameters()).device
    network.eval()
    order = range(len(patches))
    keys = [
        [(0, index) for index in order[start : start + params.batch_size]]
        for start in order[:: params.batch_size]
    ]
    logits = []
    for batch in load(patches, keys, params.workers, pinned=device.type == "cuda"):
        images = augmentation.centre_crop(batch.windows.to(device), patch_px)
        with torch.inference_mode(), mixed_precision(device, params.precision):
            logits.append(network(images).float().cpu().numpy())
    return np.concatenate(logits)


@provenance.recorded
def run_finetuning(
    *,
    patches: Path,
    weights: Path,
    atlas: Sequence[Path],
    scores: Output,
    html: Output,
    run: str,
    threads: int,
    params: FinetuningTask,
) -> None:
    """Fine-tune a run's encoder on `train` and score it on `seen`, `transfer` and `unseen`.

    Patch size, pixel size and augmentation are those of the run. Scores have the task `finetuning`,
    or `finetuning_projected` with the projection head between encoder and classifier. The training
    runs in one process and starts from the beginning if it was interrupted.

    Parameters
    ----------
    patches : the data set (PatchRow); paths of images are relative to the current folder.
    weights : final.pt of the run.
    atlas : label volume and its table, for the hops between areas; empty without an atlas.
    scores, html, run, threads : as in `run_areas`.

    Raises
    ------
    InputError
        If there are fewer than two areas to train on, a patch cannot be read, or the loss is NaN or
        infinite.
    """
    table = tables.read(tables.PatchRow, patches)
    data = select_patches(table, None, None, patches.stem)
    steps = hops(read_atlas(*atlas), data.areas) if atlas else None
    content = checkpoints.load(weights)
    scratch = content["params"]["epochs"] == 0
    epochs = params.epochs_scratch if scratch else params.epochs
    variants = {"finetuning": False}
    if params.projected and content["plan"]["head"] == "projection":
        variants["finetuning_projected"] = True
    rows = {split: table.iloc[members] for split, members in data.splits.items()}
    tests = {
        split: patches_of(rows[split], content["params"], params, None) for split in data.tests
    }
    predictions: dict[str, list[Predictions]] = {task: [] for task in variants}
    for seed in params.seeds:
        training = patches_of(rows["train"], content["params"], params, seed)
        labels = data.labels[data.splits["train"]]
        for task, projected in variants.items():
            network, trained = classifier_of(
                weights, len(data.areas), projected=projected, seed=seed
            )
            network.to(distributed.world().device)
            train(network, training, labels, trained, epochs, seed, params)
            for split, test_set in tests.items():
                logits = logits_of(network, test_set, trained["patch_px"], params)
                truth = data.labels[data.splits[split]]
                predictions[task].append(Predictions(split, seed, truth, logits))
    scored = {task: score_predictions(listed, steps) for task, listed in predictions.items()}
    shown = predictions["finetuning"]
    write_results("Fine-tuning", _TITLES, scored, shown, data, steps, run, scores, html)


def patches_of(
    table: pd.DataFrame, trained: Mapping[str, Any], params: FinetuningTask, seed: int | None
) -> Patches:
    """The patches of a table, read as the run read its own.

    Parameters
    ----------
    trained : params of the run.
    seed : of the augmentation. None, for patches that are not augmented, reads no margin.
    """
    changes = Augmentation(**trained["augmentation"])
    field = Field(trained["patch_px"], trained["spacing_um"], trained["margin"], changes.shift_mm)
    if seed is None:
        field = replace(field, margin="reflect", shift_mm=0.0)
    return Patches(table, field, changes, seed or 0, params.cache_mb)
