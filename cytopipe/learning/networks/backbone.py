"""What every network offers below its head."""

from torch import Tensor, nn


class Backbone(nn.Module):
    """A network from patches to features, made for patches of an edge: BACKBONES[name](patch_px).

    Attributes
    ----------
    width : number of features.
    map_width : channels of the feature map.
    """

    width: int
    map_width: int

    def feature_map(self, images: Tensor) -> Tensor:
        """(n, map_width, rows, columns) of images (n, 1, height, width)."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """(n, width) features of images (n, 1, height, width): the mean over their map."""
        return self.feature_map(images).mean((2, 3))


def halved(size_px: int) -> int:
    """Edge of what a padded convolution of stride 2 makes of an edge: a half, rounded up."""
    return -(-size_px // 2)
