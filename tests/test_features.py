from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from table_rows import filled, row

from cytopipe import features
from cytopipe.features.profiles import normal_in_section, profiles
from cytopipe.files import InputError
from cytopipe.formats import tables
from cytopipe.formats.images import write_pyramid
from cytopipe.learning import augmentation, checkpoints, networks
from cytopipe.learning.loading import Field, open_section
from cytopipe.numerics.geometry import Rigid, mirror
from cytopipe.study import config as study_config
from cytopipe.study.config import NetworkFeatures, Profiles, Views
from cytopipe.study.sections import Section

SPACING_UM = 50.0


def points_table(frame: dict[str, object]) -> pd.DataFrame:
    count = max(len(np.atleast_1d(values)) for values in frame.values())
    point_id = [f"p{n}" for n in range(count)]
    return filled(
        tables.PointRow, pd.DataFrame(frame, index=range(count)).assign(point_id=point_id)
    )


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two noisy sections, five points on each in alternation, and an encoder of 16 px patches."""
    random = np.random.default_rng(0)
    for section in (1, 2):
        image = random.integers(0, 256, (100, 120), dtype=np.uint8)
        write_pyramid(image, tmp_path / f"{section}.tif", SPACING_UM, SPACING_UM, tile=32)
    points = points_table(
        {
            "brain": "B01",
            "section": [1, 2] * 5,
            "x_um": random.uniform(0, 5900, 10),
            "y_um": random.uniform(0, 4900, 10),
            "status": ["ok", "ok", "ok", "low_tissue", "ok", "ok", "ok", "ok", "ok", "ok"],
        }
    )
    tables.write(tables.PointRow, points, tmp_path / "points.parquet")
    plan = networks.Plan("small", 16, "projection", 256)
    encoder = networks.build(plan, seed=0)
    encoder(torch.rand(8, 1, 16, 16))  # updates the statistics of batch norm
    params = {"architecture": "small", "patch_px": 16, "spacing_um": SPACING_UM}
    content = {"params": params, "plan": vars(plan), "weights": encoder.state_dict()}
    checkpoints.save({**content, "version": 1, "classes": []}, tmp_path / "final.pt")
    return tmp_path


def sections(folder: Path) -> list[Section]:
    return [Section("B01", n, str(folder / f"{n}.tif"), SPACING_UM, 20.0) for n in (1, 2)]


def settings(**changes: Any) -> NetworkFeatures:
    values = {"batch_size": 2, "precision": "float32", "workers": 0, "cache_mb": 1.0}
    return NetworkFeatures(**{**values, **changes})


def run(folder: Path, **changes: Any) -> None:
    features.run(
        points=folder / "points.parquet",
        sections=sections(folder),
        weights=folder / "final.pt",
        backbone=folder / "B01.npy",
        projected=folder / "B01-projected.npy",
        rows=folder / "B01.parquet",
        threads=1,
        params=settings(**changes),
    )


def embedded(folder: Path, batch_size: int, cache_mb: float) -> tuple[np.ndarray, np.ndarray]:
    run(folder, batch_size=batch_size, cache_mb=cache_mb)
    return np.load(folder / "B01.npy"), np.load(folder / "B01-projected.npy")


def test_rows_are_in_the_order_of_the_points(study: Path) -> None:
    backbone, projected = embedded(study, 2, 1.0)
    assert backbone.shape == (10, 128) and projected.shape == (10, 256)
    assert backbone.dtype == projected.dtype == np.float32
    rows = tables.read(tables.FeatureRow, study / "B01.parquet")
    assert rows.point_id.tolist() == [f"p{n}" for n in range(10)]
    assert np.isnan(backbone).all(1).tolist() == (rows.status != "ok").tolist()
    assert rows.status[3] == "low_tissue"
    # the patch around the point nearest to the centre of the image, embedded by hand
    points = tables.read(tables.PointRow, study / "points.parquet")
    row = int(np.argmin(np.hypot(points.x_um - 2950, points.y_um - 2450)))
    x, y = round(points.x_um[row] / 50 - 0.5), round(points.y_um[row] / 50 - 0.5)
    random = np.random.default_rng(0)
    image = [random.integers(0, 256, (100, 120), dtype=np.uint8) for _ in range(2)][row % 2]
    patch = torch.from_numpy(image[y - 7 : y + 9, x - 7 : x + 9] / np.float32(255))
    encoder, _ = checkpoints.load_encoder(study / "final.pt")
    expected, head = encoder(patch[None, None])
    np.testing.assert_allclose(backbone[row], expected[0].detach(), atol=1e-5)
    np.testing.assert_allclose(projected[row], head[0].detach(), atol=1e-5)


def test_batch_size_and_tiles_do_not_matter(study: Path) -> None:
    # five random points per section, some near the border of a tile or of the image
    one, many = embedded(study, 1, 0.0), embedded(study, 100, 1.0)
    for left, right in zip(one, many, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-5)


def test_embedding_does_not_change_batch_norm(study: Path) -> None:
    encoder, _ = checkpoints.load_encoder(study / "final.pt")
    before = {name: value.clone() for name, value in encoder.named_buffers()}
    assert before
    windows = np.random.default_rng(1).integers(0, 256, (4, 16, 16), dtype=np.uint8)
    encoder.embed(windows)
    assert all(torch.equal(value, before[name]) for name, value in encoder.named_buffers())


def test_points_of_an_unlisted_section_are_an_error(study: Path) -> None:
    points = tables.read(tables.PointRow, study / "points.parquet").assign(section=7)
    tables.write(tables.PointRow, points, study / "points.parquet")
    with pytest.raises(InputError, match="B01 section 7 has points but no row"):
        embedded(study, 2, 1.0)
    assert not list(study.glob("*.npy"))


@pytest.mark.parametrize("mirrored", [False, True])
def test_normals_are_rotated_as_points_are(mirrored: bool) -> None:
    width_um = 900.0
    to_stack = Rigid(0.7, 30.0, -40.0, "section", "stack")
    ends = np.array([[100.0, 200.0], [103.0, 196.0]])  # a normal of length 5 in the section
    stacked = to_stack(mirror(ends, width_um) if mirrored else ends)
    nx, ny = (stacked[1] - stacked[0]) / 10  # its part in the plane has length 0.5
    normals, in_plane = normal_in_section(np.array([nx]), np.array([ny]), 0.7, mirrored)
    np.testing.assert_allclose(normals, [[0.6, -0.8]], atol=1e-12)
    np.testing.assert_allclose(in_plane, [0.5])


def test_a_profile_runs_from_pial_to_white() -> None:
    # brightness increases by 1 gray value per pixel to the right; the pial surface is on the left
    image = np.tile(np.arange(200, dtype=np.uint8), (60, 1))
    params = Profiles(samples=5, width_mm=0.5, spacing_um=SPACING_UM)
    point = np.array([[100 * SPACING_UM, 30 * SPACING_UM]])
    profile = profiles(
        image,
        SPACING_UM,
        SPACING_UM,
        point,
        np.array([[-1.0, 0.0]]),
        np.array([20 * SPACING_UM]),
        np.array([40 * SPACING_UM]),
        params,
    )
    np.testing.assert_allclose(profile[0] * 255, [80, 95, 110, 125, 140], atol=1e-3)


def test_a_profile_is_averaged_along_the_cortex() -> None:
    image = np.tile(np.arange(0, 240, 4, dtype=np.uint8)[:, None], (1, 60))
    image[30] = 255  # a vessel along the profile
    point, normal = np.array([[30.0, 30.0]]) * SPACING_UM, np.array([[1.0, 0.0]])
    reach = np.array([5 * SPACING_UM])
    narrow, wide = [
        profiles(
            image,
            SPACING_UM,
            SPACING_UM,
            point,
            normal,
            reach,
            reach,
            Profiles(samples=3, width_mm=width_mm, spacing_um=SPACING_UM),
        )
        for width_mm in (0.0, 0.5)
    ]
    np.testing.assert_allclose(narrow[0] * 255, 255, atol=1e-3)
    expected = (4 * np.arange(25, 36).sum() - 4 * 30 + 255) / 11
    np.testing.assert_allclose(wide[0] * 255, expected, atol=1e-3)


def test_a_tangential_cut_has_no_profile(study: Path) -> None:
    points = tables.read(tables.PointRow, study / "points.parquet")
    points = points.assign(nx=1.0, thickness_mm=2.0, depth=0.5)
    points.loc[0, ["nx", "nz"]] = [0.0, 1.0]
    points.loc[1, "thickness_mm"] = np.nan
    tables.write(tables.PointRow, points, study / "points.parquet")
    places = [row(tables.StackRow, section=section) for section in (1, 2)]
    tables.write_rows(tables.StackRow, places, study / "stack.parquet")
    features.run_profiles(
        points=study / "points.parquet",
        stack=study / "stack.parquet",
        sections=sections(study),
        backbone=study / "profiles.npy",
        rows=study / "profiles.parquet",
        params=Profiles(samples=6, width_mm=0.2, spacing_um=SPACING_UM),
    )
    array = np.load(study / "profiles.npy")
    status = tables.read(tables.FeatureRow, study / "profiles.parquet").status
    assert status[:4].tolist() == ["no_normal", "no_normal", "ok", "low_tissue"]
    assert np.isfinite(array).all(1).tolist() == (status == "ok").tolist()


def patches_of(study: Path) -> pd.DataFrame:
    points = tables.read(tables.PointRow, study / "points.parquet")
    usable = points[points.status == "ok"]
    return usable.assign(
        image=[str(study / f"{n}.tif") for n in usable.section],
        full_spacing_um=SPACING_UM,
        split="train",
    )[tables.names(tables.PatchRow)]


def test_each_point_of_the_data_sets_has_one_row(study: Path) -> None:
    frame = patches_of(study)
    # drawn with replacement: the first point twice; the last two are only in the second data set
    tables.write(tables.PatchRow, pd.concat([frame[:-2], frame[:1]]), study / "patches.parquet")
    tables.write(tables.PatchRow, frame[3:], study / "others.parquet")
    features.run_patches(
        patches=[study / "patches.parquet", study / "others.parquet"],
        weights=study / "final.pt",
        backbone=study / "set.npy",
        projected=study / "set-projected.npy",
        rows=study / "set.parquet",
        threads=1,
        params=settings(batch_size=3, cache_mb=0.0),
    )
    rows = tables.read(tables.FeatureRow, study / "set.parquet")
    assert rows.point_id.tolist() == frame.point_id.tolist()
    for name, of_points in zip(("set", "set-projected"), embedded(study, 2, 1.0), strict=True):
        np.testing.assert_allclose(
            np.load(study / f"{name}.npy"), of_points[frame.index], rtol=1e-5, atol=1e-6
        )


def views_of(study: Path, count: int, seed: int = 1, batch_size: int = 7) -> np.ndarray:
    features.run_views(
        patches=[study / "patches.parquet"],
        weights=study / "final.pt",
        backbone=study / "views.npy",
        projected=study / "views-projected.npy",
        rows=study / "views.parquet",
        threads=1,
        views=Views(count=count, seed=seed),
        params=settings(batch_size=batch_size),
    )
    return np.load(study / "views.npy")


def test_views_are_features_of_augmented_training_patches(study: Path) -> None:
    frame = patches_of(study)
    frame.loc[frame.index[:2], "split"] = "seen"  # test patches have no views
    tables.write(tables.PatchRow, pd.concat([frame, frame[-1:]]), study / "patches.parquet")
    common = study_config.read(study_config.DEFAULTS)["pretraining"]["common"]
    content = checkpoints.load(study / "final.pt")
    changes = common["augmentation"] | {"shift_mm": 0.1}
    content["params"] |= {"margin": "exact", "augmentation": changes}
    checkpoints.save(content, study / "final.pt")
    views = views_of(study, 3)
    rows = tables.read(tables.FeatureRow, study / "views.parquet")
    train = frame[2:].sort_values(["section", "point_id"], ignore_index=True)
    assert rows.point_id.tolist() == 3 * train.point_id.tolist() and len(views) == 3 * len(train)

    # the second view of the fourth point by hand
    point = train.iloc[3]
    field = Field(16, SPACING_UM, "exact", 0.1)
    with open_section("", point.image, SPACING_UM, SPACING_UM, 0) as section:
        window = section.window(point.x_um, point.y_um, field.window_px)
    draws = augmentation.draw(study_config.Augmentation(**changes), 1, 0, 3, 1)
    images = augmentation.apply(
        torch.from_numpy(window)[None, None], torch.from_numpy(draws)[None, None], 16, SPACING_UM
    )
    encoder, _ = checkpoints.load_encoder(study / "final.pt")
    for name, expected in zip(("views", "views-projected"), encoder(images), strict=True):
        row = np.load(study / f"{name}.npy")[len(train) + 3]
        np.testing.assert_allclose(row, expected[0].detach(), atol=1e-5)

    # the views differ, follow from the seed, and do not depend on the size of a batch
    assert np.abs(np.diff(views.reshape(3, len(train), -1), axis=0)).max(2).min() > 1e-3
    np.testing.assert_allclose(views_of(study, 3, batch_size=100), views, atol=1e-5)
    assert np.abs(views_of(study, 3, seed=2) - views).max() > 1e-3
