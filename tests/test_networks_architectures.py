"""The architectures: sizes, feature maps, positions, attention and gradient checkpointing."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from cytopipe.files import InputError
from cytopipe.learning import networks
from cytopipe.learning.networks.r50 import R50, Bottleneck
from cytopipe.learning.networks.recomputation import Recomputing
from cytopipe.learning.networks.transformer import Attention, Hybrid, Layer, Size, Transformer
from cytopipe.learning.networks.unet import UNetEncoder


@pytest.fixture
def backbone() -> Hybrid:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = networks.BACKBONES["small_vit"](32)
    assert isinstance(network, Hybrid)
    return network.eval()


def images(count: int, size: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("name", "parameters_m", "gflop"), [("r50", 23.54, 557.3), ("r50_vit", 110.96, 1205.5)]
)
def test_networks_have_the_papers_size(name: str, parameters_m: float, gflop: float) -> None:
    with torch.device("meta"):
        network = networks.BACKBONES[name](2048)
        with FlopCounterMode(display=False) as counted:
            network(torch.empty(1, 1, 2048, 2048)).sum().backward()
    parameters = sum(p.numel() for p in network.parameters())
    assert parameters / 1e6 == pytest.approx(parameters_m, abs=0.01)
    assert counted.get_total_flops() / 1e9 == pytest.approx(gflop, abs=0.05)


@pytest.mark.parametrize(
    ("name", "patch_px", "width", "shape"),
    [
        ("r50", 2048, 2048, (2048, 32, 32)),
        ("r50_vit", 2048, 768, (768, 32, 32)),
        ("unet_encoder", 1129, 128, (128, 1, 1)),
        ("unet_encoder", 2048, 128, (128, 8, 8)),
        ("small", 32, 128, (128, 4, 4)),
        ("small_vit", 32, 96, (96, 8, 8)),
    ],
)
def test_maps_and_features_have_the_stated_shape(
    name: str, patch_px: int, width: int, shape: tuple[int, int, int]
) -> None:
    with torch.device("meta"):
        network = networks.BACKBONES[name](patch_px)
        patches = torch.empty(2, 1, patch_px, patch_px)
        feature_map = network.feature_map(patches)
        assert feature_map.shape == (2, *shape)
        assert networks.layer_head(network)(feature_map).shape == (2, 7, *shape[1:])
        assert network(patches).shape == (2, width)
    assert (network.width, network.map_width) == (width, shape[0])


@pytest.mark.parametrize("name", ["r50_vit", "small_vit"])
@pytest.mark.parametrize("patch_px", [64, 100, 127, 250, 513])
def test_every_element_of_the_feature_map_has_a_learned_position(name: str, patch_px: int) -> None:
    with torch.device("meta"):
        network = networks.BACKBONES[name](patch_px)
        assert isinstance(network, Hybrid)
        features = network.convolutions.feature_map(torch.empty(2, 1, patch_px, patch_px))
    assert features.shape[2:] == network.transformer.positions.shape[2:]


def test_the_receptive_field_of_the_unet_encoder_is_the_patch_of_the_paper() -> None:
    # the gradient of an element is non-zero for exactly the pixels of its receptive field, if max
    # pooling becomes average pooling and ReLU is removed
    network = UNetEncoder(1129)
    for block in network.blocks:
        assert isinstance(block, nn.Sequential)
        for number, layer in enumerate(block):
            if isinstance(layer, nn.MaxPool2d):
                block[number] = nn.AvgPool2d(2)
            elif isinstance(layer, nn.Conv2d):
                nn.init.constant_(layer.weight, 1 / layer.weight[0].numel())
            else:
                block[number] = nn.Identity()
    pixels = torch.zeros(1, 1, 1129 + 128, 1129 + 128, requires_grad=True)
    feature_map = network.feature_map(pixels)
    assert feature_map.shape[2:] == (2, 2)
    feature_map[0, 0, 0, 0].backward()
    assert pixels.grad is not None
    field = pixels.grad[0, 0] != 0
    assert field[:1129, :1129].all() and not field[1129:].any() and not field[:, 1129:].any()


def test_the_unet_encoder_has_the_layers_of_the_paper() -> None:
    with torch.device("meta"):
        layers = [m for m in UNetEncoder(1129).modules() if not list(m.children())]
    convolutions = [m for m in layers if isinstance(m, nn.Conv2d)]
    filters = [16, 32, 64, 64, 128, 128]
    assert [c.out_channels for c in convolutions] == [f for f in filters for _ in range(2)]
    assert [(c.kernel_size[0], c.stride[0]) for c in convolutions] == [(5, 4)] + 11 * [(3, 1)]
    kinds = "".join(
        {"Conv2d": "c", "BatchNorm2d": "b", "ReLU": "r"}.get(type(m).__name__, "p") for m in layers
    )
    assert kinds == 5 * "cbrcbrp" + "cbrcbr"
    with pytest.raises(InputError, match="patch_px is 1128, but its receptive field has 1129"):
        UNetEncoder(1128)


def test_the_features_of_a_transformer_are_its_class_token(backbone: Hybrid) -> None:
    convolved = backbone.convolutions.feature_map(images(2, 32))
    tokens = backbone.transformer(convolved)
    assert tokens.shape == (2, 1 + 64, 96)
    torch.testing.assert_close(backbone(images(2, 32)), tokens[:, 0])
    feature_map = backbone.feature_map(images(2, 32))
    torch.testing.assert_close(feature_map[1, :, 2, 5], tokens[1, 1 + 2 * 8 + 5])
    # normalised, because the final layer norm starts with weight 1 and bias 0
    torch.testing.assert_close(tokens.mean(-1), torch.zeros(2, 65), atol=1e-5, rtol=0)


def test_tokens_are_the_projected_feature_map_plus_positions_row_by_row(backbone: Hybrid) -> None:
    transformer = backbone.transformer
    features = torch.rand(2, 128, 8, 8)
    tokens = transformer.tokens(features)
    weight, bias = transformer.projection.weight[:, :, 0, 0], transformer.projection.bias
    expected = weight @ features[1, :, 3, 6] + bias + transformer.positions[0, :, 3, 6]
    torch.testing.assert_close(tokens[1, 1 + 3 * 8 + 6], expected)
    torch.testing.assert_close(tokens[1, 0], transformer.class_token[0, 0])


def test_positions_are_interpolated_for_another_map_size() -> None:
    # positions increase linearly: away from the edges, bicubic interpolation preserves the line
    transformer = Transformer(channels=4, map_px=16, size=Size(8, 2, 1))
    with torch.no_grad():
        transformer.positions[:] = torch.arange(16.0)
        nn.init.zeros_(transformer.projection.weight)
        transformer.projection.bias.zero_()
    tokens = transformer.tokens(torch.rand(1, 4, 20, 32))[0, 1:].unflatten(0, (20, 32))
    expected = (torch.arange(32.0) + 0.5) / 2 - 0.5
    torch.testing.assert_close(tokens[10, 4:-4, 0], expected[4:-4])
    torch.testing.assert_close(tokens, tokens[:1].expand_as(tokens))


def test_patches_of_another_size_are_embedded_too(backbone: Hybrid) -> None:
    assert backbone(images(2, 48)).shape == (2, 96)
    assert backbone.feature_map(images(2, 48)).shape == (2, 96, 12, 12)
    assert networks.attention(backbone, images(2, 48)).shape == (2, 12, 12, 12)


def test_attention_equals_torchs_multihead_attention() -> None:
    torch.manual_seed(1)
    ours, theirs = Attention(24, 3), nn.MultiheadAttention(24, 3, batch_first=True)
    theirs.in_proj_weight, theirs.in_proj_bias = ours.inward.weight, ours.inward.bias
    theirs.out_proj.weight, theirs.out_proj.bias = ours.outward.weight, ours.outward.bias
    tokens = torch.randn(2, 7, 24) * 20
    expected, weights = theirs(tokens, tokens, tokens, average_attn_weights=False)
    torch.testing.assert_close(ours(tokens), expected)
    torch.testing.assert_close(ours.weights(tokens, queries=7), weights)
    torch.testing.assert_close(ours.weights(tokens, queries=1), weights[:, :, :1])
    assert weights.std() > 0.05  # far from uniform, so that swapped query and key would fail


def test_attention_of_the_class_token_reproduces_the_output_of_the_first_layer(
    backbone: Hybrid,
) -> None:
    with torch.no_grad():
        for parameter in backbone.transformer.parameters():
            parameter *= 3  # attention far from uniform
    patches = images(2, 32)
    attention = networks.attention(backbone, patches)
    assert attention.shape == (2, 12, 8, 8)
    assert (attention > 0).all() and (attention.sum((2, 3)) < 1).all()
    assert attention.max() > 3 * attention.mean()
    layer = backbone.transformer.layers[0]
    assert isinstance(layer, Layer)
    tokens = backbone.transformer.tokens(backbone.convolutions.feature_map(patches))
    normed = layer.norm1(tokens)
    value = layer.attention.inward(normed)[..., 2 * 96 :].unflatten(-1, (12, 8)).transpose(1, 2)
    to_patches = attention.flatten(2)
    to_itself = 1 - to_patches.sum(-1, keepdim=True)
    mixed = torch.cat([to_itself, to_patches], -1).unsqueeze(2) @ value
    output = tokens[:, :1] + layer.attention.joined(mixed)
    output = output + layer.mlp(layer.norm2(output))
    torch.testing.assert_close(output[:, 0], layer(tokens)[:, 0], rtol=1e-4, atol=1e-4)


def test_a_network_without_transformer_has_no_attention() -> None:
    encoder = networks.build(networks.Plan("small", 32, "projection", 8), seed=0)
    with pytest.raises(InputError, match="Small has no transformer"):
        networks.attention(encoder, images(1, 32))


def test_the_layer_head_is_a_convolution_without_bias_on_the_feature_map(backbone: Hybrid) -> None:
    head = networks.layer_head(backbone)
    logits = head(backbone.feature_map(images(2, 32)))
    assert logits.shape == (2, 7, 8, 8)
    (weight,) = head.parameters()
    assert weight.shape == (7, 96, 1, 1)


class OwnBatchNorm(nn.BatchNorm2d):
    """Batch norm with an additional buffer that each forward pass updates."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, input: Tensor) -> Tensor:
        assert isinstance(self.seen, Tensor)
        self.seen += len(input)
        return super().forward(input)


