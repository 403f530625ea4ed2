"""Task `finetuning`: areas predicted by fine-tuning encoder and classifier (CytoNet 3.5)."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from cytopipe import evaluation, provenance
from cytopipe.cluster import launching
from cytopipe.evaluation.adjacency import hops
from cytopipe.evaluation.labelled_patches import select_patches
from cytopipe.evaluation.predictions import Predictions, score_predictions, write_results
from cytopipe.files import Output
from cytopipe.formats import tables
from cytopipe.formats.atlas import read_atlas
from cytopipe.learning import checkpoints, distributed, embedding, networks
from cytopipe.learning.loading import Field, Patches
from cytopipe.learning.objectives import Supervised
from cytopipe.learning.resuming import SPEED, Checkpoint, identity_of
from cytopipe.learning.training import train
from cytopipe.logs import info
from cytopipe.study import config as study_config
from cytopipe.study.config import FinetuningTask, PretrainingRun

_TITLES = {
    "finetuning": "Fine-tuning",
    "finetuning_projected": "Fine-tuning with the projection head",
}


def training_params(
    trained: Mapping[str, Any], patches: int, params: FinetuningTask, name: Path
) -> PretrainingRun:
    """The params of a fine-tuning: those of the run that trained the network, with changes.

    They have the seed of the run.

    Parameters
    ----------
    trained : params of the run.
    patches : size of the training set, which limits the size of a batch.
    name : file of the trained network, for messages.

    Raises
    ------
    InputError
        If the network was trained by a version of cytopipe with other params.
    """
    changes = params.model_dump(
        include={"dataset", "optimiser", "precision", "workers", "cache_mb"}
    )
    scratch = trained["epochs"] == 0
    values = {
        **trained,
        **changes,
        "loss": "supervised",
        "probe_patches": 0,
        "epochs": params.epochs_scratch if scratch else params.epochs,
        "batch_size": min(params.batch_size, patches),
    }
    return study_config.checked(PretrainingRun, values, str(name))


def classifier_of(weights: Path, classes: int, projected: bool, seed: int) -> networks.Encoder:
    """The encoder of a run whose head is a linear classifier, after its own head if `projected`.

    The weights of the classifier are drawn from `seed`, as are those of the encoder if the run was
    not trained.
    """
    encoder, trained = checkpoints.load_encoder(weights)
    if trained["epochs"] == 0:
        encoder = networks.build(encoder.plan, seed)
    width = encoder.plan.outputs if projected else encoder.backbone.width
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = networks.HEADS["classifier"](width, classes)
    encoder.head = nn.Sequential(encoder.head, classifier) if projected else classifier
    return encoder


def logits_of(
    encoder: networks.Encoder,
    patches: Patches,
    checkpoint: Checkpoint,
    params: PretrainingRun,
) -> NDArray[np.float32]:
    """Logits (n, classes) of patches in their order, without augmentation, in evaluation mode.

    Each process computes those of its share; all return them all.

    Raises
    ------
    SystemExit
        With `launching.INTERRUPTED`, if a signal asked any process to stop.
    """
    world = checkpoint.world
    batches = embedding.batches_of([*range(len(patches))], params.batch_size, world)
    logits = []
    for _, outputs in embedding.outputs_of(
        encoder, patches, batches, params.precision, params.workers
    ):
        if distributed.any_process(bool(checkpoint.signals), world):
            raise SystemExit(launching.INTERRUPTED)
        logits.append(outputs)
    return embedding.gathered(logits, len(patches), world).cpu().numpy()


@provenance.recorded
def run_finetuning(
    *,
    patches: Path,
    weights: Path,
    atlas: Sequence[Path],
    scores: Output,
    html: Output,
    network: Output,
    run: str,
    threads: int,
    params: FinetuningTask,
) -> None:
    """Fine-tune a run's encoder on `train` and score it on `seen`, `transfer` and `unseen`.

    The training is that of pretraining (`learning.training`): several processes divide each batch,
    and an interrupted training continues from a checkpoint beside `scores`. What the task does not
    set is as in the run: patches, augmentation, checkpointing and compilation. Scores have the task
    `finetuning`, or `finetuning_projected` with the projection head between encoder and classifier.

    Parameters
    ----------
    patches : the data set (PatchRow); paths of images are relative to the current folder.
    weights : final.pt of the run.
    atlas : label volume and its table, for the hops between areas; empty without an atlas.
    network : the fine-tuned network of the first seed, without the projection head, in the form of
        `weights`.
    scores, html, run, threads : as in `run_areas`.

    Raises
    ------
    InputError
        If there are fewer than two areas to train on, a batch cannot be divided among the
        processes, a patch cannot be read, or the loss is NaN or infinite.
    """
    with distributed.joined() as world, checkpoints.stop_signals() as signals:
        table = tables.read(tables.PatchRow, patches)
        data = select_patches(table, np.full(len(table), True), None, patches.stem)
        steps = hops(read_atlas(*atlas), data.areas) if atlas else None
        content = checkpoints.load_trained(weights)
        rows = {split: table.iloc[members] for split, members in data.splits.items()}
        settings = training_params(content["params"], len(rows["train"]), params, weights)
        tests = {split: plain_patches(rows[split], settings) for split in data.tests}
        labels = torch.from_numpy(data.labels[data.splits["train"]]).to(world.device)
        objective = Supervised(labels, tuple(data.areas))
        variants = {"finetuning": False}
        if params.projected and content["plan"]["head"] == "projection":
            variants["finetuning_projected"] = True
        predictions: dict[str, list[Predictions]] = {task: [] for task in variants}
        done: list[Path] = []
        for seed, task in itertools.product(params.seeds, variants):
            of_seed = settings.model_copy(update={"seed": seed})
            described = [evaluation.VERSION, task, of_seed.model_dump(exclude=set(SPEED))]
            identity = identity_of(described, [patches, weights])
            path = scores.with_name(f"checkpoint-{task}-{seed}.pt")
            checkpoint = Checkpoint(path, identity, world, signals)
            encoder = classifier_of(weights, len(data.areas), variants[task], seed)
            encoder.to(world.device)
            info(f"{task}, seed {seed} of {list(params.seeds)}")
            train(encoder, objective, rows["train"], checkpoint, of_seed, "evaluation.finetuning")
            for split, test_set in tests.items():
                logits = logits_of(encoder, test_set, checkpoint, of_seed)
                truth = data.labels[data.splits[split]]
                predictions[task].append(Predictions.of_logits(split, seed, truth, logits))
            if world.first and not done:
                save_network(encoder, data.areas, of_seed, network)
            done.append(path)
        if world.first:
            scored = {task: score_predictions(made, steps) for task, made in predictions.items()}
            shown = predictions["finetuning"]
            write_results("Fine-tuning", _TITLES, scored, shown, data, steps, run, scores, html)
            for path in done:
                path.unlink(missing_ok=True)
        distributed.barrier(world)


def plain_patches(table: pd.DataFrame, params: PretrainingRun) -> Patches:
    """The patches of a table for scoring: not augmented, so without a margin."""
    field = Field(params.patch_px, params.spacing_um, "reflect", shift_mm=0.0)
    return Patches(table, field, None, 0, params.cache_mb)


def save_network(
    encoder: networks.Encoder, areas: Sequence[str], params: PretrainingRun, path: Path
) -> None:
    """Write a fine-tuned network, for `checkpoints.load_encoder`."""
    plan = networks.Plan(params.architecture, params.patch_px, "classifier", len(areas))
    content = {
        "params": params.model_dump(),
        "version": evaluation.VERSION,
        "plan": asdict(plan),
        "classes": list(areas),
        "weights": encoder.state_dict(),
    }
    checkpoints.save(content, path)
