"""What a run of the config says."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Params:
    """One run of the config: `pretraining.common`, changed by `pretraining.runs.{run}`.

    Attributes
    ----------
    architecture : name in `learning.networks.BACKBONES`.
    dataset : name in `patches.datasets`; `supcon` and `supervised` need one with areas.
    loss, temperature, sigma_mm, distance : see `learning.objectives.Settings`.
    epochs : passes over the data set; 0 keeps the random weights (the untrained baseline).
    batch_size : patches a step, of all processes together.
    optimiser : see `learning.optimisers.Optimiser`.
    patch_px, spacing_um, margin : see `learning.loading.Field`.
    augmentation : see `learning.augmentation.Augmentation`.
    precision : `float32`, or `bfloat16` for the network's forward and backward pass. bfloat16 has
        the range of float32, so that the gradients need no scaling.
    checkpointing : keep few activations and compute the others again in the backward pass: less
        memory for a third more time (CytoNet section 3.9, for the transformer).
    compile : translate the network by torch.compile first: minutes at the start, faster steps.
    workers : processes that read patches, for each training process; 0 reads them in that one.
    cache_mb : windows are held in memory, by each training process, if all of them fit into this.
    seed : of weights, order and augmentation.
    """

    architecture: Literal["r50", "r50_vit", "unet_encoder", "small", "small_vit"]
    dataset: str
    loss: Literal["spatialnce", "simclr", "supcon", "supervised", "distance"]
    temperature: float
    sigma_mm: float
    distance: Literal["euclidean", "same_hemisphere", "geodesic"]
    epochs: int
    batch_size: int
    optimiser: Mapping[str, Any]
    patch_px: int
    spacing_um: float
    margin: Literal["exact", "reflect"]
    augmentation: Mapping[str, Any]
    precision: Literal["float32", "bfloat16"]
    checkpointing: bool
    compile: bool
    workers: int
    cache_mb: float
    seed: int
