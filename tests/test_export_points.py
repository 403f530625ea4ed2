"""Formats `neuroglancer` and `openminds`, read as their specifications say."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from export_study import STACK_VOXEL_MM, export
from shell_study import CENTRES, HALF_MM, MIDDLE_MM, shells, template_of

from cytopipe import open_study
from cytopipe.export import neuroglancer
from cytopipe.export.neuroglancer import Property, write_points, write_tissue
from cytopipe.formats import tables, volumes

# bytes and numpy type of the format's property types
SIZES = {"uint32": (4, "<u4"), "float32": (4, "<f4"), "uint16": (2, "<u2"), "uint8": (1, "u1"),
         "rgb": (3, "3u1")}  # fmt: skip


@pytest.fixture(scope="module")
def exported(shell_study_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("neuroglancer") / "out"
    return export(shell_study_folder, "neuroglancer", to) / "B01"


@pytest.fixture(scope="module")
def points(shell_study_folder: Path) -> pd.DataFrame:
    path = shell_study_folder / "results" / "coordinates" / "B01" / "points.parquet"
    return tables.read(tables.PointRow, path)


class Layer:
    """A reader of annotation layers, from annotations.md and sharding.md of the format."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.info = json.loads((folder / "info").read_text())
        used = 12 + sum(SIZES[p["type"]][0] for p in self.info["properties"])
        self.size = used + (-used) % 4

    def decode(self, content: bytes) -> dict[str, Any]:
        values: dict[str, Any] = {"position": np.frombuffer(content, "<f4", 3)}
        at, widths = 12, []
        for described in self.info["properties"]:
            width, kind = SIZES[described["type"]]
            value = np.frombuffer(content[at : at + width], kind.lstrip("3"))
            values[described["id"]] = value if len(value) > 1 else value[0]
            at += width
            widths.append(1 if described["type"] == "rgb" else width)
        assert widths == sorted(widths, reverse=True)
        assert set(content[at : self.size]) <= {0}
        return values

    def by_id(self, number: int) -> dict[str, Any] | None:
        spec = self.info["by_id"]["sharding"]
        assert spec["@type"] == "neuroglancer_uint64_sharded_v1"
        assert (spec["hash"], spec["preshift_bits"], spec["shard_bits"]) == ("identity", 0, 0)
        content = (self.folder / self.info["by_id"]["key"] / "0.shard").read_bytes()
        count = 2 ** spec["minishard_bits"]
        start, end = np.frombuffer(content, "<u8", 2 * count).reshape(-1, 2)[number % count]
        body = content[16 * count :]
        ids, starts, sizes = np.frombuffer(body[start:end], "<u8").reshape(3, -1)
        ids = np.cumsum(ids)
        # an offset counts from the end of the chunk before
        begins = np.cumsum(starts) + np.cumsum(sizes) - sizes
        (at,) = np.nonzero(ids == number)
        if not len(at):
            return None
        begin = int(begins[at[0]])
        assert int(sizes[at[0]]) == self.size
        return self.decode(body[begin : begin + self.size])

    def levels(self) -> list[dict[str, list[tuple[int, dict[str, Any]]]]]:
        levels = []
        for level in self.info["spatial"]:
            cells = {}
            for path in (self.folder / level["key"]).glob("*"):
                content = path.read_bytes()
                count = int(np.frombuffer(content, "<u8", 1)[0])
                assert len(content) == 8 + count * (self.size + 8)
                ids = np.frombuffer(content, "<u8", count, 8 + count * self.size)
                parts = [content[8 + i * self.size :][: self.size] for i in range(count)]
                cells[path.name] = [
                    (int(i), self.decode(p)) for i, p in zip(ids, parts, strict=True)
                ]
            levels.append(cells)
        return levels


