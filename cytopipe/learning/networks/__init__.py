"""Networks by name, and the encoder that pretraining trains: a backbone with a head."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cytopipe.learning.networks.heads import HEADS, PROJECTED
from cytopipe.learning.networks.r50 import R50
from cytopipe.learning.networks.small import Small

__all__ = ["BACKBONES", "HEADS", "PROJECTED", "Encoder", "Plan", "build"]

BACKBONES: dict[str, Callable[[], R50 | Small]] = {"r50": R50, "small": Small}


@dataclass(frozen=True)
class Plan:
    """What an encoder is made of; with its weights, everything that is needed to have it again.

    Attributes
    ----------
    architecture : name in BACKBONES.
    patch_px : edge of the patches, on which the positions of a transformer depend.
    head, outputs : name in HEADS and the number of its outputs.
    """

    architecture: str
    patch_px: int
    head: str
    outputs: int


class Encoder(nn.Module):
    """A backbone and its head.

    The loss sees the head's output ("projected"); downstream tasks see the backbone's.

    Attributes
    ----------
    plan : what it is made of.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.backbone = BACKBONES[plan.architecture]()
        self.head = HEADS[plan.head](self.backbone.width, plan.outputs)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Backbone features (n, width) and head outputs (n, outputs) of images (n, 1, h, w)."""
        features: Tensor = self.backbone(images)
        return features, self.head(features)


def build(plan: Plan, seed: int) -> Encoder:
    """An encoder with weights drawn from `seed`; torch's own random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Encoder(plan)
