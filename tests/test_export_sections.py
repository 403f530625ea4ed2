"""Format `geojson`, read by shapely: outlines, lines and points on normal and mirrored scans."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely
from export_study import BORDER_MM
from shapely.geometry import shape
from shell_study import CENTRES, FULL_UM, HALF_MM, PIAL_MM, SECTIONS, SPACING_UM, as_scanned
from skimage.draw import disk

from cytopipe import __main__ as command_line
from cytopipe import open_study
from cytopipe.export.geojson import polygons_of, signed_area, to_level0, without_straight
from cytopipe.formats import images, tables
from cytopipe.study.areas import areas_of


@pytest.fixture(scope="module")
def exported(shell_study_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("geojson") / "out"
    options = ["--study", str(shell_study_folder), "--brain", "B01", "--to", str(to)]
    assert command_line.main(["export", *options, "--format", "geojson"]) == 0
    return to


def features_of(exported: Path, section: int) -> list[dict]:
    content = json.loads((exported / "B01" / f"{section:05d}.geojson").read_text())
    assert content["type"] == "FeatureCollection"
    return content["features"]


def to_stack_mm(study: Path, section: int, level0: np.ndarray) -> np.ndarray:
    """Stack RAS mm of pixels of level 0, counted from the corner, step by step."""
    path = study / "results" / "alignment" / "B01" / "stack.parquet"
    places = {row.section: row for row in tables.read_rows(tables.StackRow, path)}
    return as_scanned(places[section], (np.asarray(level0) - 0.5) * FULL_UM)


def test_there_is_a_file_for_each_section_with_tissue(exported: Path) -> None:
    index = pd.read_csv(exported / "sections.csv")
    # 1220 is blank, 1620 missing, and the last one beyond both balls
    assert index["section"].tolist() == [s for s in SECTIONS if s not in (1220, 1620, 2220)]
    assert index["image"].tolist() == [f"images/{s:05d}.ome.tif" for s in index["section"]]
    assert (index["pixel_um"] == FULL_UM).all()
    for path in index["file"]:
        assert (exported / path).exists()


# 1120 and 1920 were scanned face down
@pytest.mark.parametrize("section", [1020, 1120, 1520, 1920])
def test_points_and_lines_lie_on_the_spheres(
    exported: Path, shell_study_folder: Path, section: int
) -> None:
    features = features_of(exported, section)
    points = [f for f in features if f["geometry"]["type"] == "MultiPoint"]
    assert sum(len(f["geometry"]["coordinates"]) for f in points) > 60
    for feature in points:
        pixels = np.array(feature["geometry"]["coordinates"])
        stack_mm = to_stack_mm(shell_study_folder, section, pixels)
        radius = np.min([np.linalg.norm(stack_mm - c, axis=1) for c in CENTRES.values()], axis=0)
        np.testing.assert_allclose(radius, HALF_MM, atol=0.001)
        name = feature["properties"]["classification"]["name"]
        assert name == ("front" if section * 0.02 > BORDER_MM else "back") or section == 1920
    lines = [f for f in features if f["geometry"]["type"] == "LineString"]
    assert {f["properties"]["classification"]["name"] for f in lines} == {"midline L", "midline R"}
    for feature in lines:
        pixels = np.array(feature["geometry"]["coordinates"])
        right = to_stack_mm(shell_study_folder, section, pixels)[:, 0] > 0
        assert right.all() == feature["properties"]["name"].endswith("R")
        assert right.all() or not right.any()
    total_mm = sum(shape(f["geometry"]).length for f in lines) * FULL_UM / 1000
    off_mm = section * 0.02 - CENTRES["L"][1]
    around_mm = 2 * np.pi * np.sqrt(HALF_MM**2 - off_mm**2)
    # an open line: the last millimetre is missing on both sides
    assert total_mm == pytest.approx(2 * around_mm, abs=2 * 1.2)


@pytest.mark.parametrize("section", [1020, 1120])
def test_outlines_contain_exactly_the_labels(
    exported: Path, shell_study_folder: Path, section: int
) -> None:
    folder = shell_study_folder / "results" / "segmentation" / "B01"
    table = tables.read(tables.SegmentationRow, folder / "00000.parquet").set_index("section")
    labels = images.read_labels(folder / "00000.tif", int(table.loc[section, "page"]))
    rows, columns = np.indices(labels.shape)
    # centres of label pixels, in pixels of level 0 from the corner
    x, y = (columns + 0.5) * SPACING_UM / FULL_UM, (rows + 0.5) * SPACING_UM / FULL_UM
    for label, name in ((1, "gray matter"), (2, "white matter")):
        (outline,) = [
            shape(f["geometry"])
            for f in features_of(exported, section)
            if f["properties"]["classification"]["name"] == name
        ]
        assert outline.is_valid and len(outline.geoms) == 2
        np.testing.assert_array_equal(shapely.contains_xy(outline, x, y), labels == label)
        # white matter is a hole in gray matter
        assert [len(piece.interiors) for piece in outline.geoms] == [2 - label] * 2
    outer = shape(features_of(exported, section)[0]["geometry"]).geoms[0].exterior
    stack_mm = to_stack_mm(shell_study_folder, section, np.array(outer.coords))
    radius = np.min([np.linalg.norm(stack_mm - c, axis=1) for c in CENTRES.values()], axis=0)
    np.testing.assert_allclose(radius, PIAL_MM, atol=0.2)


def test_objects_have_what_qupath_reads(exported: Path) -> None:
    for feature in features_of(exported, 1520):
        properties = feature["properties"]
        assert properties["objectType"] == "annotation" and properties["name"]
        colour = properties["classification"]["color"]
        assert len(colour) == 3 and all(0 <= c <= 255 and isinstance(c, int) for c in colour)
        assert shape(feature["geometry"]).is_valid


def test_the_map_is_beside_the_points(exported: Path, shell_study_folder: Path) -> None:
    index = pd.read_csv(exported / "sections.csv").set_index("section")
    of_map = json.loads((exported / index["map"][1520]).read_text())["features"]
    study = open_study(shell_study_folder).brain("B01")
    own = (study.points["section"] == 1520).to_numpy() & study.usable
    area_map = study.area_map
    assert area_map is not None
    foreign = (area_map["status"] == "unlike_training").to_numpy()
    expected = {
        "map: back": own & ~foreign & (study.points["area"] == "front").to_numpy(),
        "map: front": own & ~foreign & (study.points["area"] != "front").to_numpy(),
        "map: unlike the training data": own & foreign,
    }
    for feature in of_map:
        rows = expected.pop(feature["properties"]["classification"]["name"])
        at_um = study.points.loc[rows, ["x_um", "y_um"]].to_numpy()
        np.testing.assert_allclose(
            feature["geometry"]["coordinates"], to_level0(at_um, FULL_UM), atol=1e-3
        )
    assert not any(rows.any() for rows in expected.values())
    areas = areas_of([study])
    colour_of = dict(zip(areas.names, areas.colours.tolist(), strict=True))
    classes = [feature["properties"]["classification"] for feature in of_map]
    shown = {of["name"].removeprefix("map: "): of["color"] for of in classes}
    assert all(shown[name] == colour_of[name] for name in shown.keys() & colour_of.keys())


def test_outlines_of_any_mask_are_valid_and_exact() -> None:
    rng = np.random.default_rng(0)
    noise = rng.random((40, 50)) < 0.5
    rings = np.zeros((60, 60), bool)
    rings[disk((30, 30), 28)] = True
    rings[disk((30, 30), 20)] = False
    rings[disk((30, 30), 8)] = True
    border = np.ones((5, 4), bool)
    for mask in (noise, rings, border, np.zeros((3, 3), bool)):
        polygons = [shapely.Polygon(p[0], p[1:]) for p in polygons_of(mask)]
        assert all(polygon.is_valid for polygon in polygons)
        together = shapely.MultiPolygon(polygons)
        rows, columns = np.indices(mask.shape)
        inside = shapely.contains_xy(together, columns, rows) if polygons else mask & False
        np.testing.assert_array_equal(inside, mask)


def test_points_on_straight_lines_are_left_out() -> None:
    square = np.array([[0, 0], [1, 0], [2, 0], [2, 2], [1, 2], [0, 2], [0, 1], [0, 0]], float)
    kept = without_straight(square)
    assert {tuple(p) for p in kept.tolist()} == {(0, 0), (2, 0), (2, 2), (0, 2)}
    assert kept[0].tolist() == kept[-1].tolist()
    assert signed_area(kept) == signed_area(square) == 4.0


def test_the_first_pixels_centre_is_half_a_pixel_from_the_corner() -> None:
    np.testing.assert_array_equal(to_level0(np.array([[0.0, 4.0]]), 2.0), [[0.5, 2.5]])