@pytest.mark.parametrize("space", ["stack", "shells"])
def test_annotations_are_the_points(exported: Path, points: pd.DataFrame, space: str) -> None:
    layer = Layer(exported / f"points-{space}")
    assert layer.info["@type"] == "neuroglancer_annotations_v1"
    assert layer.info["dimensions"] == {axis: [0.001, "m"] for axis in "xyz"}
    labels = {p["id"]: p.get("enum_labels") for p in layer.info["properties"]}
    for number in range(0, len(points), 7):
        row, values = points.iloc[number], layer.by_id(number)
        assert values is not None
        stack_mm = np.array([row["x_stack_um"], row["z_stack_um"], -row["y_stack_um"]]) / 1000
        expected = stack_mm if space == "stack" else template_of(stack_mm)
        np.testing.assert_allclose(values["position"], expected, atol=1e-4)
        radius = np.linalg.norm(stack_mm - CENTRES[row["hemisphere"]])
        assert radius == pytest.approx(HALF_MM, abs=1e-3)
        assert labels["hemisphere"][values["hemisphere"]] == row["hemisphere"]
        assert labels["area"][values["area"]] == (row["area"] or "no area")
        assert labels["status"][values["status"]] == row["status"]
        usable = row["status"] == "ok"
        exchanged = "back" if row["area"] == "front" else "front"
        foreign = usable and number % 10 == 0
        named = "unlike the training data" if foreign else exchanged if usable else "no area"
        assert labels["map"][values["map"]] == named
        assert (values["map_novelty"] > 1) == foreign
        assert values["section"] == row["section"]
        assert values["depth"] == pytest.approx(row["depth"])
    assert layer.by_id(len(points)) is None
    # the point without a template coordinate
    assert (layer.by_id(3) is None) == (space == "shells")


