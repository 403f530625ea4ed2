"""Points along the midline of annotated areas, from contours or label images."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cytopipe.files import InputError
from cytopipe.numerics.components import Mask
from cytopipe.numerics.geometry import Floats, pixels_to_section
from cytopipe.patches.midlines import midline_points
from cytopipe.study import annotations
from cytopipe.study.annotations import Contour

# a point of the midline further away says nothing about an annotated one; chosen, not measured
NEAR_MM = 3.0
_CONTOURS, _LABELS = ".geojson", ".tif"


def section_of(path: Path) -> tuple[str, int]:
    """Brain and section number of an annotation file, `{brain}/{section}.geojson` or `.tif`.

    Raises
    ------
    InputError
        If the name is not a number with one of these endings.
    """
    if path.suffix not in (_CONTOURS, _LABELS) or not re.fullmatch("[0-9]{1,9}", path.stem):
        raise InputError(
            f"{path}: annotations are named {{brain}}/{{section:05d}}{_CONTOURS} or {_LABELS}; "
            "rename it"
        )
    return path.parent.name, int(path.stem)


def masks_of(
    path: Path, shape: tuple[int, int], full_spacing_um: float, raster_um: float
) -> dict[str, Mask]:
    """The pixels of `raster_um` whose centres lie in each area of a section, by its name.

    Parameters
    ----------
    path : contours or label image.
    shape : rows and columns of the section's level 0, of `full_spacing_um`.
    """
    size = tuple(int(np.ceil(n * full_spacing_um / raster_um)) for n in shape)
    if path.suffix == _CONTOURS:
        contours = annotations.read_contours(path, shape)
        return rasterised(contours, (size[0], size[1]), raster_um / full_spacing_um)
    names = annotations.read_area_names(path.parents[1] / annotations.AREA_TABLE)
    labels = annotations.read_area_labels(path, names, shape)
    # centres of the raster's pixels, in pixels of the labels
    places = [
        np.minimum(
            ((np.arange(n) + 0.5) * raster_um / full_spacing_um * rows / full).astype(int), rows - 1
        )
        for n, rows, full in zip(size, labels.shape, shape, strict=True)
    ]
    coarse = labels[np.ix_(*places)]
    return merged([(names[int(n)], coarse == n) for n in np.unique(coarse) if n != 0])


def rasterised(contours: list[Contour], shape: tuple[int, int], factor: float) -> dict[str, Mask]:
    """The pixels of each area by its name, on a raster of `shape`.

    Parameters
    ----------
    factor : width of a pixel of the raster in pixels of level 0.
    """
    masks = []
    for contour in contours:
        for rings in contour.polygons:
            mask = np.zeros(shape, bool)
            for number, ring in enumerate(rings):
                # from pixel corners of level 0 to pixel centres of the raster
                column, row = (ring / factor - 0.5).T
                mask[inside(row, column, shape)] = number == 0  # later rings are holes
            masks.append((contour.name, mask))
    return merged(masks)


def inside(row: Floats, column: Floats, shape: tuple[int, int]) -> Mask:
    """Pixels whose centres lie in a ring by the even-odd rule, from its crossings of each row.

    Time grows with the ring's length; skimage's polygon tests every pixel against every edge, which
    takes 3 s per section of the demo.
    """
    row_to, column_to = np.roll(row, -1), np.roll(column, -1)
    first = np.ceil(np.minimum(row, row_to)).clip(0, shape[0]).astype(int)
    past = np.ceil(np.maximum(row, row_to)).clip(0, shape[0]).astype(int)
    edge = np.repeat(np.arange(len(row)), past - first)
    before = np.cumsum(past - first) - (past - first)
    at = first[edge] + np.arange(len(edge)) - before[edge]
    share = (at - row[edge]) / (row_to - row)[edge]
    crossing = column[edge] + share * (column_to - column)[edge]
    turns = np.zeros((shape[0], shape[1] + 1), np.int32)
    np.add.at(turns, (at, np.ceil(crossing).clip(0, shape[1]).astype(int)), 1)
    return np.asarray(np.cumsum(turns, axis=1)[:, :-1] % 2 == 1)


def merged(masks: list[tuple[str, Mask]]) -> dict[str, Mask]:
    """The union of the masks of each name."""
    unions: dict[str, Mask] = {}
    for name, mask in masks:
        unions[name] = unions[name] | mask if name in unions else mask
    return unions


def points_of_areas(
    masks: dict[str, Mask],
    brain: str,
    section: int,
    full_spacing_um: float,
    raster_um: float,
    spacing_mm: float,
) -> pd.DataFrame:
    """Points along the midline of each piece: point_id, brain, section, x_um, y_um, area.

    Positions are in the section frame; point_id runs through the areas in the order of their names.
    """
    frames = []
    for area in sorted(masks):
        pixels = midline_points(masks[area], spacing_mm * 1000 / raster_um)
        at_um = pixels_to_section(pixels, raster_um, full_spacing_um)
        frames.append(pd.DataFrame(at_um, columns=["x_um", "y_um"]).assign(area=area))
    none = pd.DataFrame(columns=["x_um", "y_um", "area"])
    frame = pd.concat(frames, ignore_index=True) if frames else none
    frame["point_id"] = [f"{brain}-{section:05d}-a{number:04d}" for number in range(len(frame))]
    return frame.assign(brain=brain, section=section)


def with_nearest(points: pd.DataFrame, midline: pd.DataFrame) -> pd.DataFrame:
    """Points of one section with hemisphere and template coordinate of the nearest usable point.

    Parameters
    ----------
    points : x_um, y_um.
    midline : points (PointRow) of the section with status ok. Without one within `NEAR_MM`,
        the hemisphere is "" and the coordinates are NaN.
    """
    nearest_values: dict[str, NDArray[Any]] = {
        "hemisphere": np.full(len(points), "", object),
        **{name: np.full(len(points), np.nan) for name in ("x_mm", "y_mm", "z_mm")},
    }
    if len(midline) and len(points):
        points_um, midline_um = (
            frame[["x_um", "y_um"]].to_numpy(np.float64) for frame in (points, midline)
        )
        distance_um, nearest = cKDTree(midline_um).query(points_um)
        near = distance_um <= NEAR_MM * 1000
        for name, values in nearest_values.items():
            values[near] = midline[name].to_numpy()[nearest[near]]
    return points.assign(**nearest_values)
