"""Contours, label images, layer masks and cells are read back as written; bad ones are refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from cytopipe.files import InputError
from cytopipe.study.annotations import (
    Contour,
    read_area_labels,
    read_area_names,
    read_cells,
    read_contours,
    read_gray,
    write_cells,
    write_contours,
    write_gray,
)

SHAPE = (80, 100)  # rows, columns
SQUARE = [[10, 20], [60, 20], [60, 70], [10, 70], [10, 20]]


def feature(**changes: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [SQUARE]},
        "properties": {"classification": {"name": "Fp1", "color": [1, 2, 3]}},
        **changes,
    }


def write_features(tmp_path: Path, *features: dict[str, Any]) -> Path:
    path = tmp_path / "00015.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_contours_are_read_back_as_written(tmp_path: Path) -> None:
    square = np.array(SQUARE, float)
    hole, other = 0.5 * square + 12.25, 0.1 * square + [90, 0]
    contours = [Contour("Fp1", ((square, hole), (other,))), Contour("4a", ((square + 1,),))]
    write_contours(contours, tmp_path / "a.geojson")
    contours_read = read_contours(tmp_path / "a.geojson", SHAPE)
    assert [contour.name for contour in contours_read] == ["Fp1", "4a"]
    assert [len(polygon) for polygon in contours_read[0].polygons] == [2, 1]
    for polygon, expected in zip(contours_read[0].polygons, contours[0].polygons, strict=True):
        for ring, wanted in zip(polygon, expected, strict=True):
            np.testing.assert_allclose(ring, wanted, atol=6e-4)


def test_an_area_has_the_name_of_its_class_or_of_the_object(tmp_path: Path) -> None:
    both = feature(properties={"name": "mine", "classification": {"name": "Fp2"}})
    named = feature(properties={"name": "Fp3", "classification": None})
    names = [
        contour.name for contour in read_contours(write_features(tmp_path, both, named), SHAPE)
    ]
    assert names == ["Fp2", "Fp3"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"properties": {"objectType": "annotation"}},
            r"feature 1 has no name: .*; give it a class",
        ),
        ({"properties": None}, r"feature 1 has no name"),
        (
            {"geometry": {"type": "LineString", "coordinates": SQUARE}},
            r"feature 1 \(Fp1\) is a LineString; only Polygon",
        ),
        (
            {"geometry": {"type": "Polygon", "coordinates": [SQUARE[:-1]]}},
            r"an open ring, from \[10\.0, 20\.0\] to \[10\.0, 70\.0\]; close it",
        ),
        (
            {"geometry": {"type": "Polygon", "coordinates": [SQUARE[:1] + SQUARE[-1:]]}},
            r"a ring of 2 points; .* four",
        ),
        (
            {"geometry": {"type": "Polygon", "coordinates": [[*SQUARE[:2], [60, 82], SQUARE[0]]]}},
            r"point \[60\.0, 82\.0\] lies outside the image of 100 x 80 pixels",
        ),
        (
            {"geometry": {"type": "Polygon", "coordinates": [[*SQUARE[:3], ["a", 1], SQUARE[0]]]}},
            r"coordinates are not numbers",
        ),
        (
            {"geometry": {"type": "Polygon", "coordinates": [[["1", "2"]] * 4]}},
            r"coordinates are not numbers",
        ),
        ({"geometry": {"type": "Polygon", "coordinates": [7]}}, r"coordinates are not numbers"),
        ({"geometry": {"type": "Polygon", "coordinates": []}}, r"its coordinates hold no ring"),
        ({"geometry": {"type": "MultiPolygon", "coordinates": None}}, r"hold no ring"),
        ({"geometry": None}, r"feature 1 \(Fp1\) is a None; only Polygon"),
        ({"properties": {"classification": "V1"}}, r"feature 1 has no name: .*; give it a class"),
        ({"properties": {"classification": ["V1"]}}, r"feature 1 has no name"),
        ({"properties": {"classification": "V1", "name": "a"}}, r"feature 1 has no name"),
        ({"properties": {"classification": {"names": []}, "name": "a"}}, r"has no name"),
        ({"geometry": {"type": "MultiPolygon", "coordinates": []}}, r"hold no ring"),
        ({"properties": {"name": "V\n1"}}, r"feature 1: its name 'V\\n1' holds other characters"),
        ({"properties": {"name": "V\ud800"}}, r"holds other characters than text; rename it"),
    ],
)
def test_a_wrong_contour_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=r"00015\.geojson: .*" + message):
        read_contours(write_features(tmp_path, feature(**changes)), SHAPE)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    path.write_text("[1")
    with pytest.raises(InputError, match="not a readable JSON file"):
        read_contours(path, SHAPE)
    path.write_text(json.dumps([feature()]))
    with pytest.raises(InputError, match="not a FeatureCollection; export it as one"):
        read_contours(path, SHAPE)
    for features in (None, {}, "", 3):
        path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        with pytest.raises(InputError, match="not a FeatureCollection; export it as one"):
            read_contours(path, SHAPE)
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [None]}))
    with pytest.raises(InputError, match="feature 1 has no name"):
        read_contours(path, SHAPE)
    with pytest.raises(InputError, match="not found"):
        read_contours(tmp_path / "b.geojson", SHAPE)


def test_label_images_cover_the_section_and_have_names(tmp_path: Path) -> None:
    (tmp_path / "areas.tsv").write_text("label\tname\n3\tFp1\n7\tFp2\n")
    names = read_area_names(tmp_path / "areas.tsv")
    assert names == {3: "Fp1", 7: "Fp2"}
    labels = np.zeros((20, 25), np.uint16)
    labels[3:9, 4:8] = 7
    path = tmp_path / "00015.tif"
    tifffile.imwrite(path, labels)
    np.testing.assert_array_equal(read_area_labels(path, names, SHAPE), labels)
    with pytest.raises(InputError, match=r"do not have the proportions of the section's 100 x 60"):
        read_area_labels(path, names, (60, 100))
    labels[0, 0] = 4
    tifffile.imwrite(path, labels)
    with pytest.raises(InputError, match=r"00015\.tif: label 4 is not in areas\.tsv"):
        read_area_labels(path, names, SHAPE)
    tifffile.imwrite(path, labels.astype(np.float32))
    with pytest.raises(InputError, match="of float32; save one plane of whole numbers"):
        read_area_labels(path, names, SHAPE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label\tarea\n1\tFp1\n", "column 'name' is missing"),
        ("label\tname\n0\tFp1\n", "line 2: label is '0'"),
        ("label\tname\n1\tFp1\n1\tFp2\n", "line 3: label is '1'"),
        ("label\tname\n1\t\n", "line 2: label 1 has no name"),
    ],
)
def test_a_wrong_table_of_areas_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "areas.tsv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_area_names(tmp_path / "areas.tsv")


def test_gray_images_are_tiff_or_png_of_8_bits(tmp_path: Path) -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    write_gray(image, tmp_path / "a.tif")
    Image.fromarray(image).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_gray(tmp_path / "a.tif"), image)
    np.testing.assert_array_equal(read_gray(tmp_path / "a.png"), image)
    Image.fromarray(np.stack([image] * 3, axis=-1)).save(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"b\.png: shape \(3, 4, 3\) of uint8; convert it to one"):
        read_gray(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"c\.png: not a readable image"):
        read_gray(tmp_path / "c.png")


def test_cells_are_read_back_to_a_tenth_of_a_micrometre(tmp_path: Path) -> None:
    cells = np.random.default_rng(1).uniform(-16, 4000, (50, 2))
    write_cells(cells, tmp_path / "cells.csv")
    np.testing.assert_allclose(read_cells(tmp_path / "cells.csv"), cells, atol=0.051)
    (tmp_path / "cells.csv").write_text("x_um,y_um\n1,2\na,3\n")
    with pytest.raises(InputError, match=r"cells\.csv line 3: x_um is 'a'"):
        read_cells(tmp_path / "cells.csv")
    (tmp_path / "cells.csv").write_text("x,y\n1,2\n")
    with pytest.raises(InputError, match=r"column .x_um. is missing, its columns are x, y"):
        read_cells(tmp_path / "cells.csv")
