"""The encoder of the ISBI paper, from the modified U-Net of Spitzer et al. (2017)."""

from torch import Tensor, nn

from cytopipe.files import InputError
from cytopipe.learning.networks.backbone import Backbone, convolution
from cytopipe.learning.networks.recomputation import Recomputing

FILTERS = (16, 32, 64, 64, 128, 128)  # of the six blocks (ISBI 2021, section 2)
SMALLEST_PX = 1129  # patches of the paper, and the receptive field of one element of the map


class UNetEncoder(Recomputing, Backbone):
    """Six blocks of two convolutions, with 2x2 max pooling after all but the last (ISBI 2021).

    The first convolution is 5x5 with stride 4, the others are 3x3 with stride 1; batch norm and
    ReLU follow each. The paper does not mention padding, nor how the map becomes a vector of 128.
    Its patch size answers both: without padding, patches of exactly 1129 px give a map of one
    element. The maps of larger patches are averaged.

    Parameters
    ----------
    patch_px : at least 1129.

    Raises
    ------
    InputError
        If patches are smaller.
    """

    width = map_width = FILTERS[-1]

    def __init__(self, patch_px: int) -> None:
        super().__init__()
        if patch_px < SMALLEST_PX:
            raise InputError(
                f"unet_encoder: patch_px is {patch_px}, but its receptive field has {SMALLEST_PX} "
                "px; raise patch_px or choose another architecture in config/config.yaml"
            )
        blocks: list[nn.Module] = []
        channels = 1
        for number, width in enumerate(FILTERS):
            first = (5, 4) if number == 0 else (3, 1)
            layers = convolution(channels, width, *first, padding=0)
            layers += convolution(width, width, 3, padding=0)
            if number < len(FILTERS) - 1:
                layers.append(nn.MaxPool2d(2))
            blocks.append(nn.Sequential(*layers))
            channels = width
        self.blocks = nn.Sequential(*blocks)

    def feature_map(self, images: Tensor) -> Tensor:
        """Feature map (n, 128, rows, columns) of images (n, 1, height, width)."""
        first, *others = self.blocks
        features: Tensor = first(images)
        for block in others:
            features = self.through(block, features)
        return features
