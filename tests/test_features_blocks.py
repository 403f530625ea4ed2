"""Features of many points: in blocks, by several readers, continued after an interruption."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_features import run, study  # noqa: F401

from cytopipe.features import network
from cytopipe.formats import tables
from cytopipe.learning import checkpoints, embedding, networks

OUTPUTS = ("B01.npy", "B01-projected.npy")


def arrays(folder: Path) -> list[np.ndarray]:
    return [np.load(folder / name) for name in OUTPUTS]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of patches that each call is to read."""
    numbers: list[int] = []
    outputs_of = embedding.outputs_of

    def counted(encoder: Any, patches: Any, batches: Any, *others: Any) -> Any:
        numbers.append(sum(map(len, batches)))
        return outputs_of(encoder, patches, batches, *others)

    monkeypatch.setattr(embedding, "outputs_of", counted)
    monkeypatch.setattr(network, "BLOCK", 4)
    return numbers


def fail_at_block(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Saving the block of this number fails, as on a full disk."""
    save, saved = np.save, 0

    def failing(path: Any, values: Any) -> None:
        nonlocal saved
        saved += 1
        if saved == number:
            raise OSError("no space left on device")
        save(path, values)

    monkeypatch.setattr(np, "save", failing)


def test_an_interrupted_job_continues_after_the_last_block(
    study: Path,  # noqa: F811
    read: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(study)
    whole = arrays(study)
    for name in OUTPUTS:
        (study / name).unlink()
    with monkeypatch.context() as patch:
        fail_at_block(patch, 2)
        with pytest.raises(OSError, match="no space"):
            run(study)
    assert not any((study / name).exists() for name in OUTPUTS)
    run(study, cache_mb=0.0)  # may change in between
    # 9 usable points in blocks of 4: the second and the third block are left
    assert read == [9, 9, 5]
    for one, other in zip(whole, arrays(study), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not (study / "B01.blocks").exists()


@pytest.mark.parametrize("what", ["weights", "points", "precision"])
def test_blocks_of_another_job_are_not_used(
    study: Path,  # noqa: F811
    read: list[int],
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    with monkeypatch.context() as patch:
        fail_at_block(patch, 3)
        with pytest.raises(OSError, match="no space"):
            run(study)
    if what == "weights":
        content = checkpoints.load(study / "final.pt")
        other = networks.build(networks.Plan(**content["plan"]), seed=1).state_dict()
        checkpoints.save({**content, "weights": other}, study / "final.pt")
    elif what == "points":
        points = tables.read(tables.PointRow, study / "points.parquet")
        points.loc[0, "x_um"] += 50
        tables.write(tables.PointRow, points, study / "points.parquet")
    run(study, precision="bfloat16" if what == "precision" else "float32")
    assert read == [9, 9]
    continued = arrays(study)
    run(study, precision="bfloat16" if what == "precision" else "float32")
    for one, other in zip(continued, arrays(study), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_workers_and_levels_in_memory_change_nothing(
    study: Path,  # noqa: F811
) -> None:
    run(study, workers=0, cache_mb=0.0)
    alone = arrays(study)
    run(study, workers=2, cache_mb=1.0)
    for one, other in zip(alone, arrays(study), strict=True):
        np.testing.assert_array_equal(one, other)


def test_bfloat16_is_close_and_stored_as_float32(
    study: Path,  # noqa: F811
) -> None:
    run(study)
    exact = arrays(study)
    run(study, precision="bfloat16")
    for one, other in zip(exact, arrays(study), strict=True):
        assert other.dtype == np.float32
        used = np.isfinite(one).all(1)
        assert used.tolist() == np.isfinite(other).all(1).tolist()
        # bfloat16 has 8 bits
        scale = np.abs(one[used]).max()
        assert 0 < np.abs(one[used] - other[used]).max() < 0.03 * scale