class Tiny(Recomputing):
    """The smallest network with a stem, three residual blocks and two transformer layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, stride=4, padding=1)
        self.blocks = nn.ModuleList([Bottleneck(16, 4, 1) for _ in range(3)])
        self.transformer = Transformer(16, 4, Size(12, 2, 2))

    def forward(self, batch: Tensor) -> Tensor:
        features = self.stem(batch)
        for block in self.blocks:
            features = self.through(block, features)
        tokens: Tensor = self.transformer(features)
        return tokens[:, 0]


def converted(network: nn.Module, kind: str) -> nn.Module:
    """The network with its batch norm layers replaced by another kind."""
    if kind == "synchronised":
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    if kind == "own":
        for module in list(network.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.BatchNorm2d):
                    setattr(module, name, OwnBatchNorm(child.num_features))
    return network


def trained(network: nn.Module, precision: torch.dtype | None) -> tuple[list[Tensor], nn.Module]:
    """Outputs and gradients of two steps, and the network after them."""
    results = []
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    for step in range(2):
        optimiser.zero_grad()
        with torch.autocast("cpu", precision or torch.bfloat16, enabled=precision is not None):
            output = network(images(6, 16, seed=step))
        output.float().square().mul(torch.arange(12.0)).sum().backward()
        gradients = [p.grad.clone() for p in network.parameters() if p.grad is not None]
        results += [output.detach(), *gradients]
        optimiser.step()
    return results, network


@pytest.mark.parametrize("kind", ["plain", "synchronised", "own"])
@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_checkpointing_does_not_change_the_results(
    kind: str, precision: torch.dtype | None
) -> None:
    torch.manual_seed(0)
    plain = converted(Tiny(), kind)
    recomputing = copy.deepcopy(plain)
    networks.checkpoint_activations(recomputing)
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    block = recomputing.get_submodule("blocks.1")
    block.register_forward_pre_hook(count)
    expected, plain = trained(plain, precision)
    results, recomputing = trained(recomputing, precision)
    assert calls == 4  # two steps with two forward passes each
    assert all(torch.equal(a, b) for a, b in zip(expected, results, strict=True))
    buffers = dict(recomputing.named_buffers())
    for name, buffer in plain.named_buffers():
        assert torch.equal(buffer, buffers[name]), name
        if name.endswith("num_batches_tracked"):
            assert buffers[name] == 2
        if name.endswith("seen"):
            assert buffers[name] == 12


# torch.compile suppresses this warning of its own, but pytest turns it into an error before that
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_torch_compile_does_not_update_the_statistics_twice() -> None:
    torch.manual_seed(0)
    plain = converted(Tiny(), "own")
    recomputing = copy.deepcopy(plain)
    networks.checkpoint_activations(recomputing)
    expected, plain = trained(plain, None)
    compiled = torch.compile(recomputing, backend="aot_eager")
    assert isinstance(compiled, nn.Module)
    results, _ = trained(compiled, None)
    for left, right in zip(expected, results, strict=True):
        torch.testing.assert_close(left, right)
    buffers = dict(recomputing.named_buffers())
    for name, buffer in plain.named_buffers():
        torch.testing.assert_close(buffer, buffers[name])


def test_frozen_statistics_stay_frozen_with_checkpointing() -> None:
    torch.manual_seed(0)
    network = Tiny().eval()
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    networks.checkpoint_activations(network)
    network(images(6, 16)).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in network.named_buffers())


@pytest.mark.parametrize(
    ("name", "patch_px", "checkpointed"),
    [
        ("r50", 2048, 15),
        ("r50_vit", 2048, 15 + 12),
        ("unet_encoder", 1129, 5),
        ("small_vit", 32, 2),
    ],
)
def test_all_blocks_but_the_first_and_all_layers_are_checkpointed(
    name: str, patch_px: int, checkpointed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks: list[nn.Module] = []

    def through(block: nn.Module, features: Tensor, **_: object) -> Tensor:
        blocks.append(block)
        output: Tensor = block(features)
        return output

    monkeypatch.setattr("cytopipe.learning.networks.recomputation.checkpoint", through)
    with torch.device("meta"):
        network = networks.BACKBONES[name](patch_px)
        network(torch.empty(2, 1, patch_px, patch_px))
        assert not blocks
        networks.checkpoint_activations(network)
        network(torch.empty(2, 1, patch_px, patch_px))
    assert len(blocks) == checkpointed
    if name.startswith("r50"):
        convolutions = network if name == "r50" else network.get_submodule("convolutions")
        assert isinstance(convolutions, R50)
        assert blocks[:15] == list(convolutions.stages)[1:]


def test_a_network_without_blocks_to_checkpoint_is_refused() -> None:
    encoder = networks.build(networks.Plan("small", 32, "projection", 8), seed=0)
    with pytest.raises(InputError, match="Small has neither residual blocks"):
        networks.checkpoint_activations(encoder)


def test_an_encoder_embeds_windows_as_its_forward_pass_does() -> None:
    encoder = networks.build(networks.Plan("small_vit", 32, "projection", 8), seed=0).eval()
    windows = (images(3, 32)[:, 0] * 255).to(torch.uint8)
    embedded = encoder.embed(windows.numpy())
    expected = encoder(windows[:, None].float() / 255)
    assert [part.shape for part in embedded] == [(3, 96), (3, 8)]
    for left, right in zip(embedded, expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(left), right)
    assert functional.cosine_similarity(expected[0][:1], expected[0][1:2]) < 1
