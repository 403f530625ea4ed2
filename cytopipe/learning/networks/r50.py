"""R50 of the CytoNet paper (section 3.3): ResNet50 with a stem for large patches."""

import torch
from torch import Tensor, nn

from cytopipe.learning.networks.backbone import Backbone, convolution
from cytopipe.learning.networks.recomputation import Recomputing

# width, number of bottlenecks and stride of ResNet50's four stages (He et al. 2016, table 1)
STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))


class R50(Recomputing, Backbone):
    """ResNet50 with a stem of a 5x5 convolution of stride 4, a 3x3 convolution and 2x2 pooling.

    Patches may have any size: the 2048 features are averaged over the map.
    """

    width = map_width = 2048

    def __init__(self, patch_px: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *convolution(1, 64, kernel=5, stride=4),
            *convolution(64, 64, kernel=3),
            nn.MaxPool2d(2),
        )
        blocks: list[nn.Module] = []
        channels = 64
        for width, count, stride in STAGES:
            for number in range(count):
                blocks.append(Bottleneck(channels, width, stride if number == 0 else 1))
                channels = 4 * width
        self.stages = nn.Sequential(*blocks)

    def feature_map(self, images: Tensor) -> Tensor:
        """Feature map (n, 2048, height / 64, width / 64) of images (n, 1, height, width)."""
        first, *others = self.stages
        features: Tensor = first(self.stem(images))
        for block in others:
            features = self.through(block, features)
        return features


class Bottleneck(nn.Module):
    """A residual block: 1x1, 3x3 (strided) and 1x1 convolution to four times the width."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            *convolution(channels, width, kernel=1),
            *convolution(width, width, kernel=3, stride=stride),
            *convolution(width, 4 * width, kernel=1)[:-1],
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != 4 * width:
            self.shortcut = nn.Sequential(*convolution(channels, 4 * width, 1, stride)[:-1])

    def forward(self, images: Tensor) -> Tensor:
        return torch.relu(self.branch(images) + self.shortcut(images))
