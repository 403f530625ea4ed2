"""Networks by name, and the encoder that pretraining trains: a backbone with a projection head."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from cytopipe.learning.networks.r50 import R50
from cytopipe.learning.networks.small import Small

BACKBONES: dict[str, Callable[[], R50 | Small]] = {"r50": R50, "small": Small}
PROJECTED = 256  # output units of the projection head, section 3.4


class Encoder(nn.Module):
    """A backbone and its projection head (CytoNet section 3.4).

    The head is a linear layer as wide as the backbone's output, batch norm, ReLU and a linear layer
    of 256 units. The loss sees its output; downstream tasks see the backbone's.
    """

    def __init__(self, architecture: str) -> None:
        super().__init__()
        self.backbone = BACKBONES[architecture]()
        width = self.backbone.width
        self.head = nn.Sequential(
            nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, PROJECTED)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Backbone features (n, width) and projected features (n, 256) of images (n, 1, h, w)."""
        features: Tensor = self.backbone(images)
        return features, self.head(features)


def build(architecture: str, seed: int) -> Encoder:
    """An encoder with weights drawn from `seed`; torch's own random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Encoder(architecture)
