from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cytopipe.evaluation.cells import (
    density_per_mm2,
    embed_patches,
    layer_densities,
    read_densities,
)
from cytopipe.evaluation.layer_patches import fit_to_square
from cytopipe.files import InputError
from cytopipe.formats import tables
from cytopipe.learning import checkpoints, networks
from cytopipe.study import annotations

SIZE_UM = (900.0, 600.0)


def test_density_is_the_sum_of_gaussians() -> None:
    # so far inside that the border has no effect
    cells = np.random.default_rng(0).uniform([400, 250], [500, 350], (50, 2))
    x, y = np.linspace(380, 520, 9), np.linspace(240, 360, 7)
    got = density_per_mm2(cells, x, y, SIZE_UM, 30)
    apart2 = (x[None, :, None] - cells[:, 0]) ** 2 + (y[:, None, None] - cells[:, 1]) ** 2
    per_um2 = np.exp(-apart2 / (2 * 30**2)).sum(-1) / (2 * np.pi * 30**2)
    assert got == pytest.approx(1e6 * per_um2, rel=1e-3)  # cells are distributed over nodes
    assert got.shape == (7, 9)


def test_an_even_density_is_even_up_to_the_border() -> None:
    # one cell every 10 um: 10,000 per mm2
    grid = np.stack(np.meshgrid(np.arange(5, 900, 10), np.arange(5, 600, 10)), -1).reshape(-1, 2)
    x, y = np.array([0, 5, 450, 899]), np.array([1, 300, 600])
    got = density_per_mm2(grid.astype(float), x, y, SIZE_UM, 100)
    assert got == pytest.approx(np.full((3, 4), 1e4), rel=2e-3)
    # without the correction, a corner has a quarter of the density
    plain = got[0, 0] * 0.25
    apart2 = (grid[:, 0] - x[0]) ** 2 + (grid[:, 1] - y[0]) ** 2
    per_um2 = np.exp(-apart2 / (2 * 100**2)).sum() / (2 * np.pi * 100**2)
    assert plain == pytest.approx(1e6 * per_um2, rel=2e-2)


def test_single_cells_are_exact_to_a_thousandth_of_the_peak() -> None:
    x, y = np.arange(0, 901, 10.0), np.arange(0, 601, 10.0)
    peak = 1e6 / (2 * np.pi * 50**2)
    for cell in np.random.default_rng(5).uniform([350, 290], [550, 310], (20, 2)):
        got = density_per_mm2(cell[None], x, y, SIZE_UM, 50)
        apart2 = (x[None, :] - cell[0]) ** 2 + (y[:, None] - cell[1]) ** 2
        inside = apart2 < 150**2  # where the border has nearly no effect
        assert np.abs(got - peak * np.exp(-apart2 / 5000))[inside].max() < 1e-3 * peak


def test_a_cell_beyond_the_border_is_not_counted() -> None:
    x = y = np.array([10.0, 590.0])
    one = density_per_mm2(np.array([[300.0, 300]]), x, y, SIZE_UM, 100)
    cells = np.array([[300.0, 300], [-1, 300], [300, 601]])
    assert (density_per_mm2(cells, x, y, SIZE_UM, 100) == one).all()


def test_layers_have_the_mean_over_their_pixels() -> None:
    # pixels of 50 um; the cells' (0, 0) is the centre of the first pixel
    mask = np.zeros((12, 20), np.uint8)
    mask[2:5], mask[5:10, :8] = 1, 4
    cells = np.random.default_rng(1).uniform(0, [950, 550], (80, 2))
    got = layer_densities(cells, mask, 50, 100)
    assert np.isnan(got).tolist() == [False, True, True, False, True, True]
    expected = []
    for rows, columns in (np.nonzero(mask == 1), np.nonzero(mask == 4)):
        values = [
            density_per_mm2(
                cells + 25, np.array([50 * c + 25]), np.array([50 * r + 25]), (1000, 600), 100
            )[0, 0]
            for r, c in zip(rows, columns, strict=True)
        ]
        expected.append(np.mean(values))
    assert got[[0, 3]] == pytest.approx(expected)


