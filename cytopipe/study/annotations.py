"""What people draw on sections: contours and label images of areas, layer masks, cell positions.

The contours of a section are a GeoJSON file as QuPath exports it: a FeatureCollection of Polygon
and MultiPolygon, in pixels of level 0 with the CORNER of the first pixel at (0, 0). Subtract 0.5 to
get the pixel frame of `numerics.geometry`. They are drawn on the image as the file shows it, which
is the section frame: a mirrored scan needs no flip.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tifffile
from numpy.typing import NDArray
from pyarrow import csv

from cytopipe.files import InputError, atomic_write
from cytopipe.formats.images import read_drawn
from cytopipe.formats.text import finite, read_json, read_table, whole
from cytopipe.numerics.geometry import Floats

# outer ring, then holes: (n, 2) x, y each; the last point repeats the first
Polygon = tuple[Floats, ...]

AREA_TABLE = "areas.tsv"


@dataclass(frozen=True)
class Contour:
    """The outline of an area on one section.

    Attributes
    ----------
    name : name of the area.
    polygons : its pieces, in pixels of level 0 from the corner of the first pixel.
    """

    name: str
    polygons: tuple[Polygon, ...]


def write_contours(contours: Sequence[Contour], path: Path) -> None:
    """Write a GeoJSON file that QuPath opens; coordinates to a thousandth of a pixel."""
    features = [
        {
            "type": "Feature",
            "geometry": {
                "type": "MultiPolygon",
                "coordinates": [
                    [np.round(ring, 3).tolist() for ring in polygon] for polygon in contour.polygons
                ],
            },
            "properties": {
                "objectType": "annotation",
                "classification": {"name": contour.name},
            },
        }
        for contour in contours
    ]
    with atomic_write(path) as beside:
        beside.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def read_contours(path: Path, shape: tuple[int, int]) -> list[Contour]:
    """Read the contours of one section.

    The name of an area is properties.classification.name or, without a class, properties.name.
    Rings may cross themselves.

    Parameters
    ----------
    shape : rows and columns of level 0.

    Raises
    ------
    InputError
        If the file is missing or is not a GeoJSON FeatureCollection, for a feature without a name
        or with another geometry, a ring that is open or has fewer than four points, or a point that
        is more than a pixel outside the image.
    """
    content = read_json(path, "export the section's annotations again")
    features = content.get("features") if isinstance(content, dict) else None
    if not isinstance(features, list) or content.get("type") != "FeatureCollection":
        raise InputError(f"{path}: not a FeatureCollection; export it as one (an option in QuPath)")
    contours = []
    for number, feature in enumerate(features, start=1):
        where = f"{path}: feature {number}"
        name = _name(feature, where)
        contours.append(Contour(name, tuple(_polygons(feature, f"{where} ({name})", shape))))
    return contours


def _name(feature: Any, where: str) -> str:
    properties = _mapping(feature, "properties")
    name = properties.get("name")
    # the name of the object counts only if it has no class
    if properties.get("classification"):
        of_class = _mapping(properties, "classification")
        name = of_class.get("name")
        if isinstance(parts := of_class.get("names"), list):  # of a derived class
            name = ": ".join(map(str, parts))
    if not isinstance(name, str) or not name.strip():
        raise InputError(
            f"{where} has no name: properties.classification is not an object with a name; give it "
            "a class (the area) in QuPath and export again"
        )
    if not name.isprintable():
        raise InputError(f"{where}: its name {name!r} holds other characters than text; rename it")
    return name.strip()


def _mapping(content: Any, key: str) -> dict[str, Any]:
    """The object at a key; an empty one if there is none."""
    value = content.get(key) if isinstance(content, dict) else None
    return value if isinstance(value, dict) else {}


def _polygons(feature: dict[str, Any], where: str, shape: tuple[int, int]) -> Iterator[Polygon]:
    geometry = _mapping(feature, "geometry")
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind not in ("Polygon", "MultiPolygon"):
        raise InputError(
            f"{where} is a {kind}; only Polygon and MultiPolygon outline an area: remove it"
        )
    polygons = [coordinates] if kind == "Polygon" else coordinates
    if not isinstance(polygons, list) or not all(
        polygon and isinstance(polygon, list) for polygon in polygons or [None]
    ):
        raise InputError(f"{where}: its coordinates hold no ring; remove it, or export again")
    for polygon in polygons:
        yield tuple(_ring(ring, where, shape) for ring in polygon)


def _ring(ring: Any, where: str, shape: tuple[int, int]) -> Floats:
    try:
        points = np.array([point[:2] for point in ring])
        if points.dtype.kind not in "iuf":
            raise TypeError(f"such as {ring[0]!r}")
    except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise InputError(f"{where}: coordinates are not numbers ({error}); export again") from error
    points = points.astype(np.float64)
    if points.ndim != 2 or len(points) < 4 or points.shape[1] != 2:
        raise InputError(f"{where}: a ring of {len(points)} points; it needs at least four")
    if (points[0] != points[-1]).any():
        raise InputError(
            f"{where}: an open ring, from {points[0].tolist()} to {points[-1].tolist()}; "
            "close it: its last point must repeat the first"
        )
    outside = ~((points >= -1) & (points <= np.array(shape[::-1]) + 1)).all(1)
    if outside.any():
        raise InputError(
            f"{where}: point {points[outside][0].tolist()} lies outside the image of "
            f"{shape[1]} x {shape[0]} pixels; coordinates are pixels of the full resolution"
        )
    return points


def read_area_names(path: Path) -> dict[int, str]:
    """Read areas.tsv of label images: label to name (columns label, name; tab-separated).

    Raises
    ------
    InputError
        If a column is missing, a label is not positive or is there twice, or a name is empty.
    """
    remedy = "label images need it: a table with the columns label and name"
    names: dict[int, str] = {}
    for line, row in read_table(path, ("label", "name"), remedy=remedy, is_foreign=True):
        label = whole(row["label"], f"{path} line {line}: label")
        if label == 0 or label in names:
            raise InputError(
                f"{path} line {line}: label is {row['label']!r}; give a number above 0, each once"
            )
        if not row["name"]:
            raise InputError(f"{path} line {line}: label {label} has no name; add it")
        names[label] = row["name"]
    return names


def read_area_labels(
    path: Path, names: dict[int, str], shape: tuple[int, int]
) -> NDArray[np.integer[Any]]:
    """Read a label image of areas, (rows, columns). It covers the whole section at any resolution.

    Parameters
    ----------
    names : label to name, as `read_area_names` returns it; 0 is background.
    shape : rows and columns of level 0; the label image must have the same proportions.

    Raises
    ------
    InputError
        If the file is missing, is not a two-dimensional TIFF of whole numbers, has other
        proportions than the section, or holds a label without a name.
    """
    labels = read_drawn(path)
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"{path}: shape {labels.shape} of {labels.dtype}; save one plane of whole numbers"
        )
    factor = max(shape) / max(labels.shape)
    if any(abs(full / factor - size) > 1 for full, size in zip(shape, labels.shape, strict=True)):
        raise InputError(
            f"{path}: {labels.shape[1]} x {labels.shape[0]} pixels do not have the proportions of "
            f"the section's {shape[1]} x {shape[0]}; labels must cover the whole section"
        )
    unknown = sorted(set(np.unique(labels).tolist()) - set(names) - {0})
    if unknown:
        raise InputError(f"{path}: label {unknown[0]} is not in {AREA_TABLE}; add a row for it")
    return labels


def read_gray(path: Path, is_photograph: bool = False) -> NDArray[np.uint8]:
    """Read a patch or its mask, (rows, columns): an 8-bit TIFF or PNG of one channel.

    Parameters
    ----------
    is_photograph : as in `read_drawn`.

    Raises
    ------
    InputError
        If the file is missing, unreadable, or another kind of image.
    """
    image = read_drawn(path, is_photograph)
    if image.ndim != 2 or image.dtype != np.uint8:
        raise InputError(
            f"{path}: shape {image.shape} of {image.dtype}; convert it to one channel of 8 bits"
        )
    return image


def write_gray(image: NDArray[np.uint8], path: Path) -> None:
    """Write an 8-bit TIFF of one channel."""
    with atomic_write(path) as beside:
        tifffile.imwrite(beside, image, compression="zlib", photometric="minisblack", metadata=None)


def write_cells(positions_um: Floats, path: Path) -> None:
    """Write the positions of cell bodies in a patch, (n, 2) um from the centre of its first pixel.

    They are rounded to 0.1 um.
    """
    columns = dict(zip(("x_um", "y_um"), np.round(positions_um, 1).T, strict=True))
    with atomic_write(path) as beside:
        csv.write_csv(pa.table(columns), beside, csv.WriteOptions(quoting_style="none"))


def read_cells(path: Path) -> Floats:
    """Read the positions of cell bodies in a patch, (n, 2) um from the centre of its first pixel.

    Raises
    ------
    InputError
        If the file is missing, lacks x_um or y_um, or holds something that is not a number.
    """
    remedy = "correct cells in the table of patches, or leave it empty"
    rows = read_table(path, ("x_um", "y_um"), remedy=remedy, separators=",", is_foreign=True)
    return np.array(
        [
            [finite(row[name], f"{path} line {line}: {name}") for name in ("x_um", "y_um")]
            for line, row in rows
        ],
        np.float64,
    ).reshape(-1, 2)
