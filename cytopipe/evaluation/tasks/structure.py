"""Task `structure`: what a linear regression reads off features (CytoNet section 3.7, Figure 4).

Position, shape and layers of the cortex from a network's features, beside intensity profiles of the
same points. Folds are drawn from all points, as in the paper: neighbours on the cortex share much
of their patches and fall into different folds, so that an R2 says how well features describe a
brain whose values are known around; what they carry over to another brain is the task
`coordinates`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cytopipe import provenance
from cytopipe.evaluation import cells, charts
from cytopipe.evaluation.regression import (
    FEATURES,
    PROFILES,
    RAW,
    Design,
    Source,
    name_of,
    r2_scores,
)
from cytopipe.evaluation.samples import Samples, read_samples, write_scores
from cytopipe.evaluation.structure_figures import panels
from cytopipe.files import InputError, Output
from cytopipe.formats import surfaces, tables
from cytopipe.logs import info
from cytopipe.study.config import StructureTask

OF_POINTS = ("x_mm", "y_mm", "z_mm", "curvature_per_mm", "thickness_mm", "cutting_angle_deg")
LAYER_THICKNESS = tuple(f"layer_{layer}_thickness_mm" for layer in range(1, cells.LAYERS + 1))
LAYER_DENSITY = tuple(f"layer_{layer}_cells_per_mm2" for layer in range(1, cells.LAYERS + 1))

Floats = NDArray[np.float64]


def nearest_values(
    points_mm: Floats, vertices_mm: Floats, values: Floats, reach_mm: float
) -> Floats:
    """(n, k) values (v, k) of the nearest vertex (v, 3) of each point (n, 3); NaN beyond reach."""
    tree = cKDTree(vertices_mm)
    apart, nearest = tree.query(points_mm, distance_upper_bound=np.nextafter(reach_mm, np.inf))
    found = np.full((len(points_mm), values.shape[1]), np.nan)
    reached = np.isfinite(apart)
    found[reached] = values[nearest[reached]]
    return found


def layer_thickness_mm(
    points: pd.DataFrame,
    surface: Mapping[str, Path],
    thickness: Mapping[str, Sequence[Path]],
    reach_mm: float,
) -> dict[str, Floats]:
    """Thickness of the six layers at each point (PointRow), by the nearest vertex in the template.

    Parameters
    ----------
    surface, thickness : hemisphere to a surface in template RAS mm, and to its six maps in mm.

    Raises
    ------
    InputError
        If a hemisphere has not six maps, or a map not one value a vertex.
    """
    found = np.full((len(points), cells.LAYERS), np.nan)
    for hemisphere, path in surface.items():
        vertices = surfaces.read(path).vertices
        maps = thickness[hemisphere]
        if len(maps) != cells.LAYERS:
            raise InputError(f"{path}: {len(maps)} maps of thickness, {cells.LAYERS} layers need 6")
        values = [surfaces.read_map(of_layer) for of_layer in maps]
        for of_layer, value in zip(maps, values, strict=True):
            if len(value) != len(vertices):
                raise InputError(
                    f"{of_layer}: {len(value)} values for the {len(vertices)} vertices of {path}; "
                    "give a map of this surface"
                )
        here = (points.hemisphere == hemisphere).to_numpy()
        at_mm = points.loc[here, ["x_mm", "y_mm", "z_mm"]].to_numpy()
        found[here] = nearest_values(at_mm, vertices, np.stack(values, axis=1), reach_mm)
    return dict(zip(LAYER_THICKNESS, found.T, strict=True))


@provenance.recorded
def run_structure(
    *,
    points: Path,
    features: Path,
    rows: Path,
    profiles: Path | None,
    profile_rows: Path | None,
    surface: Mapping[str, Path],
    layer_thickness: Mapping[str, Sequence[Path]],
    layer_patches: Path | None,
    weights: Path | None,
    scores: Output,
    html: Output,
    run: str,
    threads: int,
    params: StructureTask,
) -> None:
    """Score linear regressions from features and from intensity profiles to structure.

    Parameters
    ----------
    points, features, rows : of the brain: PointRow, array (.npy), FeatureRow.
    profiles, profile_rows : the same of its intensity profiles, regressed on the same points after
        z-scoring each depth; None to leave them out.
    surface, layer_thickness : hemisphere to a surface in template RAS mm, and to six maps of
        thickness in mm; empty without.
    layer_patches, weights : patches of layers (LayerPatchRow), of any brain, and the network that
        embeds those with cells; None without. Profiles have no such patches.
    scores : the table to write (ScoreRow): `split` is features or profiles, the metric e.g. `r2
        thickness_mm, 16 components` or `r2 thickness_mm, raw`.
    html : the page of figures to write.
    threads : that libraries may take (`cytopipe.threads`).

    Raises
    ------
    InputError
        If no more points than folds have features, or an optional input does not fit.
    """
    found = {FEATURES: _read(points, features, rows, params)}
    if profiles and profile_rows:
        found[PROFILES] = _read(points, profiles, profile_rows, params)
    found = _of_the_same_points(found)
    table = found[FEATURES].points
    if len(table) <= params.folds:
        raise InputError(
            f"{points}: {len(table)} usable points with features, too few for {params.folds} "
            "folds; look at the points in the report"
        )
    targets = {name: table[name].to_numpy(np.float64) for name in OF_POINTS}
    if surface:
        targets |= layer_thickness_mm(table, surface, layer_thickness, params.reach_mm)
        known = np.isfinite(targets[LAYER_THICKNESS[0]]).mean()
        info(f"{known:.0%} of the points lie within {params.reach_mm:g} mm of the layers' surface")
    sources = [Source(split, samples.values, targets) for split, samples in found.items()]
    if layer_patches and weights:
        sources += _of_patches(layer_patches, weights, params)
    frame = _scored(sources, params)
    metrics = "r2 " + frame.target + ", " + frame.input
    listed = zip(frame.split, frame.fold, metrics, frame.r2, strict=True)
    write_scores(scores, run, "structure", list(listed))
    for split, raw in frame[frame.input == RAW].groupby("split"):
        of_targets = raw.groupby("target", sort=False).r2.mean().items()
        info(f"{run}: R2 of {split}: " + ", ".join(f"{t} {v:.2f}" for t, v in of_targets))
    heading = f"{run}: structure of {params.named_brain} read off features"
    charts.write(heading, panels(frame, sources, params.attributed, params.folds), html)


def _read(points: Path, features: Path, rows: Path, params: StructureTask) -> Samples:
    of_brain = ({params.named_brain: path} for path in (points, features, rows))
    return read_samples(*of_brain, most=params.points, seed=params.seed)


def _of_the_same_points(found: Mapping[str, Samples]) -> dict[str, Samples]:
    """Those samples of each whose points all have: a profile may be missing where features are."""
    shared = set.intersection(*(set(samples.points.point_id) for samples in found.values()))
    return {
        split: samples.where(samples.points.point_id.isin(shared).to_numpy())
        for split, samples in found.items()
    }


def _of_patches(layer_patches: Path, weights: Path, params: StructureTask) -> list[Source]:
    """Features and layers' densities of the patches with cells; none if they are too few."""
    patches = tables.read(tables.LayerPatchRow, layer_patches)
    patches = patches[patches.cells != ""]
    if len(patches) <= params.folds:
        info(f"{layer_patches}: {len(patches)} patches with cells, too few for densities of layers")
        return []
    values = cells.embed_patches(patches, weights)
    densities = cells.read_densities(patches, params.bandwidth_um)
    info(f"{len(patches)} patches with cells")
    return [Source(FEATURES, values, dict(zip(LAYER_DENSITY, densities.T, strict=True)))]


def _scored(sources: Sequence[Source], params: StructureTask) -> pd.DataFrame:
    """split, fold, target, input, r2 of all sources; what could not be scored goes to the log."""
    design = Design(params.folds, params.seed, params.components, params.pca)
    scores = [
        (source.split, *score)
        for source in sources
        for score in r2_scores(
            source.values, source.targets, design, standardise=source.standardise
        )
    ]
    for source in sources:
        sizes = {RAW: source.values.shape[1]}
        sizes |= {name_of(count): count for count in params.components}
        got = {(target, view) for split, _, target, view, _ in scores if split == source.split}
        for view, size in sizes.items():
            absent = [target for target in source.targets if (target, view) not in got]
            if absent:
                why = (
                    f"there are {sizes[RAW]} dimensions"
                    if size > sizes[RAW]
                    else "not determined, for want of training samples"
                )
                info(f"no R2 of {absent[0]} and {len(absent) - 1} more from {view}: {why}")
    return pd.DataFrame(scores, columns=["split", "fold", "target", "input", "r2"])