def test_fine_pixels_may_be_sampled() -> None:
    mask = np.ones((300, 401), np.uint8)
    mask[120:] = 2
    cells = np.random.default_rng(2).uniform(0, [401, 300], (200, 2))
    cells[:150, 1] /= 2
    got = layer_densities(cells, mask, 1, 60)  # every sixth pixel
    dense = density_per_mm2(cells + 0.5, np.arange(401) + 0.5, np.arange(300) + 0.5, (401, 300), 60)
    assert got[:2] == pytest.approx([dense[:120].mean(), dense[120:].mean()], rel=0.01)
    assert got[0] > 1.5 * got[1]


def test_a_window_is_averaged_cropped_and_mirrored() -> None:
    image = np.random.default_rng(3).integers(0, 256, (8, 12)).astype(np.uint8)
    halved = image.reshape(4, 2, 6, 2).mean((1, 3))
    got = fit_to_square(image, 2, 4)
    assert got.shape == (4, 4) and np.abs(got - halved[:, 1:5]).max() <= 0.5
    padded = fit_to_square(image, 1, 12)
    assert (padded[2:10] == image).all()
    assert (padded[:2] == image[1::-1]).all() and (padded[10:] == image[:-3:-1]).all()


def layer_patches(folder: Path, count: int, spacing_um: float = 64) -> pd.DataFrame:
    """Patches of two layers; each patch has ten cells more than the one before."""
    random = np.random.default_rng(4)
    rows = []
    for number in range(count):
        paths = {name: folder / f"{number}-{name}" for name in ("image.tif", "mask.tif", "cells")}
        mask = np.repeat([[1], [2]], 32, axis=0).astype(np.uint8) * np.ones((1, 64), np.uint8)
        annotations.write_gray(mask, paths["mask.tif"])
        image = random.integers(0, 255, (64, 64)).astype(np.uint8)
        annotations.write_gray(image, paths["image.tif"])
        cells = random.uniform(0, 63 * spacing_um, (10 * (number + 1), 2))
        annotations.write_cells(cells, paths["cells"])
        columns = {name.split(".")[0]: str(path) for name, path in paths.items()}
        rows.append({"patch_id": f"p{number}", "brain": "B01", **columns, "spacing_um": spacing_um})
    frame = pd.DataFrame(rows).assign(width_px=64, height_px=64, split="train", rank=range(count))
    return tables.conform(tables.LayerPatchRow, frame)


def weights(path: Path, patch_px: int = 32) -> Path:
    plan = networks.Plan("small", patch_px, "projection", 16)
    encoder = networks.build(plan, seed=0)
    content = {
        "params": {"spacing_um": 128.0, "patch_px": patch_px},
        "version": 1,
        "plan": vars(plan),
        "classes": [],
        "weights": encoder.state_dict(),
    }
    checkpoints.save(content, path)
    return path


def test_densities_and_features_of_patches(tmp_path: Path) -> None:
    patches = layer_patches(tmp_path, 3)
    densities = read_densities(patches, 2000)
    # the kernel is as wide as the patch: densities are proportional to the number of cells
    area_mm2 = (64 * 0.064) ** 2
    for number in range(3):
        expected = 10 * (number + 1) / area_mm2
        assert densities[number, :2] == pytest.approx([expected] * 2, rel=0.5)
    assert np.isnan(densities[:, 2:]).all()
    got = embed_patches(patches, weights(tmp_path / "final.pt"))
    encoder, _ = checkpoints.load_encoder(tmp_path / "final.pt")
    image = annotations.read_gray(Path(patches.image[1])).reshape(32, 2, 32, 2).mean((1, 3))
    expected_features, _ = encoder.embed(np.rint(image).astype(np.uint8)[None])
    assert got.shape == (3, encoder.backbone.width)
    assert got[1] == pytest.approx(expected_features[0], abs=0.05)


def test_patches_too_coarse_for_the_network_are_named(tmp_path: Path) -> None:
    patches = layer_patches(tmp_path, 1, spacing_um=200)
    with pytest.raises(InputError, match=r"0-image\.tif: pixels of 200 um, 128 um are needed"):
        embed_patches(patches, weights(tmp_path / "final.pt"))
