"""A network for the demo: minutes on a CPU, on patches of some 32 to 64 px."""

from torch import Tensor, nn


class Small(nn.Module):
    """Four convolutions with batch norm and ReLU, three of stride 2, to 128 features.

    Strides instead of pooling: the same features for less than half of the time. A patch of 32 px
    costs 5 M multiply-adds. Each patch is brought to mean 0 and deviation 1 first: next to the edge
    of the tissue, layers are faint, and few steps do not suffice to learn to ignore its brightness.

    Attributes
    ----------
    width : 128, the number of features.
    """

    width = 128

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            nn.InstanceNorm2d(1),
            *_convolution(1, 32, kernel=5, stride=2),
            *_convolution(32, 64, kernel=3, stride=2),
            *_convolution(64, 128, kernel=3, stride=2),
            *_convolution(128, 128, kernel=3, stride=1),
        )

    def feature_map(self, images: Tensor) -> Tensor:
        """(n, 128, height / 8, width / 8) of images (n, 1, height, width)."""
        features: Tensor = self.stages(images)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """(n, 128) features, averaged over the map, of images (n, 1, height, width)."""
        return self.feature_map(images).mean((2, 3))


def _convolution(channels: int, width: int, kernel: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, width, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]
