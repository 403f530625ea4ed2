"""A batch in parts gives the step of the whole batch."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ranks
import torch
from striped_study import params, train, write_study
from test_distributed import processes

from cytopipe.files import InputError
from cytopipe.learning import augmentation, checkpoints, networks, optimisers
from cytopipe.learning.distributed import World
from cytopipe.learning.loading import Batch, in_parts
from cytopipe.learning.step import step, step_in_parts
from cytopipe.pretraining.dataset import build_objective

WORLD = World(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study"))


def after_a_step(loss: str, parts: int, frozen: bool = True) -> dict[str, torch.Tensor]:
    """Mean loss, gradients and buffers of a batch in float64, in so many parts; 0 is `step`."""
    settings = params(loss=loss)
    objective = build_objective(ranks.patches(), settings, None, WORLD.device)
    plan = networks.Plan("small", 16, objective.head, objective.outputs)
    encoder = networks.build(plan, seed=0).double()
    if frozen:  # only the backbone's batch norm depends on the parts
        encoder.backbone.eval()
    optimiser = optimisers.build(encoder, settings.optimiser, settings.batch_size)
    random = torch.Generator().manual_seed(1)
    count = ranks.COUNT
    windows = torch.randint(0, 256, (count, 1, 24, 24), generator=random, dtype=torch.uint8)
    draws = torch.from_numpy(
        np.stack(
            [
                [augmentation.draw(settings.augmentation, 1, 0, index, view) for view in (0, 1)]
                for index in range(count)
            ]
        )
    )[:, : objective.views]
    batch = Batch(windows, draws, torch.randperm(count, generator=random))
    if parts:
        pieces = [Batch(*each) for each in zip(*(t.chunk(parts) for t in batch), strict=True)]
        mean = step_in_parts(encoder, optimiser, objective, pieces, WORLD, settings)
    else:
        mean = step(encoder, optimiser, objective, batch, WORLD, settings)
    results = {"loss": mean, **dict(encoder.named_buffers()), **dict(encoder.named_parameters())}
    for name, weight in encoder.named_parameters():
        assert weight.grad is not None
        results[f"gradient {name}"] = weight.grad
    return {name: value.detach().clone() for name, value in results.items()}


@pytest.fixture
def float64(monkeypatch: pytest.MonkeyPatch) -> None:
    apply = augmentation.apply
    monkeypatch.setattr(augmentation, "apply", lambda *each: apply(*each).double())


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("loss", ranks.LOSSES)
def test_parts_give_the_step_of_the_whole_batch(loss: str) -> None:
    """Loss, gradients, next weights, and the statistics of the head's batch norm."""
    whole = after_a_step(loss, 0)
    for parts in (1, 2, 8):
        results = after_a_step(loss, parts)
        assert results.keys() == whole.keys()
        for name, value in results.items():
            torch.testing.assert_close(value, whole[name], rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_batch_norm_of_the_backbone_is_over_a_part_and_updated_once() -> None:
    whole, one, two = (after_a_step("spatialnce", parts, frozen=False) for parts in (0, 1, 2))
    name = "backbone.stages.2"
    assert one[f"{name}.num_batches_tracked"] == 1 and two[f"{name}.num_batches_tracked"] == 2
    assert two["head.1.num_batches_tracked"] == 1
    for key, value in one.items():  # a single part is the batch
        torch.testing.assert_close(value, whole[key], rtol=1e-9, atol=1e-12)
    assert not torch.allclose(two[f"{name}.running_var"], whole[f"{name}.running_var"])


def test_keys_are_divided_in_order() -> None:
    batches = [[(0, row) for row in range(start, start + 6)] for start in (0, 6)]
    divided = in_parts(batches, 3)
    assert [len(part) for part in divided] == [2] * 6
    assert [*itertools.chain(*divided)] == [*itertools.chain(*batches)]
    assert in_parts(batches, 1) == batches


def weights(folder: Path) -> dict[str, torch.Tensor]:
    content: dict[str, torch.Tensor] = checkpoints.load(folder / "final.pt")["weights"]
    return content


def assert_close(one: Path, other: Path, **limits: float) -> None:
    for name, value in weights(one).items():
        torch.testing.assert_close(weights(other)[name], value, **limits)


def test_a_batch_that_has_no_such_parts_is_refused(study: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a batch of 8 patches .* into 3 parts each; change"):
        train(study, tmp_path, params(batch_parts=3))


@pytest.mark.slow
def test_processes_divide_parts(study: Path, tmp_path: Path) -> None:
    """A part of all processes together holds the patches of the part of a single one."""
    train(study, tmp_path / "one", params(batch_parts=2, epochs=1))
    assert processes(2, "parts", tmp_path / "two", study) == [0, 0]
    assert_close(tmp_path / "one", tmp_path / "two", rtol=1e-3, atol=1e-4)


@pytest.fixture
def compiler_without_code() -> Iterator[None]:
    torch.compiler.set_default_backend("aot_eager")
    yield
    torch.compiler.set_default_backend("inductor")


@pytest.mark.slow
@pytest.mark.usefixtures("compiler_without_code")
def test_a_compiled_backbone_gives_the_same(study: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"batch_parts": 2, "epochs": 1}
    for compiled in (False, True):
        train(study, tmp_path / str(compiled), params(compile=compiled, **settings))
    assert_close(tmp_path / "False", tmp_path / "True", rtol=1e-3, atol=1e-4)
