from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cytopipe.files import InputError
from cytopipe.formats.images import halve, write_pyramid
from cytopipe.learning.distributed import World
from cytopipe.learning.loading import Field, Patches, batches_of_epoch, load, open_section
from cytopipe.numerics.geometry import pixels_to_section
from cytopipe.study.config import Augmentation

CHANGES = Augmentation(
    angle_rad=np.pi,
    shift_mm=0.2,
    mirror=0.5,
    alpha=(0.9, 1.0),
    beta=(-0.1, 0.1),
    gamma_z=0.05,
    blur=0.25,
    sharpen=0.25,
    sigma_px=(0.125, 1.0),
    delta=(0.5, 1.5),
)
FIELD = Field(patch_px=16, spacing_um=20.0, margin="exact", shift_mm=0.1)
ALONE = World(0, 1, torch.device("cpu"))


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (150, 200), dtype=np.uint8)


@pytest.fixture
def table(tmp_path: Path, image: np.ndarray) -> pd.DataFrame:
    """Eight patches on two sections, level 0 at 10 um."""
    for section in (1, 2):
        write_pyramid(image // section, tmp_path / f"{section}.ome.tif", 10.0, 40.0, tile=64)
    random = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "brain": "B01",
            "section": [1, 2] * 4,
            "image": [str(tmp_path / f"{section}.ome.tif") for section in [1, 2] * 4],
            "full_spacing_um": 10.0,
            "x_um": random.uniform(0, 1990, 8),
            "y_um": random.uniform(0, 1490, 8),
            "x_mm": np.arange(8.0),
            "y_mm": 0.0,
            "z_mm": 0.0,
        }
    )


@pytest.mark.parametrize("hold_bytes", [0, 10**6])
def test_a_window_shows_the_pixels_around_its_point(
    table: pd.DataFrame, image: np.ndarray, hold_bytes: int
) -> None:
    path = table.image[0]
    with open_section("B01 section 1", path, 10.0, 10.0, hold_bytes) as reader:
        x_um, y_um = pixels_to_section(np.array([70.0, 60.0]), 10.0, 10.0)
        np.testing.assert_array_equal(reader.window(x_um, y_um, 5), image[58:63, 68:73])
        # the centre of an even window lies between pixels, here half a pixel before the point
        np.testing.assert_array_equal(reader.window(x_um, y_um, 4), image[59:63, 69:73])
    with open_section("B01 section 1", path, 10.0, 20.0, hold_bytes) as reader:
        x_um, y_um = pixels_to_section(np.array([30.0, 20.0]), 20.0, 10.0)
        np.testing.assert_array_equal(reader.window(x_um, y_um, 5), halve(image)[18:23, 28:33])


@pytest.mark.parametrize("hold_bytes", [0, 10**6])
def test_the_image_is_reflected_at_its_border(
    table: pd.DataFrame, image: np.ndarray, hold_bytes: int
) -> None:
    with open_section("B01 section 1", table.image[0], 10.0, 10.0, hold_bytes) as reader:
        expected = np.pad(image, 4, mode="symmetric")[0:9, -9:]
        np.testing.assert_array_equal(reader.window(1990.0, 0.0, 9), expected)


def test_an_exact_window_contains_every_rotated_and_shifted_patch() -> None:
    for patch_px in (15, 16, 2048):
        field = Field(patch_px, 2.0, "exact", 0.2)
        corner = patch_px / np.sqrt(2) + 100
        assert field.window_px >= 2 * corner and field.window_px < 2 * corner + 4
        assert (field.window_px - patch_px) % 2 == 0
        assert Field(patch_px, 2.0, "reflect", 0.2).window_px == patch_px


def test_a_constant_window_is_an_error_that_names_the_section(tmp_path: Path) -> None:
    black = np.zeros((100, 100), np.uint8)
    black[:20] = 255
    write_pyramid(black, tmp_path / "x.ome.tif", 10.0, 10.0)
    with open_section("B07 section 420", str(tmp_path / "x.ome.tif"), 10.0, 10.0, 0) as reader:
        assert reader.window(500.0, 200.0, 16).max() == 255
        with pytest.raises(InputError, match=r"B07 section 420: .* constant \(0\)"):
            reader.window(500.0, 700.0, 16)
        with pytest.raises(InputError, match=r"B07 section 420: .* outside the image"):
            reader.window(5000.0, 200.0, 16)


