import pytest
import torch
from torch import nn

from cytopipe.learning import networks
from cytopipe.learning.networks.r50 import R50
from cytopipe.learning.networks.small import Small

PLAN = networks.Plan("small", 32, "projection", networks.PROJECTED)


def test_r50_has_the_parameters_and_the_feature_map_of_the_paper() -> None:
    with torch.device("meta"):
        network = R50(2048)
        images = torch.empty(2, 1, 2048, 2048)
        assert network.feature_map(images).shape == (2, 2048, 32, 32)
        assert network(images).shape == (2, 2048)
    parameters = sum(p.numel() for p in network.parameters())
    assert parameters / 1e6 == pytest.approx(23.54, abs=0.005)


def test_the_projection_head_is_as_wide_as_the_backbone() -> None:
    encoder = networks.build(PLAN, seed=0)
    features, projected = encoder(torch.rand(4, 1, 32, 32))
    assert features.shape == (4, Small.width) and projected.shape == (4, 256)
    assert [type(layer) for layer in encoder.head] == [
        nn.Linear,
        nn.BatchNorm1d,
        nn.ReLU,
        nn.Linear,
    ]
    assert encoder.head[0].out_features == Small.width


def test_weights_depend_only_on_the_seed() -> None:
    before = torch.random.get_rng_state()
    one, same, other = (networks.build(PLAN, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["head.0.weight"], other["head.0.weight"])
