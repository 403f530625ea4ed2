"""Errors of the points: their depth in the true cortex, and their template coordinates."""

from collections.abc import Callable, Collection

import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage import measure

from cytopipe.numerics import meshes
from cytopipe.numerics.geometry import (
    Floats,
    Placement,
    Rigid,
    pixels_to_section,
    section_to_pixels,
    stack_to_ras,
)
from cytopipe.truth.ground_truth import TruthBrain
from cytopipe.truth.section_errors import Samples
from cytopipe.truth.true_surface import TrueMid

# a point is in the middle if its true depth differs from 0.5 by no more; chosen, not measured
DEPTH_TOLERANCE = 0.1


def depth_at(depth: Floats, points_px: Floats) -> Floats:
    """Depth at fractional (column, row) pixels, bilinear; NaN where the nearest pixel is NaN.

    Pixels outside the cortex (NaN) are ignored, and the weights of the others are scaled up.
    """
    rows_columns = points_px[:, ::-1].T
    known = np.isfinite(depth)
    weight = ndimage.map_coordinates(known.astype(np.float64), rows_columns, order=1)
    value = ndimage.map_coordinates(np.where(known, depth, 0), rows_columns, order=1)
    nearest = ndimage.map_coordinates(known.astype(np.uint8), rows_columns, order=0) > 0
    out = np.full(len(points_px), np.nan)
    np.divide(value, weight, out=out, where=nearest & (weight > 0))
    return out


def midline_um(truth: TruthBrain, section: int) -> Floats:
    """The true midline of a section, (n, 2) um: a point about every pixel where depth is 0.5."""
    lines = measure.find_contours(truth.page(section, "depth"), 0.5)
    pixels = np.concatenate([np.empty((0, 2)), *((line[:-1] + line[1:]) / 2 for line in lines)])
    return pixels_to_section(pixels[:, ::-1], truth.spacing_um, truth.full_spacing_um[section])


def depth_samples(truth: TruthBrain, midline: pd.DataFrame, mids: dict[str, TrueMid]) -> Samples:
    """Samples of the usable points that lie on cortex.

    Points whose nearest true surface is medial wall, which has no depth, are skipped.

    Returns
    -------
    depth (n, 2): whether a point lies within 0.1 of the middle, refined and as cut; one outside the
        true gray matter does not.
    wrong_hemisphere (n,): whether the nearest true surface is that of the other hemisphere.
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
    points_mm = stack_to_ras(stack_um, truth.image_right)
    best, cortex = np.full(len(usable), np.inf), np.zeros(len(usable), bool)
    hemisphere = np.full(len(usable), "")
    for name, mid in mids.items():
        distance, face = meshes.nearest_faces(points_mm, mid.vertices, mid.faces)
        nearer = distance < best
        best[nearer], cortex[nearer] = distance[nearer], mid.cortex[face[nearer]]
        hemisphere[nearer] = name
    is_wrong = hemisphere != usable["hemisphere"].to_numpy(str)
    return {"depth": in_middle[cortex], "wrong_hemisphere": is_wrong[cortex].astype(np.float64)}


def coverage_samples(
    truth: TruthBrain, midline: pd.DataFrame, reach_um: float, uncertain: Collection[int] = ()
) -> Samples:
    """Samples of the true midline of the good sections.

    Parameters
    ----------
    uncertain : placed sections whose place the program itself calls uncertain. None of their points
        is usable.

    Returns
    -------
    coverage (n,): whether a point of the other sections has a usable point in reach.
    uncertain_midline (m,): whether a point lies in an uncertain section.
    """
    usable = midline[midline["status"] == "ok"]
    reached, in_uncertain = [np.empty(0)], [np.empty(0)]
    for section in truth.good():
        true = midline_um(truth, section)
        in_uncertain.append(np.full(len(true), float(section in uncertain)))
        if section not in uncertain:
            points = usable.loc[usable["section"] == section, ["x_um", "y_um"]].to_numpy()
            distance, _ = cKDTree(points).query(true)
            reached.append((distance <= reach_um).astype(np.float64))
    return {
        "coverage": np.concatenate(reached),
        "uncertain_midline": np.concatenate(in_uncertain),
    }


def beyond_drift(errors: Floats, displacements: Floats, groups: Floats) -> Floats:
    """Errors of template coordinates without the part that the drift of their section explains.

    The alignment displaced the points of a section by known vectors d, and the registration
    compensates for none, some or all of that. The multiple a of d that fits the errors e of the
    section best, limited to 0 (compensated) <= a <= 1 (not compensated), is due to the drift and is
    subtracted: e - a d.

    Parameters
    ----------
    errors : (n, 3) mm, estimated minus true template coordinate.
    displacements : (n, 3) mm, drift of each point along the template's axes.
    groups : (n,) section of each point.
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
    fit : estimated to true stack (`section_errors.drift`).
    affine : stack RAS mm to template RAS mm, the affine part of the registration.

    Returns
    -------
    coordinate_total (n,): the whole error.
    coordinate (n, 2): the error beyond drift, of the final coordinate and of the affine one.
    """
    usable = points[(points["status"] == "ok") & points["section"].isin(truth.with_tissue)]
    usable = usable[usable["section"].isin(list(placed))]
    if not len(usable):
        return {"coordinate_total": np.empty(0), "coordinate": np.empty((0, 2))}
    true_mm, true_stack, drifted = np.empty((3, len(usable), 3))
    sections = usable["section"].to_numpy()
    at_um = usable[["x_um", "y_um"]].to_numpy()
    for section in np.unique(sections):
        rows = sections == section
        spacing_um, full_um = truth.coordinates_spacing_um, truth.full_spacing_um[section]
        rows_columns = section_to_pixels(at_um[rows], spacing_um, full_um)[:, ::-1].T
        for axis, page in enumerate(truth.coordinates(int(section))):
            true_mm[rows, axis] = ndimage.map_coordinates(
                page, rows_columns, order=1, mode="nearest"
            )
        true_stack[rows, :2] = truth.placements[section](at_um[rows])
        drifted[rows, :2] = fit(placed[section](at_um[rows]))
        true_stack[rows, 2] = drifted[rows, 2] = truth.z_um[section]
    stack_mm = stack_to_ras(true_stack, truth.image_right)
    displaced_mm = stack_to_ras(drifted, truth.image_right) - stack_mm
    # targets ~ points M + shift, by least squares: M turns the drift to the template's axes
    padded = np.hstack([stack_mm, np.ones((len(usable), 1))])
    turned_mm = displaced_mm @ np.linalg.lstsq(padded, true_mm, rcond=None)[0][:3]
    estimated = usable[["x_mm", "y_mm", "z_mm"]].to_numpy()
    stack_um = usable[["x_stack_um", "y_stack_um", "z_stack_um"]].to_numpy()
    beyond = [
        np.linalg.norm(beyond_drift(coordinates - true_mm, turned_mm, sections), axis=1)
        for coordinates in (estimated, affine(stack_to_ras(stack_um, truth.image_right)))
    ]
    return {
        "coordinate_total": np.linalg.norm(estimated - true_mm, axis=1),
        "coordinate": np.stack(beyond, axis=1),
    }
