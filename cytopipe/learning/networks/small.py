"""A network for the demo, which trains within minutes on a CPU on patches of 32 to 64 px."""

from torch import Tensor, nn

from cytopipe.learning.networks.backbone import Backbone, convolution


class Small(Backbone):
    """Four convolutions with batch norm and ReLU, three of them with stride 2, to 128 features.

    Strides instead of pooling give the same features in less than half of the time. A patch of
    32 px costs 5 M multiply-adds. Each patch is first scaled to mean 0 and standard deviation 1:
    near the edge of the tissue, layers are faint, and a short training does not learn to ignore the
    brightness.

    Parameters
    ----------
    patch_px : ignored, patches may have any size.
    strides : of the four convolutions, 1 or 2.
    """

    width = map_width = 128

    def __init__(self, patch_px: int, strides: tuple[int, int, int, int] = (2, 2, 2, 1)) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            nn.InstanceNorm2d(1),
            *convolution(1, 32, kernel=5, stride=strides[0]),
            *convolution(32, 64, kernel=3, stride=strides[1]),
            *convolution(64, 128, kernel=3, stride=strides[2]),
            *convolution(128, 128, kernel=3, stride=strides[3]),
        )

    def feature_map(self, images: Tensor) -> Tensor:
        """Feature map (n, 128, rows, columns) of images (n, 1, height, width)."""
        features: Tensor = self.stages(images)
        return features
