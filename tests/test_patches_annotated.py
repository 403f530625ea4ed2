"""Points of annotated areas, on strips and rings with a known middle."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from skimage.draw import polygon
from table_rows import filled

from cytopipe import patches
from cytopipe.files import InputError
from cytopipe.formats import tables
from cytopipe.formats.images import write_pyramid
from cytopipe.patches.contours import inside, masks_of, with_nearest
from cytopipe.patches.midlines import branches, midline_points, without_spurs
from cytopipe.study.annotations import Contour, write_contours
from cytopipe.study.config import DataSet
from cytopipe.study.sections import Section


def strip(angle: float, length: float, half: float, size: int = 400) -> np.ndarray:
    row, column = np.mgrid[:size, :size] - size / 2
    along = column * np.cos(angle) + row * np.sin(angle)
    across = row * np.cos(angle) - column * np.sin(angle)
    return (np.abs(along) < length / 2) & (np.abs(across) < half)


@pytest.mark.parametrize("angle", [0.0, 0.3, 0.785, 1.2])
def test_points_lie_on_the_middle_of_a_strip_at_the_spacing(angle: float) -> None:
    points = midline_points(strip(angle, 320, 18), 15.6) - 200
    along = np.sort(points @ [np.cos(angle), np.sin(angle)])
    across = points @ [-np.sin(angle), np.cos(angle)]
    # half a pixel off, since the strip has an even width
    assert np.abs(across).max() < 1
    np.testing.assert_allclose(np.diff(along), 15.6, rtol=0.01)
    # half a width to the fork into the corners, and up to three quarters of the spacing
    assert 160 - 18 - 0.75 * 15.6 - 3 < along[-1] < 160 - 18 + 3
    assert along[0] == pytest.approx(-along[-1], abs=3)


def test_a_dented_outline_still_gives_one_line() -> None:
    mask = strip(0.0, 320, 18)
    mask[217 - 5 : 219, 100:106] = False  # a nick in one bank
    mask[176:184, 250:256] = True  # and a bump on the other
    assert len(list(branches(without_spurs(mask)))) == 1


def test_a_ring_has_points_all_around() -> None:
    row, column = np.mgrid[:300, :300] - 150
    radius = np.hypot(row, column)
    points = midline_points((radius > 80) & (radius < 120), 15.6) - 150
    assert len(points) == round(2 * np.pi * 100 / 15.6)
    np.testing.assert_allclose(np.hypot(*points.T), 100, atol=2)
    angles = np.sort(np.arctan2(*points.T))
    assert np.diff(angles).max() < 1.3 * 2 * np.pi / len(points)


def test_a_branching_piece_keeps_its_branches() -> None:
    mask = np.zeros((300, 300), bool)
    mask[:150, 130:170] = mask[130:170, 30:270] = True
    points = midline_points(mask, 15.6)
    on_stem = points[points[:, 1] < 125]
    np.testing.assert_allclose(on_stem[:, 0], 149.5, atol=1.5)
    assert len(on_stem) == pytest.approx((125 - 20) / 15.6, abs=1)
    distances = np.linalg.norm(points[:, None] - points, axis=-1) + 99 * np.eye(len(points))
    assert distances.min() > 0.5 * 15.6 - 2


def test_short_pieces_have_one_point_and_crumbs_none() -> None:
    mask = np.zeros((100, 100), bool)
    mask[20:60, 20:60] = True
    mask[80:84, 80:84] = True
    points = midline_points(mask, 15.6)
    np.testing.assert_allclose(points, [[39.5, 39.5]], atol=1)


FULL_UM, ROWS, COLUMNS = 100.0, 300, 400
# a strip of 30 x 2.4 mm, in pixels of level 0 from the corner of the first pixel
STRIP = np.array([[52, 100], [352, 100], [352, 124], [52, 124], [52, 100]], float)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten sections each of a seen and a transfer brain; Fp1 above Fp2, a hole in Fp2."""
    monkeypatch.chdir(tmp_path)
    for brain in ("B01", "B02"):
        midline = []
        for section in range(15, 165, 15):
            image = np.full((ROWS, COLUMNS), 200, np.uint8)
            write_pyramid(image, Path(f"{brain}_{section}.ome.tif"), FULL_UM, 400.0)
            hole = np.array([[200, 150], [210, 150], [210, 160], [200, 160], [200, 150]], float)
            contours = [
                Contour("Fp1", ((STRIP,),)),
                Contour("Fp2", ((STRIP + [0, 40], hole),)),
            ]
            write_contours(contours, Path(f"areas/{brain}/{section:05d}.geojson"))
            midline.append((f"{brain}-{section}-1", brain, section, "L", 5000.0, 11150.0, "ok"))
            midline.append((f"{brain}-{section}-2", brain, section, "R", 9000.0, 11150.0, "cut"))
        names = ["point_id", "brain", "section", "hemisphere", "x_um", "y_um", "status"]
        frame = pd.DataFrame(midline, columns=names).assign(x_mm=7.0, y_mm=7.0, z_mm=7.0)
        tables.write(tables.PointRow, filled(tables.PointRow, frame), Path(f"{brain}.parquet"))
    return tmp_path


