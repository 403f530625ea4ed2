"""Task `finetuning`: brain areas by an encoder and a classifier trained jointly (CytoNet 3.5)."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from cytopipe import provenance
from cytopipe.evaluation import charts
from cytopipe.evaluation.adjacency import hops
from cytopipe.evaluation.labelled import Labelled, labelled
from cytopipe.evaluation.predictions import (
    Answers,
    confusion_panels,
    hops_panels,
    mean_of,
    scores_of,
    scores_panel,
)
from cytopipe.files import InputError, Output
from cytopipe.formats import tables
from cytopipe.formats.atlas import read_atlas
from cytopipe.learning import augmentation, checkpoints, distributed, networks, optimisers
from cytopipe.learning.distributed import World
from cytopipe.learning.loading import Field, Patches, batches_of_epoch, load
from cytopipe.logs import say
from cytopipe.study.config import Augmentation, FinetuningTask

_TITLES = {
    "finetuning": "Fine-tuning",
    "finetuning_projected": "Fine-tuning with the projection head",
}


class Classifier(nn.Module):
    """An encoder, with its head or without, and a linear layer without bias: images to logits."""

    def __init__(self, encoder: networks.Encoder, classes: int, projected: bool) -> None:
        super().__init__()
        self.backbone = encoder.backbone
        self.head = encoder.head if projected else nn.Identity()
        width = encoder.plan.outputs if projected else encoder.backbone.width
        self.classifier = networks.HEADS["classifier"](width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """(n, classes) of images (n, 1, h, w)."""
        logits: Tensor = self.classifier(self.head(self.backbone(images)))
        return logits


def classifier_of(
    weights: Path, classes: int, *, projected: bool, seed: int
) -> tuple[Classifier, dict[str, Any]]:
    """A classifier on a run's encoder, with new weights from `seed`, and the params of the run.

    The encoder of a run that was not trained is drawn anew: other seeds are other networks.
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
    """Train all of `network` by cross-entropy on randomly changed patches.

    Parameters
    ----------
    patches, labels : of the training set, in the same order.
    trained : params of the run, for the size of the patches.

    Raises
    ------
    InputError
        If the loss is no number.
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
            with _precision(device, params):
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
        say(f"seed {seed}, epoch {epoch} of {epochs}: loss {mean_loss:.3f}")


def logits_of(
    network: Classifier, patches: Patches, patch_px: int, params: FinetuningTask
) -> NDArray[np.float32]:
    """(n, classes) of unchanged patches, in their order; batch norm neither sees nor keeps them."""
    device = next(network.parameters()).device
    network.eval()
    order = range(len(patches))
    keys = [
        [(0, index) for index in order[start : start + params.batch_size]]
        for start in order[:: params.batch_size]
    ]
    found = []
    for batch in load(patches, keys, params.workers, pinned=device.type == "cuda"):
        images = augmentation.middle(batch.windows.to(device), patch_px)
        with torch.inference_mode(), _precision(device, params):
            found.append(network(images).float().cpu().numpy())
    return np.concatenate(found)


def _precision(device: torch.device, params: FinetuningTask) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=params.precision == "bfloat16")


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
    """Train a run's encoder with a classifier on `train`; score on `seen`, `transfer`, `unseen`.

    Patches are of the size and pixel that the run was trained with and are changed at random as
    there. Scores are of the task `finetuning`, and `finetuning_projected` with the head between.
    One process, which starts from the beginning if it was interrupted.

    Parameters
    ----------
    patches : the data set (PATCHES); images are opened from the current folder.
    weights : final.pt of the run.
    atlas : label volume and its table, for the hops between areas; empty for areas of no atlas.
    scores, html : the table (SCORES) and the page of figures to write.
    run : name of the run.
    threads : that libraries may take (`cytopipe.threads`).

    Raises
    ------
    InputError
        If fewer than two areas can be trained on, a patch cannot be read, or the loss is no number.
    """
    table = tables.read(tables.PATCHES, patches)
    data = labelled(table, None, None, patches.stem)
    steps = hops(read_atlas(*atlas), data.areas) if atlas else None
    content = checkpoints.load(weights)
    scratch = content["params"]["epochs"] == 0
    epochs = params.epochs_scratch if scratch else params.epochs
    variants = {"finetuning": False}
    if params.projected and content["plan"]["head"] == "projection":
        variants["finetuning_projected"] = True
    tests = patches_of_tests(table, data, content["params"], params)
    answers: dict[str, list[Answers]] = {task: [] for task in variants}
    for seed in params.seeds:
        training = patches_of_training(table, data, content["params"], seed, params)
        labels = data.labels[data.splits["train"]]
        for task, projected in variants.items():
            network, trained = classifier_of(
                weights, len(data.areas), projected=projected, seed=seed
            )
            network.to(distributed.world().device)
            train(network, training, labels, trained, epochs, seed, params)
            for split, held in tests.items():
                logits = logits_of(network, held, trained["patch_px"], params)
                answers[task].append(Answers(split, seed, data.labels[data.splits[split]], logits))
    found = {task: scores_of(each, steps) for task, each in answers.items()}
    panels = [scores_panel(_TITLES[task], scored) for task, scored in found.items()]
    if steps is not None:
        panels += hops_panels(answers["finetuning"], found["finetuning"], steps)
    panels += confusion_panels(answers["finetuning"], data.areas)
    charts.write(f"Fine-tuning: {run}", panels, html)
    every: list[tuple[str, str, str, int, str, float]] = []
    for task, scored in found.items():
        every += [(run, task, *score) for score in scored]
        means = ", ".join(f"{s} {mean_of(scored, s, 'macro_f1')[0]:.3f}" for s in data.tests)
        say(f"{run}: {task}, {epochs} epochs, macro-F1 {means}")
    tables.write(tables.SCORES, pd.DataFrame(every, columns=tables.SCORES.names), scores)


def patches_of_training(
    table: pd.DataFrame,
    data: Labelled,
    trained: Mapping[str, Any],
    seed: int,
    params: FinetuningTask,
) -> Patches:
    """The training set, with the margin and the changes of the run."""
    changes = Augmentation(**trained["augmentation"])
    field = Field(trained["patch_px"], trained["spacing_um"], trained["margin"], changes.shift_mm)
    rows = table.iloc[data.splits["train"]].reset_index(drop=True)
    return Patches(rows, field, changes, seed, params.cache_mb)


def patches_of_tests(
    table: pd.DataFrame, data: Labelled, trained: Mapping[str, Any], params: FinetuningTask
) -> dict[str, Patches]:
    """Each test set, without a margin: its patches are taken as they are."""
    changes = Augmentation(**trained["augmentation"])
    field = Field(trained["patch_px"], trained["spacing_um"], "reflect", 0.0)
    return {
        split: Patches(
            table.iloc[data.splits[split]].reset_index(drop=True),
            field,
            changes,
            0,
            params.cache_mb,
        )
        for split in data.tests
    }
