"""Heads by name, each of which maps the features of a backbone to a number of outputs."""

from collections.abc import Callable

from torch import nn

from cytopipe.learning.networks.backbone import Backbone

PROJECTED = 256  # outputs of the projection head, CytoNet section 3.4
LAYERS = 7  # outputs of the layer head: six layers and background, CytoNet section 3.6


def projection(width: int, outputs: int) -> nn.Module:
    """The head of contrastive losses: linear, batch norm, ReLU, linear (CytoNet section 3.4)."""
    return nn.Sequential(
        nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, outputs)
    )


def classifier(width: int, outputs: int) -> nn.Module:
    """A linear layer without bias, with one output per class (CytoNet section 3.5)."""
    return nn.Linear(width, outputs, bias=False)


def distance(width: int, outputs: int) -> nn.Module:
    """The head of the location and distance task; `losses.distance` describes its outputs."""
    return nn.Linear(width, outputs)


def layer_head(backbone: Backbone, classes: int = LAYERS) -> nn.Module:
    """A 1x1 convolution without bias, for layer segmentation (CytoNet section 3.6).

    It maps `backbone.feature_map(images)` (n, map_width, rows, columns) to logits (n, classes,
    rows, columns). The paper attaches it to the pooled features or the class token, which have no
    spatial dimensions; here it is attached to the last feature map of R50 or the patch tokens of
    R50-ViT.
    """
    return nn.Conv2d(backbone.map_width, classes, 1, bias=False)


HEADS: dict[str, Callable[[int, int], nn.Module]] = {
    "projection": projection,
    "classifier": classifier,
    "distance": distance,
}
