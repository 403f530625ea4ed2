"""Format `geojson`: midlines, points and tissue outlines of each section for QuPath.

Coordinates are pixels of level 0 with the CORNER of the first pixel at (0, 0), as in QuPath and
`study.annotations`: half a pixel more than in the pixel frame of `numerics.geometry`.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import find_contours

from cytopipe.export import Params, readme
from cytopipe.export.csv import write_table
from cytopipe.files import atomic_write
from cytopipe.formats.images import read_labels
from cytopipe.numerics.geometry import Floats, pixels_to_section
from cytopipe.study.areas import NO_AREA, UNLIKE, Areas, areas_of
from cytopipe.study.results import BrainResults

# outer ring, then those of holes; each (n, 2), with the first point repeated at the end
Polygon = tuple[Floats, ...]

_GRAY, _WHITE, _MIDLINE = (120, 120, 120), (222, 184, 135), (230, 0, 126)
_UNKNOWN = (0, 0, 0)
# a midline is interrupted where neighbours are more than this many typical distances apart; chosen
_BREAK = 2.0


def write(brains: Sequence[BrainResults], folder: Path, params: Params) -> None:
    """Write one file per section with tissue, one for its map, and a table of their images."""
    areas = areas_of(brains)
    index = []
    for brain in brains:
        scans = {section.section: section.image for section in brain.sections}
        points = dict(list(brain.points.groupby("section")))
        typical_um = _typical_distance_um(brain.points)
        for row, labels_path in brain.segmentation:
            if not row.is_usable:
                continue
            labels = read_labels(labels_path, row.page)
            section, spacing_um, full_um = row.section, row.spacing_um, row.full_spacing_um
            own = points.get(section, brain.points.iloc[:0])
            features = [
                *_outlines(labels, spacing_um, full_um),
                *_lines(own, full_um, typical_um),
                *_points(own, full_um, areas),
            ]
            if not features:
                continue
            path = folder / brain.name / f"{section:05d}.geojson"
            _write_features(features, path)
            file, image = f"{brain.name}/{path.name}", scans.get(section, "")
            mapped = list(_mapped_points(own, brain.area_map, full_um, areas))
            of_map = f"{brain.name}/{section:05d}-map.geojson" if mapped else ""
            if mapped:
                _write_features(mapped, folder / of_map)
            index.append((brain.name, section, file, of_map, image, full_um))
    columns = ["brain", "section", "file", "map", "image", "pixel_um"]
    write_table(pd.DataFrame(index, columns=columns), folder / "sections.csv", ",", na="")
    readme.write("geojson", brains, folder)


def to_level0(points_um: Floats, full_spacing_um: float) -> Floats:
    """Convert section coordinates to pixels of level 0, from the corner of the first pixel."""
    return np.asarray(points_um / full_spacing_um + 0.5)


def polygons_of(mask: NDArray[np.bool_]) -> list[Polygon]:
    """Outlines of a mask, half-way between inside and outside; integers are pixel centres.

    Pixels that only touch at a corner are two pieces. Rings do not touch or cross.
    """
    pieces, count = ndimage.label(mask)
    polygons = []
    for number, place in enumerate(ndimage.find_objects(pieces, count), start=1):
        piece = np.pad(pieces[place] == number, 1).astype(np.float32)
        # "low": the background is connected across corners, pieces are not
        rings = [ring[:, ::-1] for ring in find_contours(piece, 0.5, fully_connected="low")]
        rings.sort(key=lambda ring: -abs(signed_area(ring)))
        first = np.array([place[1].start - 1, place[0].start - 1])
        polygons.append(tuple(without_straight(ring) + first for ring in rings))
    return polygons


def signed_area(ring: Floats) -> float:
    """Area of a closed ring (n, 2); the sign tells its direction."""
    x, y = ring[:, 0], ring[:, 1]
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)


def without_straight(ring: Floats) -> Floats:
    """Remove the points of a closed ring that lie on a straight line between their neighbours."""
    points = ring[:-1]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turns = np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) > 1e-9
    kept = points[turns]
    return np.concatenate([kept, kept[:1]])


def _outlines(
    labels: NDArray[np.uint8], spacing_um: float, full_um: float
) -> Iterator[dict[str, Any]]:
    for label, name, colour in ((1, "gray matter", _GRAY), (2, "white matter", _WHITE)):
        coordinates = []
        for polygon in polygons_of(labels == label):
            rings_um = (pixels_to_section(ring, spacing_um, full_um) for ring in polygon)
            coordinates.append([_numbers(to_level0(ring_um, full_um)) for ring_um in rings_um])
        if coordinates:
            yield _feature("MultiPolygon", coordinates, name, name, colour)


def _lines(points: pd.DataFrame, full_um: float, typical_um: float) -> Iterator[dict[str, Any]]:
    for hemisphere in ("L", "R"):
        own = points[points["hemisphere"] == hemisphere]
        at_um = own[["x_um", "y_um"]].to_numpy(np.float64)
        apart_um = np.linalg.norm(np.diff(at_um, axis=0), axis=1)
        pieces = np.split(at_um, np.flatnonzero(apart_um > _BREAK * typical_um) + 1)
        for piece in pieces:
            # the refinement may move neighbours to the same position
            piece = piece[np.append(True, (np.diff(piece, axis=0) != 0).any(axis=1))[: len(piece)]]
            if len(piece) > 1:
                line, name = _numbers(to_level0(piece, full_um)), f"midline {hemisphere}"
                yield _feature("LineString", line, name, name, _MIDLINE)


def _points(points: pd.DataFrame, full_um: float, areas: Areas) -> Iterator[dict[str, Any]]:
    colour_of = {"": _UNKNOWN} | dict(zip(areas.names, areas.colours.tolist(), strict=True))
    usable = points[points["status"] == "ok"]
    for name, own in usable.groupby("area", sort=True):
        at_um = own[["x_um", "y_um"]].to_numpy(np.float64)
        title = str(name) or NO_AREA
        coordinates = _numbers(to_level0(at_um, full_um))
        yield _feature("MultiPoint", coordinates, title, f"points of {title}", colour_of[str(name)])


def _mapped_points(
    points: pd.DataFrame, area_map: pd.DataFrame | None, full_um: float, areas: Areas
) -> Iterator[dict[str, Any]]:
    """The points of a section, grouped by their area on the map."""
    if area_map is None:
        return
    own = area_map.loc[points.index]
    names, colours = areas.with_unlike()
    colour_of = dict(zip(names, colours.tolist(), strict=True))
    shown = own["mapped"].mask(own["status"] == UNLIKE, names[-1])
    for name, rows in points.groupby(shown.to_numpy(str)):
        if name:
            coordinates = _numbers(to_level0(rows[["x_um", "y_um"]].to_numpy(float), full_um))
            title = f"map: {name}"
            yield _feature("MultiPoint", coordinates, title, title, colour_of[str(name)])


def _write_features(features: list[dict[str, Any]], path: Path) -> None:
    with atomic_write(path) as beside:
        beside.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def _feature(
    kind: str, coordinates: Any, class_name: str, name: str, colour: Sequence[int]
) -> dict[str, Any]:
    geometry = {"type": kind, "coordinates": coordinates}
    properties = {
        "objectType": "annotation",
        "name": name,
        "classification": {"name": class_name, "color": list(colour)},
        "isLocked": True,
    }
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _numbers(points: Floats) -> Any:
    # to a thousandth of a pixel
    return np.round(points, 3).tolist()


def _typical_distance_um(points: pd.DataFrame) -> float:
    """Median distance of consecutive points on a midline."""
    where = points[["section", "hemisphere"]]
    same = (where.shift() == where).all(axis=1).to_numpy(bool)
    at_um = points[["x_um", "y_um"]].to_numpy(np.float64)
    apart_um = np.linalg.norm(np.diff(at_um, axis=0), axis=1)[same[1:]]
    return float(np.median(apart_um)) if len(apart_um) else 0.0
