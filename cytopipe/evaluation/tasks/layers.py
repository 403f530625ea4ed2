"""Task `layers`: how well a feature map predicts cortical layers (CytoNet section 3.6, Table 7).

Returns F1 scores of a linear head by the amount of annotations, with and without fine-tuning.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from cytopipe import provenance
from cytopipe.evaluation import charts, metrics
from cytopipe.evaluation.layer_figures import (
    Result,
    class_panel,
    example_panel,
    fraction_panel,
    score_layers,
)
from cytopipe.evaluation.layer_patches import FOLDS, IGNORED, in_fraction, read_patches
from cytopipe.evaluation.samples import write_scores
from cytopipe.files import InputError, Output
from cytopipe.formats import tables
from cytopipe.learning import checkpoints, distributed, networks, optimisers
from cytopipe.learning.networks import LAYERS
from cytopipe.learning.step import mixed_precision
from cytopipe.logs import info
from cytopipe.study.config import LayersTask

UNSCALED = 256  # the batch size at which optimisers.build leaves the learning rate as it is


class LayerNetwork(nn.Module):
    """A backbone with a layer head on its feature map."""

    def __init__(self, backbone: networks.Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def feature_map(self, images: Tensor) -> Tensor:
        """(n, map_width, rows, columns) of images (n, patch_px, patch_px) uint8."""
        return self.backbone.feature_map(images[:, None].float() / 255)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, LAYERS, rows, columns) of images (n, patch_px, patch_px) uint8."""
        logits: Tensor = self.head(self.feature_map(images))
        return logits


