"""A network for the demo: minutes on a CPU, on patches of some 32 to 64 px."""

from functools import reduce

from torch import Tensor, nn

from cytopipe.learning.networks.backbone import Backbone, halved


class Small(Backbone):
    """Four convolutions with batch norm and ReLU, three of stride 2, to 128 features.

    Strides instead of pooling: the same features for less than half of the time. A patch of 32 px
    costs 5 M multiply-adds. Each patch is brought to mean 0 and deviation 1 first: next to the edge
    of the tissue, layers are faint, and few steps do not suffice to learn to ignore its brightness.

    Parameters
    ----------
    patch_px : of no effect, patches may have any size.
    strides : of the four convolutions, 1 or 2.
    """

    width = map_width = 128

    def __init__(self, patch_px: int, strides: tuple[int, int, int, int] = (2, 2, 2, 1)) -> None:
        super().__init__()
        self.strides = strides
        self.stages = nn.Sequential(
            nn.InstanceNorm2d(1),
            *_convolution(1, 32, kernel=5, stride=strides[0]),
            *_convolution(32, 64, kernel=3, stride=strides[1]),
            *_convolution(64, 128, kernel=3, stride=strides[2]),
            *_convolution(128, 128, kernel=3, stride=strides[3]),
        )

    def feature_map(self, images: Tensor) -> Tensor:
        """(n, 128, height / 8, width / 8) of images (n, 1, height, width), by its own strides."""
        features: Tensor = self.stages(images)
        return features

    def map_px(self, patch_px: int) -> int:
        """Edge of the map of a patch."""
        return reduce(
            lambda edge, stride: halved(edge) if stride == 2 else edge, self.strides, patch_px
        )


def _convolution(channels: int, width: int, kernel: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, width, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]