def test_the_spatial_index_contains_each_point_once_in_its_cell(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    # thousands of points, most of them in one corner
    places = np.concatenate([rng.random((3000, 3)) * 40, rng.random((6000, 3)) * 5 + (30, 0, 20)])
    value = rng.random(len(places)).astype(np.float32)
    side = rng.integers(0, 2, len(places)).astype(np.uint8)
    properties = [
        Property("side", "uint8", "", side, ("L", "R")),
        Property("value", "float32", "", value),
    ]
    places[5] = np.nan
    write_points(places, properties, tmp_path / "layer")
    layer = Layer(tmp_path / "layer")
    low, high = np.array(layer.info["lower_bound"]), np.array(layer.info["upper_bound"])
    known = np.isfinite(places).all(axis=1)
    assert (places[known] >= low).all() and (places[known] < high).all()
    assert len(layer.info["spatial"]) > 1
    seen: list[int] = []
    before = np.full(3, np.inf)
    for level, cells in zip(layer.info["spatial"], layer.levels(), strict=True):
        chunk, grid = np.array(level["chunk_size"]), np.array(level["grid_shape"])
        np.testing.assert_allclose(chunk * grid, high - low)
        ratio = before / chunk
        assert np.isinf(ratio).all() or set(ratio.tolist()) <= {1.0, 2.0}
        before = chunk
        for name, annotations in cells.items():
            cell = np.array(name.split("_"), int)
            assert (cell >= 0).all() and (cell < grid).all()
            assert 0 < len(annotations) <= level["limit"]
            for number, values in annotations:
                np.testing.assert_allclose(values["position"], places[number], atol=1e-5)
                assert (values["value"], values["side"]) == (value[number], side[number])
                assert (places[number] >= low + cell * chunk - 1e-9).all()
                assert (places[number] <= low + (cell + 1) * chunk + 1e-9).all()
                seen.append(number)
        # coarse levels contain points from everywhere
        assert level["limit"] < 1.2 * neuroglancer._CELL
    assert sorted(seen) == np.flatnonzero(known).tolist()


def test_a_layer_without_points_can_be_read(tmp_path: Path) -> None:
    write_points(np.full((2, 3), np.nan), [], tmp_path / "layer")
    layer = Layer(tmp_path / "layer")
    assert layer.levels() == [{}] and layer.info["upper_bound"] == [1, 1, 1]


def test_tissue_that_fills_its_grid_keeps_all_voxels(
    shell_study_folder: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    tissue = rng.integers(0, 3, (40, 3, 35)).astype(np.uint8)
    affine = volumes.regular_affine(0.3, np.array([-6.0, 0.3, -0.9]))
    volumes.write(volumes.Volume(tissue, affine), tmp_path / "tissue.nii.gz")
    brain = open_study(shell_study_folder).brain("B01")
    files = {**brain.files, "tissue": tmp_path / "tissue.nii.gz"}
    write_tissue(replace(brain, files=files), tmp_path / "layer")
    written, low_mm, edge_mm = read_segmentation(tmp_path / "layer")
    # the corner of the first voxel, and each voxel eight times
    np.testing.assert_allclose(low_mm, np.array([-6.0, 0.3, -0.9]) - 0.15)
    np.testing.assert_allclose(edge_mm, 0.15)
    expected = tissue
    for axis in range(3):
        expected = np.repeat(expected, 2, axis=axis)
    np.testing.assert_array_equal(written, expected)


def read_segmentation(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels (x, y, z), the corner of the first voxel and the edges of a voxel, mm."""
    info = json.loads((folder / "info").read_text())
    (scale,) = info["scales"]
    assert (info["type"], info["data_type"], scale["encoding"]) == ("segmentation", "uint8", "raw")
    offset, size = np.array(scale["voxel_offset"]), np.array(scale["size"])
    volume = np.zeros(size, np.uint8)
    for path in (folder / scale["key"]).iterdir():
        # bounds may be negative: "-44--12" spans from -44 to -12
        bounds = [re.fullmatch(r"(-?\d+)-(-?\d+)", part) for part in path.name.split("_")]
        begin, end = np.array([bound.groups() for bound in bounds if bound], int).T
        data = np.frombuffer(path.read_bytes(), np.uint8).reshape((end - begin)[::-1]).T
        volume[tuple(slice(a, b) for a, b in zip(begin - offset, end - offset, strict=True))] = data
    edge_mm = np.array(scale["resolution"]) / 1e6
    return volume, offset * edge_mm, edge_mm


def test_tissue_and_points_are_in_the_same_frame(exported: Path) -> None:
    tissue, low_mm, edge_mm = read_segmentation(exported / "tissue-stack")
    np.testing.assert_allclose(edge_mm, STACK_VOXEL_MM / 2)
    assert len(list((exported / "tissue-stack" / "half_voxel").iterdir())) > 1
    # an eighth of a voxel of the stack has the label of that voxel's centre
    centre_mm = low_mm + (np.moveaxis(np.indices(tissue.shape), 0, -1) + 0.5) * edge_mm
    stack_voxel = np.floor(centre_mm / STACK_VOXEL_MM + 0.5) * STACK_VOXEL_MM
    np.testing.assert_array_equal(tissue, shells(stack_voxel)[0])
    for centre in CENTRES.values():
        index = np.floor((centre + (0, MIDDLE_MM, 0) - low_mm) / edge_mm).astype(int)
        assert tissue[tuple(index)] == 1


@pytest.mark.parametrize("space", ["stack", "shells"])
def test_openminds_points_have_the_properties_of_the_schema(
    shell_study_folder: Path, points: pd.DataFrame, tmp_path: Path, space: str
) -> None:
    folder = export(shell_study_folder, "openminds", tmp_path / "out")
    spaces = json.loads((folder / "spaces.jsonld").read_text())
    assert spaces["@context"] == {"@vocab": "https://openminds.om-i.org/props/"}
    ids = {node["@id"] for node in spaces["@graph"]}
    for node in spaces["@graph"]:
        assert node["@type"] == "https://openminds.om-i.org/types/CustomCoordinateSpace"
        required = {"name", "anatomicalAxesOrientation", "axesOrigin", "nativeUnit"}
        assert set(node) == {"@id", "@type", *required}
        assert node["anatomicalAxesOrientation"]["@id"].endswith("/RAS")
    content = json.loads((folder / f"B01_points-{space}.jsonld").read_text())
    which = pd.read_csv(folder / f"B01_points-{space}.tsv", sep="\t", keep_default_na=False)
    usable = points[points["status"] == "ok"]
    assert which["point_id"].tolist() == usable["point_id"].tolist()
    assert len(content["@graph"]) == len(usable)
    stack_mm = usable[["x_stack_um", "z_stack_um", "y_stack_um"]].to_numpy() / (1000, 1000, -1000)
    expected = stack_mm if space == "stack" else template_of(stack_mm)
    places = []
    for node in content["@graph"]:
        assert set(node) == {"@type", "coordinateSpace", "coordinates"}
        assert node["@type"] == "https://openminds.om-i.org/types/CoordinatePoint"
        assert node["coordinateSpace"]["@id"] in ids
        for value in node["coordinates"]:
            assert value["@type"] == "https://openminds.om-i.org/types/QuantitativeValue"
            assert value["unit"]["@id"].endswith("/unitOfMeasurement/millimeter")
        places.append([value["value"] for value in node["coordinates"]])
    np.testing.assert_allclose(places, expected, atol=6e-4)
