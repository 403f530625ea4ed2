"""External encoders: a small network, exported as TorchScript, whose features are known."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from table_rows import filled
from torch import Tensor, nn

from cytopipe import features
from cytopipe.files import InputError
from cytopipe.formats import tables
from cytopipe.formats.images import write_pyramid
from cytopipe.learning.external_encoder import read_external
from cytopipe.study.config import NetworkFeatures
from cytopipe.study.sections import Section

SPACING_UM = 50.0
CARD: dict[str, Any] = {
    "patch_px": 16,
    "spacing_um": SPACING_UM,
    "channels": 3,
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.25, 0.5],
    "source": "made for this test, public domain",
}


class Means(nn.Module):
    """Mean of each channel, and of the upper half of each: six features."""

    def forward(self, images: Tensor) -> Tensor:
        upper = images[:, :, : images.shape[2] // 2]
        return torch.cat([images.mean((2, 3)), upper.mean((2, 3))], dim=1)


class Map(nn.Module):
    """No vector per image."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :1]


def write_encoder(folder: Path, network: nn.Module | None = None, **changed: Any) -> Path:
    folder.mkdir(exist_ok=True)
    card = {key: value for key, value in (CARD | changed).items() if value is not None}
    (folder / "card.yaml").write_text(yaml.safe_dump(card))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(network or Means()).save(str(folder / "weights.pt"))
    return folder


def read(folder: Path) -> Any:
    return read_external(folder / "card.yaml", folder / "weights.pt")


def test_images_are_repeated_in_each_channel_and_normalised(tmp_path: Path) -> None:
    encoder = read(write_encoder(tmp_path / "encoder"))
    windows = np.random.default_rng(0).integers(0, 256, (5, 16, 16), dtype=np.uint8)
    whole = windows.mean((1, 2))[:, None] / 255
    upper = windows[:, :8].mean((1, 2))[:, None] / 255
    mean, std = np.array(CARD["mean"]), np.array(CARD["std"])
    expected = np.concatenate([(whole - mean) / std, (upper - mean) / std], axis=1)
    np.testing.assert_allclose(encoder.embed(windows)[0], expected, atol=1e-5)
    assert encoder.width() == 6


def test_points_of_a_brain_and_of_a_data_set_have_features(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "encoder", channels=1, mean=[0.0], std=[1.0])
    image = np.random.default_rng(0).integers(0, 256, (100, 120), dtype=np.uint8)
    write_pyramid(image, tmp_path / "1.tif", SPACING_UM, SPACING_UM, tile=32)
    at_px = np.array([[20, 30], [60, 50], [90, 70]])
    points = pd.DataFrame(
        {
            "point_id": ["a", "b", "c"],
            "brain": "B01",
            "section": 1,
            "x_um": SPACING_UM * (at_px[:, 0] + 0.5),
            "y_um": SPACING_UM * (at_px[:, 1] + 0.5),
            "status": ["ok", "low_tissue", "ok"],
        }
    )
    tables.write(tables.PointRow, filled(tables.PointRow, points), tmp_path / "points.parquet")
    common: dict[str, Any] = {
        "card": folder / "card.yaml",
        "weights": folder / "weights.pt",
        "backbone": tmp_path / "B01.npy",
        "rows": tmp_path / "B01.parquet",
        "threads": 1,
        "params": NetworkFeatures(batch_size=2, precision="float32", workers=0, cache_mb=1.0),
    }
    section = Section("B01", 1, str(tmp_path / "1.tif"), SPACING_UM, 20.0)
    features.run_external(points=tmp_path / "points.parquet", sections=[section], **common)
    values = np.load(tmp_path / "B01.npy")
    assert values.shape == (3, 2) and values.dtype == np.float32
    assert np.isnan(values).all(1).tolist() == [False, True, False]
    for row in (0, 2):
        x, y = at_px[row]
        window = image[y - 7 : y + 9, x - 7 : x + 9]
        assert values[row, 0] == pytest.approx(window.mean() / 255, abs=1e-5)
    assert tables.read(tables.FeatureRow, tmp_path / "B01.parquet").status[1] == "low_tissue"

    listed = points.assign(image=str(tmp_path / "1.tif"), full_spacing_um=SPACING_UM, split="train")
    patches = filled(tables.PatchRow, pd.concat([listed, listed])[["point_id", "brain", "section",
        "x_um", "y_um", "image", "full_spacing_um", "split"]])  # fmt: skip
    tables.write(tables.PatchRow, patches, tmp_path / "patches.parquet")
    features.run_external_patches(
        patches=[tmp_path / "patches.parquet"],
        **common | {"backbone": tmp_path / "p.npy", "rows": tmp_path / "p.parquet"},
    )
    again = np.load(tmp_path / "p.npy")
    assert tables.read(tables.FeatureRow, tmp_path / "p.parquet").point_id.tolist() == list("abc")
    np.testing.assert_array_equal(again[[0, 2]], values[[0, 2]])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"patch_px": None}, r"card\.yaml: .*patch_px"),
        ({"patch_px": "224"}, r"card\.yaml: .*patch_px.*224"),
        ({"spacing_um": -1.0}, r"card\.yaml: .*spacing_um.*-1"),
        ({"channels": 2}, r"card\.yaml: .*channels.*2"),
        ({"mean": [0.5]}, r"card\.yaml: .*mean has 1 values for 3 channels; give one for each"),
        ({"std": [0.2, 0.0, 0.2]}, r"card\.yaml: .*std.*0"),
        ({"colour": "red"}, r"card\.yaml: .*colour.*red"),
    ],
)
def test_a_bad_card_is_refused_with_its_key_and_value(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    folder = write_encoder(tmp_path / "encoder", **changed)
    with pytest.raises(InputError, match=message):
        read(folder)


def test_files_that_are_not_an_encoder_are_refused(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "encoder")
    (folder / "weights.pt").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"weights\.pt: not a readable TorchScript file .*export"):
        read(folder)
    (folder / "weights.pt").unlink()
    with pytest.raises(InputError, match=r"weights\.pt: not found; a folder of features\.external"):
        read(folder)
    write_encoder(folder)
    (folder / "card.yaml").write_text("224\n")
    with pytest.raises(InputError, match=r"card\.yaml: is not a mapping; write `patch_px: 224`"):
        read(folder)


def test_a_network_that_returns_no_features_is_refused(tmp_path: Path) -> None:
    encoder = read(write_encoder(tmp_path / "encoder", Map()))
    message = r"returns \(2, 1, 16, 16\) for 2 images, .*one vector of features"
    with pytest.raises(InputError, match=message):
        encoder.width()
    linear = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
    encoder = read(write_encoder(tmp_path / "encoder", linear))
    with pytest.raises(InputError, match=r"network for images \(n, 3, 16, 16\) .*patch_px"):
        encoder.width()
