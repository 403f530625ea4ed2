"""What stands on a backbone's features: heads by name, each from a width to a number of outputs."""

from collections.abc import Callable

from torch import nn

PROJECTED = 256  # outputs of the projection head, CytoNet section 3.4


def projection(width: int, outputs: int) -> nn.Module:
    """The head of contrastive losses: linear, batch norm, ReLU, linear (CytoNet section 3.4)."""
    return nn.Sequential(
        nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, outputs)
    )


def classifier(width: int, outputs: int) -> nn.Module:
    """A linear layer without bias, an output a class (CytoNet section 3.5)."""
    return nn.Linear(width, outputs, bias=False)


def distance(width: int, outputs: int) -> nn.Module:
    """The head of the location and distance task: see `losses.distance` for its outputs."""
    return nn.Linear(width, outputs)


HEADS: dict[str, Callable[[int, int], nn.Module]] = {
    "projection": projection,
    "classifier": classifier,
    "distance": distance,
}
