"""Task `structure`: whether features predict the cortex' structure (CytoNet 3.7, Figure 4).

Returns the R2 of linear regressions from features, and from intensity profiles of the same points,
to position, shape and layers. Folds are drawn from all points, as in the paper: neighbouring points
share much of their patches and fall into different folds. An R2 therefore measures interpolation
within a brain; the task `coordinates` measures the transfer to another brain.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from cytopipe import provenance
from cytopipe.evaluation import cells, charts
from cytopipe.evaluation.regression import FEATURES, PROFILES, RAW, Source, name_of, r2_scores
from cytopipe.evaluation.samples import Samples, read_samples, write_scores
from cytopipe.evaluation.structure_figures import panels
from cytopipe.files import InputError, Output
from cytopipe.formats import surfaces, tables
from cytopipe.logs import info
from cytopipe.numerics.geometry import Floats
from cytopipe.study.config import StructureTask

OF_POINTS = ("x_mm", "y_mm", "z_mm", "curvature_per_mm", "thickness_mm", "cutting_angle_deg")
LAYER_THICKNESS = tuple(f"layer_{layer}_thickness_mm" for layer in range(1, cells.LAYERS + 1))
LAYER_DENSITY = tuple(f"layer_{layer}_cells_per_mm2" for layer in range(1, cells.LAYERS + 1))


def nearest_values(
    points_mm: Floats, vertices_mm: Floats, values: Floats, reach_mm: float
) -> Floats:
    """Values (n, k) of points (n, 3): those of the nearest vertex (v, 3), NaN beyond reach."""
    limit_mm = np.nextafter(reach_mm, np.inf)
    _, nearest = cKDTree(vertices_mm).query(points_mm, distance_upper_bound=limit_mm)
    # beyond reach, the index is the number of vertices
    return np.concatenate([values, np.full((1, values.shape[1]), np.nan)])[nearest]


def layer_thickness_mm(
    points: pd.DataFrame,
    surface: Mapping[str, Path],
    thickness: Mapping[str, Sequence[Path]],
    reach_mm: float,
) -> dict[str, Floats]:
    """Thickness of the six layers at each point (PointRow), from the nearest vertex.

    Parameters
    ----------
    surface, thickness : hemisphere to a surface in template RAS mm, and to its six maps in mm.

    Raises
    ------
    InputError
        If a hemisphere does not have six maps, or a map does not have one value per vertex.
    """
    thickness_mm = np.full((len(points), cells.LAYERS), np.nan)
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
                    "use a map of this surface"
                )
        here = (points.hemisphere == hemisphere).to_numpy()
        at_mm = points.loc[here, ["x_mm", "y_mm", "z_mm"]].to_numpy()
        thickness_mm[here] = nearest_values(at_mm, vertices, np.stack(values, axis=1), reach_mm)
    return dict(zip(LAYER_THICKNESS, thickness_mm.T, strict=True))


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
    points, features, rows : of the brain: PointRow, .npy array, FeatureRow.
    profiles, profile_rows : array and rows of its intensity profiles, which are z-scored depth by
        depth; None to leave them out.
    surface, layer_thickness : hemisphere to a surface in template RAS mm, and to six maps of
        thickness in mm; may be empty.
    layer_patches, weights : patches of layers (LayerPatchRow) of any brain, and the network that
        embeds those with cells; None to leave them out.
    scores : the table to write (ScoreRow): `split` is features or profiles, the metric e.g. `r2
        thickness_mm, 16 components` or `r2 thickness_mm, raw`.
    html, run, threads : as in `run_areas`.

    Raises
    ------
    InputError
        If no more points than folds have features, or an optional input does not fit.
    """
    samples = {FEATURES: _read(points, features, rows, params)}
    if profiles and profile_rows:
        samples[PROFILES] = _read(points, profiles, profile_rows, params)
        # a profile may be missing where features exist
        shared = set.intersection(*(set(each.points.point_id) for each in samples.values()))
        samples = {
            split: each.where(each.points.point_id.isin(shared).to_numpy())
            for split, each in samples.items()
        }
    table = samples[FEATURES].points
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
    sources = [Source(split, each.values, targets) for split, each in samples.items()]
    if layer_patches and weights:
        sources += _of_patches(layer_patches, weights, params)
    frame = _scored(sources, params)
    metrics = "r2 " + frame.target + ", " + frame.input
    listed = zip(frame.split, frame.fold, metrics, frame.r2, strict=True)
    write_scores(scores, run, {"structure": list(listed)})
    for split, raw in frame[frame.input == RAW].groupby("split"):
        of_targets = raw.groupby("target", sort=False).r2.mean().items()
        info(f"{run}: R2 of {split}: " + ", ".join(f"{t} {v:.2f}" for t, v in of_targets))
    heading = f"{run}: structure of {params.named_brain} read off features"
    charts.write(heading, panels(frame, sources, params.attributed, params.folds), html)


def _read(points: Path, features: Path, rows: Path, params: StructureTask) -> Samples:
    of_brain = ({params.named_brain: path} for path in (points, features, rows))
    return read_samples(*of_brain, most=params.points, seed=params.seed)


def _of_patches(layer_patches: Path, weights: Path, params: StructureTask) -> list[Source]:
    """Features, and densities of layers, of the patches with cells; empty if too few have cells."""
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
    """One row per R2: split, fold, target, input, r2. The log names what could not be scored."""
    scores = [score for source in sources for score in r2_scores(source, params)]
    for source in sources:
        sizes = {RAW: source.values.shape[1]}
        sizes |= {name_of(count): count for count in params.components}
        scored = {(target, name) for split, _, target, name, _ in scores if split == source.split}
        for name, size in sizes.items():
            absent = [target for target in source.targets if (target, name) not in scored]
            if absent:
                why = (
                    f"there are only {sizes[RAW]} dimensions"
                    if size > sizes[RAW]
                    else "underdetermined, too few training samples"
                )
                info(f"no R2 of {absent[0]} and {len(absent) - 1} more from {name}: {why}")
    return pd.DataFrame(scores, columns=["split", "fold", "target", "input", "r2"])
