"""How near the points are to the middle of the true cortex and to their true coordinates."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage import measure

from cytopipe.numerics import meshes
from cytopipe.numerics.geometry import (
    Floats,
    ImageRight,
    Placement,
    Rigid,
    pixels_to_section,
    section_to_pixels,
    stack_to_ras,
)
from cytopipe.truth.folder import TruthBrain
from cytopipe.truth.section_errors import Samples
from cytopipe.truth.surface_errors import TrueMid

# a point is in the middle if its true depth is 0.5 within this
DEPTH_TOLERANCE = 0.1


def depth_at(depth: Floats, points_px: Floats) -> Floats:
    """Depth at fractional (column, row) pixels, bilinear; NaN where the nearest pixel is NaN.

    Pixels outside the cortex (NaN) take no part: the others' weights are scaled up.
    """
    rows_columns = points_px[:, ::-1].T
    known = np.isfinite(depth)
    weight = ndimage.map_coordinates(known.astype(np.float64), rows_columns, order=1)
    value = ndimage.map_coordinates(np.where(known, depth, 0), rows_columns, order=1)
    nearest = ndimage.map_coordinates(known.astype(np.uint8), rows_columns, order=0) > 0
    out = np.full(len(points_px), np.nan)
    np.divide(value, weight, out=out, where=nearest & (weight > 0))
    return out


def midline_um(depth: Floats, spacing_um: float, full_spacing_um: float) -> Floats:
    """The true midline of a section: where its depth is 0.5, a point about every pixel, um."""
    lines = [line for line in measure.find_contours(depth, 0.5) if len(line) > 1]
    if not lines:
        return np.empty((0, 2))
    pixels = np.concatenate([(line[:-1] + line[1:]) / 2 for line in lines])[:, ::-1]
    return pixels_to_section(pixels, spacing_um, full_spacing_um)


def depth_samples(truth: TruthBrain, midline: pd.DataFrame, mids: dict[str, TrueMid]) -> Samples:
    """Whether each usable point lies within 0.1 of the middle, refined and as cut.

    Points whose nearest true surface is medial wall are left out: there is no depth there.
    A point outside the true gray matter is not in the middle.
    """
    usable = midline[(midline["status"] == "ok") & midline["section"].isin(truth.with_tissue)]
    sections = usable["section"].to_numpy()
    places = [usable[list(xy)].to_numpy() for xy in (("x_um", "y_um"), ("x_cut_um", "y_cut_um"))]
    in_middle = np.zeros((len(usable), 2))
    stack_um = np.empty((len(usable), 3))
    for section in np.unique(sections):
        rows = sections == section
        full_um, depth = truth.full_spacing_um[section], truth.page(int(section), "depth")
        for column, points_um in enumerate(places):
            pixels = section_to_pixels(points_um[rows], truth.spacing_um, full_um)
            off = np.abs(depth_at(depth, pixels) - 0.5)
            in_middle[rows, column] = off <= DEPTH_TOLERANCE
        stack_um[rows, :2] = truth.placements[section](places[0][rows])
        stack_um[rows, 2] = truth.z_um[section]
    return {"depth": in_middle[in_cortex(stack_to_ras(stack_um, truth.image_right), mids)]}


def in_cortex(points_mm: Floats, mids: dict[str, TrueMid]) -> NDArray[np.bool_]:
    """False for points whose nearest face of either hemisphere's true surface is medial wall."""
    best = np.full(len(points_mm), np.inf)
    cortex = np.zeros(len(points_mm), bool)
    for mid in mids.values():
        distance, face = meshes.nearest_faces(points_mm, mid.vertices, mid.faces)
        nearer = distance < best
        best[nearer], cortex[nearer] = distance[nearer], mid.cortex[face[nearer]]
    return cortex


def coverage_samples(truth: TruthBrain, midline: pd.DataFrame, reach_um: float) -> Samples:
    """Whether each piece of the true midline of the good sections has a usable point in reach."""
    usable = midline[midline["status"] == "ok"]
    reached = [np.empty(0)]
    for section in truth.good():
        full_um = truth.full_spacing_um[section]
        true = midline_um(truth.page(section, "depth"), truth.spacing_um, full_um)
        points = usable.loc[usable["section"] == section, ["x_um", "y_um"]].to_numpy()
        if not len(points) or not len(true):
            reached.append(np.zeros(len(true)))
            continue
        distance, _ = cKDTree(points).query(true)
        reached.append((distance <= reach_um).astype(np.float64))
    return {"coverage": np.concatenate(reached)}


