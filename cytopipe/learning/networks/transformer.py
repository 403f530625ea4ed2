"""Vision transformers on the feature map of a convolutional network (CytoNet section 3.3)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from cytopipe.files import InputError
from cytopipe.learning.networks.backbone import Backbone
from cytopipe.learning.networks.r50 import R50
from cytopipe.learning.networks.recomputation import Recomputing
from cytopipe.learning.networks.small import Small

NORM_EPSILON = 1e-6  # of ViT (Dosovitskiy et al. 2021), as is the spread of the first weights
SPREAD = 0.02


@dataclass(frozen=True)
class Size:
    """Width of the tokens, heads and layers of a transformer; its MLP is four times as wide."""

    width: int
    heads: int
    layers: int


VIT_B = Size(width=768, heads=12, layers=12)
SMALL_VIT = Size(width=96, heads=12, layers=2)


class Transformer(Recomputing):
    """ViT (Dosovitskiy et al. 2021) on a feature map, whose places are its tokens.

    A 1x1 convolution brings the map to the transformer's width, learned positions are added, a
    class token is prepended, which has no position: it would be a second learned vector of the same
    place. Layers are pre-norm, without dropout; a layer norm follows the last one.

    Parameters
    ----------
    channels : of the feature map.
    map_px : edge of the map that the positions are learned for; for another map they are
        interpolated (bicubic).
    """

    def __init__(self, channels: int, map_px: int, size: Size) -> None:
        super().__init__()
        self.projection = nn.Conv2d(channels, size.width, 1)
        self.positions = nn.Parameter(torch.empty(1, size.width, map_px, map_px))
        # not zero as in ViT: LARS takes the norm of a weight for the length of its step
        self.class_token = nn.Parameter(torch.empty(1, 1, size.width))
        self.layers = nn.ModuleList(Layer(size.width, size.heads) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.width, eps=NORM_EPSILON)
        for weight in (self.positions, self.class_token):
            nn.init.trunc_normal_(weight, std=SPREAD)

    def tokens(self, features: Tensor) -> Tensor:
        """Input of the first layer (n, 1 + rows * columns, width): class token, then row by row."""
        features = self.projection(features)
        positions: Tensor = self.positions
        if features.shape[2:] != positions.shape[2:]:
            # antialias also takes the kernel that gives straight lines back, a = -0.5
            positions = functional.interpolate(
                positions, size=features.shape[2:], mode="bicubic", antialias=True
            )
        placed = (features + positions).flatten(2).transpose(1, 2)
        return torch.cat([self.class_token.expand(len(placed), -1, -1), placed], dim=1)

    def forward(self, features: Tensor) -> Tensor:
        """Tokens (n, 1 + rows * columns, width) after the last layer and its norm."""
        tokens = self.tokens(features)
        for layer in self.layers:
            tokens = self.through(layer, tokens)
        normed: Tensor = self.norm(tokens)
        return normed

    def attention(self, features: Tensor) -> Tensor:
        """What the class token attends to in the first layer, (n, heads, rows, columns)."""
        first = self.layers[0]
        assert isinstance(first, Layer)
        tokens = first.norm1(self.tokens(features))
        of_class = first.attention.weights(tokens, queries=1)[:, :, 0, 1:]
        rows, columns = features.shape[2:]
        return of_class.reshape(*of_class.shape[:2], rows, columns)


class Layer(nn.Module):
    """A layer of a transformer: attention, then a two-layer MLP with GELU, each after a norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.mlp = nn.Sequential(_linear(width, 4 * width), nn.GELU(), _linear(4 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class Attention(nn.Module):
    """Self-attention of several heads (Vaswani et al. 2017)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.inward = _linear(width, 3 * width)
        self.outward = _linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, tokens, width) of the same; a fused kernel that never holds the weights."""
        query, key, value = self._parts(tokens)
        return self.joined(functional.scaled_dot_product_attention(query, key, value))

    def weights(self, tokens: Tensor, queries: int) -> Tensor:
        """softmax(q k^T / sqrt(width / heads)) of the first `queries` tokens: (n, heads, q, t)."""
        query, key, _ = self._parts(tokens)
        scores = query[:, :, :queries] @ key.transpose(2, 3) / query.shape[-1] ** 0.5
        return scores.softmax(-1)

    def joined(self, mixed: Tensor) -> Tensor:
        """Outputs (n, tokens, width) of the weighted values of all heads (n, heads, tokens, -1)."""
        output: Tensor = self.outward(mixed.transpose(1, 2).flatten(2))
        return output

    def _parts(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (n, heads, tokens, width / heads)."""
        parts = self.inward(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind()
        return query, key, value


class Hybrid(Backbone):
    """A convolutional network and a transformer on its feature map (CytoNet section 3.3).

    Its features are the class token. The paper hangs its layer head on it, too, which has no
    places: here the map is made of the patch tokens of the last layer, after its norm.
    """

    def __init__(self, convolutions: R50 | Small, patch_px: int, size: Size) -> None:
        super().__init__()
        self.width = self.map_width = size.width
        self.convolutions = convolutions
        self.transformer = Transformer(convolutions.map_width, convolutions.map_px(patch_px), size)

    def feature_map(self, images: Tensor) -> Tensor:
        """Patch tokens (n, width, rows, columns) of images (n, 1, height, width)."""
        features = self.convolutions.feature_map(images)
        tokens = self.transformer(features)[:, 1:]
        rows, columns = features.shape[2:]
        return tokens.transpose(1, 2).reshape(len(tokens), self.map_width, rows, columns)

    def forward(self, images: Tensor) -> Tensor:
        """Class token (n, width) of images (n, 1, height, width)."""
        token: Tensor = self.transformer(self.convolutions.feature_map(images))[:, 0]
        return token

    def attention(self, images: Tensor) -> Tensor:
        """Attention of the class token in the first layer (CytoNet Figure 3).

        Parameters
        ----------
        images : (n, 1, height, width).

        Returns
        -------
        (n, heads, rows, columns), of places of the feature map. A head's weights sum to 1 together
        with that of the class token on itself, which is left out.
        """
        return self.transformer.attention(self.convolutions.feature_map(images))


def attention(network: nn.Module, images: Tensor) -> Tensor:
    """Attention of the class token of an encoder or a backbone: see `Hybrid.attention`.

    Raises
    ------
    InputError
        If it has no transformer.
    """
    backbone = getattr(network, "backbone", network)
    if not isinstance(backbone, Hybrid):
        raise InputError(
            f"attention: {type(backbone).__name__} has no transformer; take a run whose "
            "architecture is r50_vit or small_vit"
        )
    return backbone.attention(images)


def r50_vit(patch_px: int) -> Hybrid:
    """R50-ViT of the CytoNet paper (section 3.3): ViT-B on the map of R50, 768 features."""
    return Hybrid(R50(patch_px), patch_px, VIT_B)


def small_vit(patch_px: int) -> Hybrid:
    """The demo's transformer, 96 features: on the map of `small` at a stride of 4."""
    return Hybrid(Small(patch_px, strides=(2, 2, 1, 1)), patch_px, SMALL_VIT)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.trunc_normal_(layer.weight, std=SPREAD)
    nn.init.zeros_(layer.bias)
    return layer