def train_segmentation(
    network: nn.Module, inputs: Tensor, labels: Tensor, steps: int, seed: int, params: LayersTask
) -> None:
    """Train `network` by cross-entropy over the cells that are not IGNORED.

    Parameters
    ----------
    inputs, labels : inputs of `network` and labels (n, rows, columns) of the training patches.
    """
    device = next(network.parameters()).device
    settings = params.optimiser
    optimiser = optimisers.build(network, settings, UNSCALED)
    random = torch.Generator().manual_seed(seed)
    size = min(params.batch_size, len(inputs))
    rounds = -(-steps * size // len(inputs))
    order = torch.cat([torch.randperm(len(inputs), generator=random) for _ in range(rounds)])
    for step in range(steps):
        chosen = order[step * size : (step + 1) * size]
        with mixed_precision(device, params.precision):
            logits = network(inputs[chosen].to(device))
        loss = functional.cross_entropy(
            logits.float(), labels[chosen].to(device), ignore_index=IGNORED
        )
        optimisers.set_rate(optimiser, settings, UNSCALED, step / steps)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def outputs_of(network: Any, inputs: Tensor, device: torch.device, params: LayersTask) -> Tensor:
    """Outputs (float32) of a module, or of one of its methods, computed batch by batch."""
    batches = []
    for start in range(0, len(inputs), params.batch_size):
        with torch.no_grad(), mixed_precision(device, params.precision):
            outputs = network(inputs[start : start + params.batch_size].to(device))
        batches.append(outputs.float().cpu())
    return torch.cat(batches)


def probe(
    network: LayerNetwork, inputs: Tensor, labels: Tensor, seed: int, params: LayersTask
) -> nn.Module:
    """Train a head on feature maps (n, map_width, rows, columns) of the frozen backbone."""
    head = _new_head(network.backbone, seed)
    train_segmentation(head, inputs, labels, params.probe_steps, seed, params)
    return head


def finetune(
    network: LayerNetwork, inputs: Tensor, labels: Tensor, seed: int, params: LayersTask
) -> nn.Module:
    """Train a head and a copy of the backbone jointly on images."""
    head = _new_head(network.backbone, seed)
    tuned = LayerNetwork(copy.deepcopy(network.backbone), head).train()
    train_segmentation(tuned, inputs, labels, params.finetune_steps, seed, params)
    return tuned.eval()


def _new_head(backbone: networks.Backbone, seed: int) -> nn.Module:
    """A layer head with weights drawn from `seed`; torch's global random state is unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return networks.layer_head(backbone).to(next(backbone.parameters()).device)


def usable_fractions(
    ranks: NDArray[np.int64], fractions: Sequence[float], patches: Path
) -> list[float]:
    """The fractions that have a training patch for each fold; the log names the others.

    Raises
    ------
    InputError
        If no fraction has.
    """
    counts = {fraction: int(in_fraction(ranks, fraction).sum()) for fraction in fractions}
    for fraction, count in counts.items():
        if count < FOLDS:
            info(f"{patches}: {100 * fraction:g}% are {count} patches, fewer than {FOLDS}: skipped")
    usable = sorted(fraction for fraction, count in counts.items() if count >= FOLDS)
    if not usable:
        raise InputError(
            f"{patches}: no fraction has {FOLDS} training patches; annotate more or raise "
            "evaluation.layers.fractions in config/config.yaml"
        )
    return usable


def f1_of(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> NDArray[np.float64]:
    """F1 of each class over the cells that are not IGNORED; NaN if it is not there or predicted."""
    inside = labels != IGNORED
    return metrics.f1_of_classes(labels[inside], predicted[inside], LAYERS)


@provenance.recorded
def run_layers(
    *,
    patches: Path,
    weights: Path,
    scores: Output,
    html: Output,
    run: str,
    threads: int,
    params: LayersTask,
) -> None:
    """Segment cortical layers by a linear head on the feature map, by probing and fine-tuning.

    For each fraction of the training patches and each of five folds, a head is trained on the other
    four folds of that fraction and scored on the test patches. (The paper's "each training subset
    was further split into five folds; for each fold, a model was trained" can also mean training on
    one fold alone, but seven patches, its 1 %, are too few for that.) Patches are not augmented.

    Scores: split `probe 5%` or `finetune 5%`, fold from 0, metric `macro_f1` over the classes that
    the test patches contain or that are predicted there; for the largest fraction also
    `f1_background`, `f1_layer_1` and so on. Cells of mirrored padding count neither in training nor
    in scores.

    Probing holds the feature maps of all patches in memory: 4 bytes x patches x map_width x cells,
    7.7 GB for 916 patches of R50.

    Parameters
    ----------
    patches : annotated patches (LayerPatchRow); paths are relative to the current folder.
    weights : final.pt of the run.
    scores, html, run, threads : as in `run_areas`.

    Raises
    ------
    InputError
        If no fraction has a patch for each fold, there is no test patch, or a patch does not fit
        the network.
    """
    device = distributed.world().device
    table = tables.read(tables.LayerPatchRow, patches)
    encoder, _ = checkpoints.load_encoder(weights)
    if encoder.plan.architecture == "unet_encoder":
        raise InputError(
            f"layers: the map of {run} (unet_encoder, without padding) does not cover a "
            "patch; leave the task out for this run"
        )
    network = LayerNetwork(encoder.backbone, nn.Identity()).to(device).eval()
    with torch.no_grad():
        blank = torch.zeros(1, params.patch_px, params.patch_px, dtype=torch.uint8, device=device)
        rows, columns = network.feature_map(blank).shape[2:]
    squares, truth = read_patches(table, params.spacing_um, params.patch_px, rows, columns)
    images, labels = torch.from_numpy(squares), torch.from_numpy(truth)
    test = (table["split"] == "test").to_numpy(copy=True)
    if not test.any():
        raise InputError(f"{patches}: no test patch; raise patches.layers.test_share in the config")
    modes: dict[str, tuple[Any, Tensor]] = {}
    if params.probe_steps:
        modes["probe"] = (probe, outputs_of(network.feature_map, images, device, params))
    if params.finetune_steps:
        modes["finetune"] = (finetune, images)
    ranks = table["rank"].to_numpy()
    results: list[Result] = []
    shown: dict[str, NDArray[np.int64]] = {}
    for fraction in usable_fractions(ranks, params.fractions, patches):
        for mode, (fit, inputs) in modes.items():
            for fold in range(FOLDS):
                chosen = in_fraction(ranks, fraction) & (ranks % FOLDS != fold)
                fitted = fit(network, inputs[chosen], labels[chosen], params.seed + fold, params)
                logits = outputs_of(fitted, inputs[test], device, params)
                predicted = logits.argmax(1).numpy()
                f1 = f1_of(truth[test], predicted)
                results.append(Result(mode, fraction, fold, f1))
                if fold == 0:
                    shown[mode] = predicted  # the largest fraction comes last
            macro_f1 = np.mean([result.macro_f1 for result in results[-FOLDS:]])
            info(f"{run}: {mode} {100 * fraction:g}%, macro-F1 {macro_f1:.3f}")
    names = table.patch_id[test].tolist()
    panels = [
        fraction_panel(results, ranks),
        class_panel(results),
        example_panel(squares[test], truth[test], shown, names, params.examples),
    ]
    charts.write(f"Layers: {run}", panels, html)
    write_scores(scores, run, {"layers": score_layers(results)})
