"""Format `gifti`: mid-surfaces in stack and template, and maps of what is known at each vertex."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cytopipe.export import Params, readme
from cytopipe.export.areas import Areas, areas_of, colours
from cytopipe.export.features import Views, views_of
from cytopipe.export.gifti_files import write_labels
from cytopipe.export.nearest_point import default_reach_mm, over_surface
from cytopipe.formats import surfaces
from cytopipe.formats.atlas import HEMISPHERES
from cytopipe.formats.surfaces import Surface
from cytopipe.numerics.geometry import Floats
from cytopipe.study.results import BrainResults


@dataclass(frozen=True)
class Carried:
    """Which point each vertex of a hemisphere gets its values from.

    Attributes
    ----------
    rows : (vertices,) row of the points table, -1 for none.
    distance_mm : (vertices,) way to it, NaN for none.
    """

    rows: NDArray[np.int64]
    distance_mm: Floats

    def values(self, of_points: NDArray[np.floating]) -> Floats:
        """(vertices, ...) of (points, ...); NaN for none."""
        found = np.array(of_points[np.maximum(self.rows, 0)], np.float64)
        found[self.rows < 0] = np.nan
        return found

    def keys(self, of_points: NDArray[np.int32]) -> NDArray[np.int32]:
        """(vertices,) of (points,) keys; 0 for none."""
        return np.where(self.rows >= 0, of_points[np.maximum(self.rows, 0)], 0).astype(np.int32)


def write(brains: Sequence[BrainResults], folder: Path, params: Params) -> None:
    """Write surfaces and maps of each hemisphere of each brain."""
    areas = areas_of(brains)
    views = views_of(brains, params) if params.run is not None else None
    for brain in brains:
        for hemisphere in HEMISPHERES:
            surface = brain.surface(hemisphere)
            stem = f"{brain.name}_hemi-{hemisphere}"
            start = folder / brain.name / stem
            write_surfaces(brain, surface, hemisphere, start)
            carried = carry(brain, surface, hemisphere, params.reach_mm)
            write_point_maps(brain, carried, areas, hemisphere, start)
            if views is not None and params.run is not None:
                _write_views(brain, carried, views, params.run, hemisphere, start)
                _write_predictions(brain, carried, areas, params.run, hemisphere, start)
    readme.write("gifti", brains, folder)


def carry(
    brain: BrainResults, surface: Surface, hemisphere: str, reach_mm: float | None
) -> Carried:
    """The nearest usable point of each vertex, of the same hemisphere."""
    own = np.flatnonzero(brain.usable & (brain.points["hemisphere"] == hemisphere).to_numpy(bool))
    reach = default_reach_mm(brain) if reach_mm is None else reach_mm
    rows, distance_mm = over_surface(surface, brain.stack_mm[own], brain.normals[own], reach)
    if len(own):
        rows = np.where(rows >= 0, own[np.maximum(rows, 0)], -1)
    return Carried(rows, distance_mm)


def to_template(brain: BrainResults, surface: Surface) -> tuple[Surface, NDArray[np.bool_]]:
    """The surface in the template, and where only the affine part of the transform knew a place."""
    moved = brain.to_template(surface.vertices)
    uncovered = np.asarray(~np.isfinite(moved).all(axis=1))
    if uncovered.any():
        moved[uncovered] = brain.affine_to_template(surface.vertices[uncovered])
    return Surface(moved, surface.faces), uncovered


def write_surfaces(brain: BrainResults, surface: Surface, hemisphere: str, start: Path) -> None:
    """Write the mid-surface in both spaces and its maps; `start` begins their paths."""
    there, uncovered = to_template(brain, surface)
    for space, each in (("stack", surface), (brain.template, there)):
        path = start.with_name(f"{start.name}_space-{space}_midthickness.surf.gii")
        surfaces.write(each, path, hemisphere)
    maps = {"thickness": brain.thickness(hemisphere), "curvature": brain.curvature(hemisphere)}
    if uncovered.any():
        maps["uncovered"] = uncovered.astype(np.float64)
    for name, values in maps.items():
        path = start.with_name(f"{start.name}_{name}.shape.gii")
        surfaces.write_map(values, path, hemisphere, name)


def write_point_maps(
    brain: BrainResults, carried: Carried, areas: Areas, hemisphere: str, start: Path
) -> None:
    """Write what the points table holds, carried to the vertices."""
    table = brain.points
    maps = {
        "depth": carried.values(table["depth"].to_numpy(np.float64)),
        "distance": carried.distance_mm,
        "areaprobability": carried.values(table["area_probability"].to_numpy(np.float64)),
    }
    for name, values in maps.items():
        path = start.with_name(f"{start.name}_{name}.shape.gii")
        surfaces.write_map(values, path, hemisphere, name)
    keys = carried.keys(areas.keys_of(table["area"].to_numpy(object)))
    path = start.with_name(f"{start.name}_areas.label.gii")
    write_labels(keys, named(areas), areas.colours, "areas", path, hemisphere)


def named(areas: Areas) -> dict[int, str]:
    """Key to name."""
    return dict(enumerate(areas.names, start=1))


def _write_views(
    brain: BrainResults, carried: Carried, views: Views, run: str, hemisphere: str, start: Path
) -> None:
    name = f"{start.name}_run-{run}"
    components = carried.values(views.components[brain.name])
    for number, share in enumerate(views.shares, start=1):
        path = start.with_name(f"{name}_component{number}.shape.gii")
        title = f"component {number} ({share:.0%} of variance)"
        surfaces.write_map(components[:, number - 1], path, hemisphere, title)
    count = max(int(clusters.max(initial=0)) for clusters in views.clusters.values())
    write_labels(
        carried.keys(views.clusters[brain.name]),
        {number: f"cluster {number}" for number in range(1, count + 1)},
        colours(count),
        "clusters",
        start.with_name(f"{name}_clusters.label.gii"),
        hemisphere,
    )


def _write_predictions(
    brain: BrainResults, carried: Carried, areas: Areas, run: str, hemisphere: str, start: Path
) -> None:
    found = brain.predictions(run)
    if found is None or found.empty:
        return
    table = brain.points[["point_id"]].merge(found, on="point_id", how="left")
    keys = areas.keys_of(table["predicted"].fillna("").to_numpy(object))
    name = f"{start.name}_run-{run}"
    path = start.with_name(f"{name}_predicted.label.gii")
    title = "predicted areas"
    write_labels(carried.keys(keys), named(areas), areas.colours, title, path, hemisphere)
    for column, short in (("probability", "predictedprobability"), ("hops", "hops")):
        values = carried.values(table[column].to_numpy(np.float64, na_value=np.nan))
        path = start.with_name(f"{name}_{short}.shape.gii")
        surfaces.write_map(values, path, hemisphere, column)
