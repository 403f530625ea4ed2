"""Format `gifti`: mid-surfaces in stack and template, and per-vertex maps."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cytopipe.export import Params, readme
from cytopipe.export.feature_maps import FeatureMaps, map_features
from cytopipe.formats import surfaces
from cytopipe.formats.atlas import HEMISPHERES
from cytopipe.formats.surfaces import Surface
from cytopipe.numerics.geometry import Floats
from cytopipe.study.areas import UNLIKE, Areas, areas_of, distinct_colours
from cytopipe.study.nearest_point import NearestPoints, nearest_points
from cytopipe.study.results import BrainResults


def write(brains: Sequence[BrainResults], folder: Path, params: Params) -> None:
    """Write surfaces and maps of each hemisphere of each brain."""
    areas = areas_of(brains)
    features = map_features(brains, params) if params.run is not None else None
    for brain in brains:
        for hemisphere in HEMISPHERES:
            surface = brain.surface(hemisphere)
            if surface.is_empty:
                continue
            prefix = f"{folder / brain.name / brain.name}_hemi-{hemisphere}_"
            _write_surfaces(brain, surface, hemisphere, prefix)
            nearest = nearest_points(brain, surface, hemisphere, params.reach_mm)
            _write_points(brain, nearest, areas, hemisphere, prefix)
            _write_map(brain, nearest, areas, hemisphere, prefix)
            if features is not None and params.run is not None:
                prefix += f"run-{params.run}_"
                _write_features(brain, nearest, features, hemisphere, prefix)
                _write_parcellation(brain, nearest, params.run, hemisphere, prefix)
                _write_predictions(brain, nearest, areas, params.run, hemisphere, prefix)
    readme.write("gifti", brains, folder)


def to_template(brain: BrainResults, surface: Surface) -> tuple[Surface, NDArray[np.bool_]]:
    """Move a surface to the template.

    Returns
    -------
    The moved surface, and the vertices (vertices,) that the displacement field does not reach: they
    are moved by the affine part of the transform.
    """
    moved = brain.to_template(surface.vertices)
    uncovered = np.asarray(~np.isfinite(moved).all(axis=1))
    if uncovered.any():
        moved[uncovered] = brain.affine_to_template(surface.vertices[uncovered])
    return Surface(moved, surface.faces), uncovered


def _write_surfaces(brain: BrainResults, surface: Surface, hemisphere: str, prefix: str) -> None:
    in_template, uncovered = to_template(brain, surface)
    for space, moved in (("stack", surface), (brain.template, in_template)):
        path = Path(f"{prefix}space-{space}_midthickness.surf.gii")
        surfaces.write(moved, path, hemisphere)
    maps = {"thickness": brain.thickness(hemisphere), "curvature": brain.curvature(hemisphere)}
    if uncovered.any():
        maps["uncovered"] = uncovered.astype(np.float64)
    _write_maps(maps, hemisphere, prefix)


def _write_points(
    brain: BrainResults, nearest: NearestPoints, areas: Areas, hemisphere: str, prefix: str
) -> None:
    table = brain.points
    maps = {
        "depth": nearest.values(table["depth"].to_numpy(np.float64)),
        "distance": nearest.distance_mm,
        "areaprobability": nearest.values(table["area_probability"].to_numpy(np.float64)),
    }
    _write_maps(maps, hemisphere, prefix)
    keys = nearest.keys(areas.keys_of(table["area"]))
    path = Path(f"{prefix}areas.label.gii")
    surfaces.write_labels(keys, areas.names, areas.colours, path, hemisphere, "areas")


def _write_map(
    brain: BrainResults, nearest: NearestPoints, areas: Areas, hemisphere: str, prefix: str
) -> None:
    """Write the predicted areas, if there is a map."""
    table = brain.area_map
    if table is None:
        return
    foreign = (table["status"] == UNLIKE).to_numpy(bool)
    names, colours = areas.with_unlike()
    for column, title in (("mapped", "map"), ("predicted", "mapprediction")):
        keys = areas.keys_of(table[column])
        keys[foreign] = len(names)
        path = Path(f"{prefix}{title}.label.gii")
        surfaces.write_labels(nearest.keys(keys), names, colours, path, hemisphere, title)
    numbers = ("probability", "margin", "novelty")
    maps = {f"map{name}": nearest.values(table[name].to_numpy(np.float64)) for name in numbers}
    _write_maps(maps, hemisphere, prefix)


def _write_maps(maps: Mapping[str, Floats], hemisphere: str, prefix: str) -> None:
    for name, values in maps.items():
        surfaces.write_map(values, Path(f"{prefix}{name}.shape.gii"), hemisphere, name)


def _write_features(
    brain: BrainResults, nearest: NearestPoints, features: FeatureMaps, hemisphere: str, prefix: str
) -> None:
    components = nearest.values(features.components[brain.name])
    for number, share in enumerate(features.shares, start=1):
        path = Path(f"{prefix}component{number}.shape.gii")
        title = f"component {number} ({share:.0%} of variance)"
        surfaces.write_map(components[:, number - 1], path, hemisphere, title)
    count = max(int(clusters.max(initial=0)) for clusters in features.clusters.values())
    keys = nearest.keys(features.clusters[brain.name])
    names = [f"cluster {number}" for number in range(1, count + 1)]
    path = Path(f"{prefix}clusters.label.gii")
    surfaces.write_labels(keys, names, distinct_colours(count), path, hemisphere, "clusters")


def _write_parcellation(
    brain: BrainResults, nearest: NearestPoints, run: str, hemisphere: str, prefix: str
) -> None:
    clusters = brain.parcellation(run)
    if clusters is None:
        return
    count = int(clusters.max())
    names = [f"cluster {number}" for number in range(1, count + 1)]
    keys = nearest.keys(clusters.astype(np.int32))
    path = Path(f"{prefix}parcellation.label.gii")
    surfaces.write_labels(keys, names, distinct_colours(count), path, hemisphere, "parcellation")


def _write_predictions(
    brain: BrainResults,
    nearest: NearestPoints,
    areas: Areas,
    run: str,
    hemisphere: str,
    prefix: str,
) -> None:
    predictions = brain.predictions(run)
    if predictions is None or predictions.empty:
        return
    table = brain.points[["point_id"]].merge(predictions, on="point_id", how="left")
    keys = nearest.keys(areas.keys_of(table["predicted"].fillna("")))
    path = Path(f"{prefix}predicted.label.gii")
    surfaces.write_labels(keys, areas.names, areas.colours, path, hemisphere, "predicted areas")
    for column, name in (("probability", "predictedprobability"), ("hops", "hops")):
        values = nearest.values(table[column].to_numpy(np.float64, na_value=np.nan))
        surfaces.write_map(values, Path(f"{prefix}{name}.shape.gii"), hemisphere, column)
