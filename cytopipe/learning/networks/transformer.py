"""Vision transformers on the feature map of a convolutional network (CytoNet section 3.3)."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from cytopipe.files import InputError
from cytopipe.learning.networks.backbone import Backbone
from cytopipe.learning.networks.r50 import R50
from cytopipe.learning.networks.recomputation import Recomputing
from cytopipe.learning.networks.small import Small

# of ViT (Dosovitskiy et al. 2021)
NORM_EPSILON = 1e-6
INITIAL_SD = 0.02  # of the initial weights


@dataclass(frozen=True)
class Size:
    """Width of the tokens and numbers of heads and layers; the MLPs are four times as wide."""

    width: int
    heads: int
    layers: int


VIT_B = Size(width=768, heads=12, layers=12)
SMALL_VIT = Size(width=96, heads=12, layers=2)


class Transformer(Recomputing):
    """ViT (Dosovitskiy et al. 2021) whose tokens are the elements of a feature map.

    A 1x1 convolution maps the channels to the width of the tokens, learned positions are added and
    a class token is prepended. It has no position, which would only be a second learned vector.
    Layers are pre-norm without dropout; a layer norm follows the last one.

    Parameters
    ----------
    channels : of the feature map.
    map_px : edge of the feature map for which positions are learned; they are interpolated
        bicubically for a map of another size.
    """

    def __init__(self, channels: int, map_px: int, size: Size) -> None:
        super().__init__()
        self.projection = nn.Conv2d(channels, size.width, 1)
        self.positions = nn.Parameter(torch.empty(1, size.width, map_px, map_px))
        # not zero as in ViT: LARS scales the step of a weight by its norm
        self.class_token = nn.Parameter(torch.empty(1, 1, size.width))
        self.layers = nn.ModuleList(Layer(size.width, size.heads) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.width, eps=NORM_EPSILON)
        for weight in (self.positions, self.class_token):
            nn.init.trunc_normal_(weight, std=INITIAL_SD)

    def tokens(self, features: Tensor) -> Tensor:
        """Input of the first layer (n, 1 + rows * columns, width): class token, then the map's."""
        features = self.projection(features)
        positions: Tensor = self.positions
        if features.shape[2:] != positions.shape[2:]:
            # antialias also selects the bicubic kernel that preserves straight lines, a = -0.5
            positions = functional.interpolate(
                positions, size=features.shape[2:], mode="bicubic", antialias=True
            )
        patch_tokens = (features + positions).flatten(2).transpose(1, 2)
        return torch.cat([self.class_token.expand(len(patch_tokens), -1, -1), patch_tokens], dim=1)

    def forward(self, features: Tensor) -> Tensor:
        """Tokens (n, 1 + rows * columns, width) after the last layer and the final norm."""
        tokens = self.tokens(features)
        for layer in self.layers:
            tokens = self.through(layer, tokens)
        normed: Tensor = self.norm(tokens)
        return normed

    def attention(self, features: Tensor) -> Tensor:
        """Attention of the class token in the first layer, (n, heads, rows, columns)."""
        first = self.layers[0]
        assert isinstance(first, Layer)
        tokens = first.norm1(self.tokens(features))
        of_class = first.attention.weights(tokens, queries=1)[:, :, 0, 1:]
        rows, columns = features.shape[2:]
        return of_class.reshape(*of_class.shape[:2], rows, columns)


class Layer(nn.Module):
    """A transformer layer: attention, then a two-layer MLP with GELU, each after a norm."""

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
    """Multi-head self-attention (Vaswani et al. 2017)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.inward = _linear(width, 3 * width)
        self.outward = _linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (n, tokens, width) to the same shape, without storing attention weights."""
        query, key, value = self._parts(tokens)
        return self.joined(functional.scaled_dot_product_attention(query, key, value))

    def weights(self, tokens: Tensor, queries: int) -> Tensor:
        """Attention softmax(q k^T / sqrt(width / heads)) of the first tokens: (n, heads, q, t)."""
        query, key, _ = self._parts(tokens)
        scores = query[:, :, :queries] @ key.transpose(2, 3) / query.shape[-1] ** 0.5
        return scores.softmax(-1)

    def joined(self, mixed: Tensor) -> Tensor:
        """Join the weighted values of the heads (n, heads, tokens, -1) to (n, tokens, width)."""
        output: Tensor = self.outward(mixed.transpose(1, 2).flatten(2))
        return output

    def _parts(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (n, heads, tokens, width / heads)."""
        parts = self.inward(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind()
        return query, key, value


class Hybrid(Backbone):
    """A convolutional network and a transformer on its feature map (CytoNet section 3.3).

    Its features are the class token. Its feature map consists of the patch tokens after the final
    norm, because the class token, to which the paper attaches its layer head, has no spatial
    dimensions.
    """

    def __init__(self, convolutions: Backbone, patch_px: int, size: Size) -> None:
        super().__init__()
        self.width = self.map_width = size.width
        self.convolutions = convolutions
        # on the meta device, which computes shapes only
        images = torch.empty(2, 1, patch_px, patch_px, device="meta")
        map_px = copy.deepcopy(convolutions).to("meta").feature_map(images).shape[-1]
        self.transformer = Transformer(convolutions.map_width, map_px, size)

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


def attention(network: nn.Module, images: Tensor) -> Tensor:
    """Attention of the class token in the first layer (CytoNet Figure 3).

    Parameters
    ----------
    network : an encoder or a backbone.
    images : (n, 1, height, width).

    Returns
    -------
    (n, heads, rows, columns) over the feature map. The weights of a head, together with the omitted
    weight of the class token on itself, sum to 1.

    Raises
    ------
    InputError
        If the network has no transformer.
    """
    backbone = getattr(network, "backbone", network)
    if not isinstance(backbone, Hybrid):
        raise InputError(
            f"attention: {type(backbone).__name__} has no transformer; choose a run whose "
            "architecture is r50_vit or small_vit"
        )
    return backbone.transformer.attention(backbone.convolutions.feature_map(images))


def r50_vit(patch_px: int) -> Hybrid:
    """R50-ViT of the CytoNet paper (section 3.3): ViT-B on the map of R50, 768 features."""
    return Hybrid(R50(patch_px), patch_px, VIT_B)


def small_vit(patch_px: int) -> Hybrid:
    """The transformer of the demo, on the map of `small` with a stride of 4, 96 features."""
    return Hybrid(Small(patch_px, strides=(2, 2, 1, 1)), patch_px, SMALL_VIT)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.trunc_normal_(layer.weight, std=INITIAL_SD)
    nn.init.zeros_(layer.bias)
    return layer
