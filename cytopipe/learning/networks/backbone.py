"""The interface of every network below its head."""

from torch import Tensor, nn


def convolution(
    channels: int, width: int, kernel: int, stride: int = 1, padding: int | None = None
) -> list[nn.Module]:
    """A convolution without bias, batch norm and ReLU; padded by half the kernel by default."""
    padded = kernel // 2 if padding is None else padding
    return [
        nn.Conv2d(channels, width, kernel, stride=stride, padding=padded, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]


class Backbone(nn.Module):
    """A network from patches to features, made by BACKBONES[name](patch_px).

    Attributes
    ----------
    width : number of features.
    map_width : number of channels of the feature map.
    """

    width: int
    map_width: int

    def feature_map(self, images: Tensor) -> Tensor:
        """Feature map (n, map_width, rows, columns) of images (n, 1, height, width)."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Features (n, width) of images (n, 1, height, width): the mean over the feature map."""
        return self.feature_map(images).mean((2, 3))