def coordinate_at(pages: Floats, points_px: Floats) -> Floats:
    """(n, 3) template mm at fractional (column, row) pixels of the coordinate pages, bilinear."""
    rows_columns = points_px[:, ::-1].T
    return np.stack(
        [ndimage.map_coordinates(page, rows_columns, order=1, mode="nearest") for page in pages],
        axis=1,
    )


def beyond_drift(errors: Floats, displacements: Floats, groups: Floats) -> Floats:
    """Errors of template coordinates without the part that the drift of their section explains.

    The alignment moved the points of a section by known vectors d; a registration makes up for
    none, some or all of that. Of the errors e of a section, the multiple a of d that fits them
    best, limited to 0 (all made up for) <= a <= 1 (nothing made up for), is the drift's and is
    taken away: e - a d. An error that does not look like the section's drift stays.

    Parameters
    ----------
    errors : (n, 3) mm, estimated minus true template coordinate.
    displacements : (n, 3) mm, drift of each point, turned to the template's axes.
    groups : (n,) section of each point.

    Returns
    -------
    (n, 3) mm.
    """
    left = errors.copy()
    for group in np.unique(groups):
        rows = groups == group
        size = float((displacements[rows] ** 2).sum())
        if size > 0:
            along = float((errors[rows] * displacements[rows]).sum()) / size
            left[rows] -= np.clip(along, 0, 1) * displacements[rows]
    return left


def coordinate_samples(
    truth: TruthBrain,
    points: pd.DataFrame,
    placed: dict[int, Placement],
    fit: Rigid,
    affine: Callable[[Floats], Floats],
) -> Samples:
    """Distances in mm of estimated to true template coordinates of usable points.

    Parameters
    ----------
    fit : estimated to true stack, see `truth_sections.drift`.
    affine : stack RAS mm to template RAS mm, the registration's first, linear step.

    Returns
    -------
    coordinate_total (n,): the error as a user of the coordinate meets it.
    coordinate (n, 2): beyond drift, of the final coordinate and of the affine's.
    """
    usable = points[(points["status"] == "ok") & points["section"].isin(truth.with_tissue)]
    usable = usable[usable["section"].isin(list(placed))]
    if not len(usable):
        return {"coordinate_total": np.empty(0), "coordinate": np.empty((0, 2))}
    true_mm = np.empty((len(usable), 3))
    true_stack, drifted = np.empty((len(usable), 3)), np.empty((len(usable), 3))
    sections = usable["section"].to_numpy()
    at_um = usable[["x_um", "y_um"]].to_numpy()
    for section in np.unique(sections):
        rows = sections == section
        spacing_um, full_um = truth.coordinates_spacing_um, truth.full_spacing_um[section]
        pixels = section_to_pixels(at_um[rows], spacing_um, full_um)
        true_mm[rows] = coordinate_at(truth.coordinates(int(section)), pixels)
        true_stack[rows, :2] = truth.placements[section](at_um[rows])
        drifted[rows, :2] = fit(placed[section](at_um[rows]))
        true_stack[rows, 2] = drifted[rows, 2] = truth.z_um[section]
    stack_mm = stack_to_ras(true_stack, truth.image_right)
    displaced_mm = stack_to_ras(drifted, truth.image_right) - stack_mm
    turned_mm = displaced_mm @ _linear_part(stack_mm, true_mm)
    estimated = usable[["x_mm", "y_mm", "z_mm"]].to_numpy()
    linear = affine(_stack_mm(usable, truth.image_right))
    beyond = [
        np.linalg.norm(beyond_drift(found - true_mm, turned_mm, sections), axis=1)
        for found in (estimated, linear)
    ]
    return {
        "coordinate_total": np.linalg.norm(estimated - true_mm, axis=1),
        "coordinate": np.stack(beyond, axis=1),
    }


def _stack_mm(points: pd.DataFrame, image_right: ImageRight) -> Floats:
    return stack_to_ras(points[["x_stack_um", "y_stack_um", "z_stack_um"]].to_numpy(), image_right)


def _linear_part(points: Floats, targets: Floats) -> Floats:
    """(3, 3) M of the least-squares targets ~ points M + shift."""
    solution, *_ = np.linalg.lstsq(
        np.hstack([points, np.ones((len(points), 1))]), targets, rcond=None
    )
    return np.asarray(solution[:3])
