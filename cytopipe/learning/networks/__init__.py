"""Networks by name, and the encoder that pretraining trains: a backbone with a head."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cytopipe.learning import augmentation
from cytopipe.learning.networks.backbone import Backbone
from cytopipe.learning.networks.heads import HEADS, LAYERS, PROJECTED, layer_head
from cytopipe.learning.networks.r50 import R50
from cytopipe.learning.networks.recomputation import buffers_restored, checkpoint_activations
from cytopipe.learning.networks.small import Small
from cytopipe.learning.networks.transformer import attention, r50_vit, small_vit
from cytopipe.learning.networks.unet import UNetEncoder

BACKBONES: dict[str, Callable[[int], Backbone]] = {
    "r50": R50,
    "r50_vit": r50_vit,
    "unet_encoder": UNetEncoder,
    "small": Small,
    "small_vit": small_vit,
}


@dataclass(frozen=True)
class Plan:
    """The architecture of an encoder; a plan and weights are enough to restore it.

    Attributes
    ----------
    architecture : name in BACKBONES.
    patch_px : edge of the patches, which sets the number of positions of a transformer.
    head, outputs : name in HEADS and number of its outputs.
    """

    architecture: str
    patch_px: int
    head: str
    outputs: int


class Encoder(nn.Module):
    """A backbone and a head.

    The loss uses the outputs of the head, downstream tasks the features of the backbone.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.backbone = BACKBONES[plan.architecture](plan.patch_px)
        self.head = HEADS[plan.head](self.backbone.width, plan.outputs)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Backbone features (n, width) and head outputs (n, outputs) of images (n, 1, h, w)."""
        features: Tensor = self.backbone(images)
        return features, self.head(features)

    def embed(self, windows: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Backbone features (n, width) and head outputs (n, outputs) of patches (n, h, w).

        The encoder must be in evaluation mode, so that batch norm uses its running statistics.
        """
        device = next(self.parameters()).device
        with torch.inference_mode():
            images = augmentation.centre_crop(torch.from_numpy(windows)[:, None], windows.shape[-1])
            features, projected = self(images.to(device))
        return features.cpu().numpy(), projected.cpu().numpy()


def build(plan: Plan, seed: int) -> Encoder:
    """An encoder with weights drawn from `seed`; the global random state does not change."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Encoder(plan)