def drawn(annotations: list[Path], **changes: Any) -> pd.DataFrame:
    values = {
        "purpose": "areas",
        "source": "annotations",
        "roles": ["seen", "transfer"],
        "transfer": None,
        "count": None,
        "per_area": None,
        "min_probability": 0.5,
        "areas": None,
        "min_brains": 1,
        "raster_um": 64.0,
        "point_spacing_mm": 1.0,
        "test_every": 5,
        "warp": None,
        "warp_moves": "points",
        "seed": 1,
        **changes,
    }
    patches.run(
        points={brain: Path(f"{brain}.parquet") for brain in ("B01", "B02")},
        roles={"B01": "seen", "B02": "transfer"},
        sections=[
            Section(brain, section, f"{brain}_{section}.ome.tif", FULL_UM, 20.0)
            for brain in ("B01", "B02")
            for section in range(15, 165, 15)
        ],
        annotations=annotations,
        patches=Path("set.parquet"),
        params=DataSet(**values),  # type: ignore[arg-type]
    )
    return tables.read(tables.PatchRow, Path("set.parquet"))


def test_annotated_points_are_split_as_atlas_points_are(study: Path) -> None:
    files = sorted(Path("areas").rglob("*.geojson"))
    table = drawn(files)
    assert table.groupby(["brain", "split"]).section.nunique().to_dict() == {
        ("B01", "seen"): 2,
        ("B01", "train"): 8,
        ("B02", "transfer"): 10,
    }
    assert set(table.section[table.split == "seen"]) == {75, 150}
    assert table.point_id.is_unique
    assert table.point_id.str.fullmatch(r"B0[12]-\d{5}-a\d{4}").all()
    assert (table.image == table.brain + "_" + table.section.astype(str) + ".ome.tif").all()
    balanced = drawn(files, per_area=30)
    train = balanced[balanced.split == "train"]
    assert train.area.value_counts().to_dict() == {"Fp1": 30, "Fp2": 30}


def test_positions_are_section_um_on_the_middle_of_the_contour(study: Path) -> None:
    table = drawn([Path("areas/B01/00015.geojson")], test_every=2)
    above = table[table.area == "Fp1"].sort_values("x_um")
    # 11.2 mm from the upper edge of the image; the origin is the centre of the first pixel
    np.testing.assert_allclose(above.y_um, 11200 - FULL_UM / 2, atol=64)
    np.testing.assert_allclose(np.diff(above.x_um), 1000, rtol=0.02)
    assert len(above) == pytest.approx(30 - 2.4, abs=1)
    # the midline of Fp2 passes around the hole
    below = table[table.area == "Fp2"]
    inside = below.x_um.between(20000, 21000) & below.y_um.between(15000, 16000)
    assert not inside.any()


def test_the_nearest_usable_point_gives_side_and_coordinate(study: Path) -> None:
    table = drawn([Path("areas/B01/00015.geojson")], test_every=2)
    distance = np.hypot(table.x_um - 5000, table.y_um - 11150)
    near = distance <= 3000
    assert 0 < near.sum() < len(table)
    # the status of the point on the right is not ok
    assert (table.hemisphere[near] == "L").all() and (table.hemisphere[~near] == "").all()
    assert (table.x_mm[near] == 7).all() and table.x_mm[~near].isna().all()


def test_without_a_midline_point_side_and_coordinate_are_unknown() -> None:
    points = pd.DataFrame({"x_um": [1.0], "y_um": [2.0]})
    none = pd.DataFrame(columns=["hemisphere", "x_um", "y_um", "x_mm", "y_mm", "z_mm"])
    row = with_nearest(points, none).iloc[0]
    assert row.hemisphere == "" and np.isnan(row.x_mm)


@pytest.mark.parametrize("factor", [1, 4])
def test_a_label_image_equals_the_contour(study: Path, factor: int) -> None:
    contour = masks_of(Path("areas/B01/00015.geojson"), (ROWS, COLUMNS), FULL_UM, 50.0)
    labels = np.zeros((ROWS // factor, COLUMNS // factor), np.uint8)
    corners = STRIP // factor
    labels[int(corners[0, 1]) : int(corners[2, 1]), int(corners[0, 0]) : int(corners[1, 0])] = 9
    Path("labels/B01").mkdir(parents=True)
    tifffile.imwrite("labels/B01/00015.tif", labels)
    Path("labels/areas.tsv").write_text("label\tname\n9\tFp1\n")
    image = masks_of(Path("labels/B01/00015.tif"), (ROWS, COLUMNS), FULL_UM, 50.0)
    assert list(image) == ["Fp1"]
    np.testing.assert_array_equal(image["Fp1"], contour["Fp1"])
    points = drawn([Path("labels/B01/00015.tif")], test_every=2)
    expected = drawn([Path("areas/B01/00015.geojson")], test_every=2)
    pd.testing.assert_frame_equal(points, expected[expected.area == "Fp1"])


def test_unusable_annotation_files_are_named(study: Path) -> None:
    Path("areas/B01/00015.tif").write_bytes(b"")
    both = [Path("areas/B01/00015.geojson"), Path("areas/B01/00015.tif")]
    with pytest.raises(
        InputError, match=r"00015\.tif: areas/B01/00015\.geojson annotates the same"
    ):
        drawn(both)
    with pytest.raises(InputError, match=r"s15\.geojson: annotations are named"):
        drawn([Path("areas/B01/s15.geojson")])
    with pytest.raises(InputError, match=r"none of the 40 .* annotate sections of these brains"):
        drawn([Path("areas/B03/00015.geojson")])


@pytest.mark.parametrize("seed", range(5))
def test_a_ring_is_filled_as_by_skimage(seed: int) -> None:
    random = np.random.default_rng(seed)
    # a star that crosses itself and leaves the image
    row, column = random.uniform(-20, 80, (2, 15))
    expected = np.zeros((50, 60), bool)
    expected[polygon(row, column, expected.shape)] = True
    assert expected.any()
    np.testing.assert_array_equal(inside(row, column, (50, 60)), expected)