def test_windows_of_12_bits_are_converted_like_the_whole_image(tmp_path: Path) -> None:
    """Contrast is not stretched per window, and far more than 4096 / 257 values remain."""
    deep = np.linspace(0, 4095, 200 * 200).astype(np.uint16).reshape(200, 200)
    write_pyramid(deep, tmp_path / "x.ome.tif", 10.0, 40.0, tile=64)
    whole = []
    for hold_bytes in (0, 10**6):
        with open_section("B01", str(tmp_path / "x.ome.tif"), 10.0, 10.0, hold_bytes) as reader:
            whole.append(reader.window(995.0, 995.0, 200))
            part = reader.window(995.0, 995.0, 20)
            np.testing.assert_array_equal(part, whole[-1][90:110, 90:110])
    np.testing.assert_array_equal(*whole)
    assert len(np.unique(whole[0])) >= 200


def test_a_missing_level_is_an_error_that_lists_the_levels(table: pd.DataFrame) -> None:
    with (
        pytest.raises(InputError, match="levels of 10, 20, 40 um, patches need 30 um"),
        open_section("B01 section 1", table.image[0], 10.0, 30.0, 0),
    ):
        pass


@pytest.mark.slow
def test_the_same_key_gives_the_same_patch_in_memory_from_disk_and_in_workers(
    table: pd.DataFrame,
) -> None:
    in_memory = Patches(table, FIELD, CHANGES, seed=1, cache_mb=10)
    from_disk = Patches(table, FIELD, CHANGES, seed=1, cache_mb=0)
    keys = batches_of_epoch(8, 4, seed=1, epoch=3, first=0, world=ALONE)
    from_disk[0, 0]  # opens a file in this process that the workers must not share
    loaders = [
        load(in_memory, keys, 0, False),
        load(from_disk, keys, 0, False),
        load(from_disk, keys, 2, False),
    ]
    for batches in zip(*loaders, strict=True):
        for batch in batches[1:]:
            for tensor, expected in zip(batch, batches[0], strict=True):
                assert torch.equal(tensor, expected)
    assert batches[0].windows.shape == (4, 1, FIELD.window_px, FIELD.window_px)
    assert batches[0].draws.shape == (4, 1, 9)
    assert batches[0].rows.tolist() == [index for _, index in keys[-1]]


def test_seed_and_epoch_change_the_augmentation_and_the_order(table: pd.DataFrame) -> None:
    patches = Patches(table, FIELD, CHANGES, seed=1, cache_mb=10)
    other = Patches(table, FIELD, CHANGES, seed=2, cache_mb=10)
    assert torch.equal(patches[0, 5].windows, patches[1, 5].windows)
    assert not torch.equal(patches[0, 5].draws, patches[1, 5].draws)
    assert not torch.equal(patches[0, 5].draws, other[0, 5].draws)
    epochs = [batches_of_epoch(100, 10, 1, epoch, 0, ALONE) for epoch in (0, 1)]
    orders = [[index for batch in epoch for _, index in batch] for epoch in epochs]
    assert orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1]) == list(range(100))


def test_views_are_augmented_independently_from_one_window(table: pd.DataFrame) -> None:
    one = Patches(table, FIELD, CHANGES, seed=1, cache_mb=10)[2, 5]
    two = Patches(table, FIELD, CHANGES, seed=1, cache_mb=10, views=2)[2, 5]
    assert one.draws.shape == (1, 9) and two.draws.shape == (2, 9)
    assert torch.equal(two.windows, one.windows)
    assert torch.equal(two.draws[0], one.draws[0]) and not torch.equal(two.draws[1], one.draws[0])


def test_processes_divide_each_batch_and_a_resumed_epoch_continues() -> None:
    whole = batches_of_epoch(103, 10, 1, 0, 0, ALONE)
    assert len(whole) == 10  # the last three patches are dropped
    assert batches_of_epoch(103, 10, 1, 0, 4, ALONE) == whole[4:]
    parts = [batches_of_epoch(103, 10, 1, 0, 0, World(r, 2, ALONE.device)) for r in (0, 1)]
    for batch, first, second in zip(whole, *parts, strict=True):
        assert sorted(batch) == sorted(first + second)
