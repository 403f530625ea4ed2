"""Errors of points, on a brain for which the midline and coordinates have a formula."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from shell_study import (
    CENTRES,
    HALF_MM,
    PIAL_MM,
    as_scanned,
    drifting,
    points_of,
    template_of,
)

from cytopipe.numerics.geometry import ras_to_stack, stack_to_ras
from cytopipe.truth.ground_truth import TruthBrain, placements
from cytopipe.truth.point_errors import (
    beyond_drift,
    coordinate_samples,
    coverage_samples,
    depth_at,
    depth_samples,
    midline_um,
)
from cytopipe.truth.section_errors import drift
from cytopipe.truth.true_surface import true_mids


def test_points_within_0_1_of_the_middle_count(truth: TruthBrain) -> None:
    points = points_of(truth)
    outside = points_of(truth, PIAL_MM + 0.4)
    samples = depth_samples(truth, points, true_mids(truth))
    assert samples["depth"].shape == (len(points), 2)
    assert samples["depth"].mean() > 0.99
    # the tolerance of 0.1 is 0.3 mm here: a point 0.5 mm too deep is outside it
    beside = points.assign(x_um=points_of(truth, HALF_MM).x_um)
    deeper = points_of(truth, HALF_MM - 0.6)
    assert depth_samples(truth, deeper, true_mids(truth))["depth"].mean() < 0.02
    assert depth_samples(truth, outside, true_mids(truth))["depth"].mean() == 0
    beside[["x_cut_um", "y_cut_um"]] += 900
    gained = depth_samples(truth, beside, true_mids(truth))["depth"].mean(axis=0)
    assert gained[0] > 0.99 > 0.6 > gained[1]


def test_points_of_the_other_hemisphere_are_counted(truth: TruthBrain) -> None:
    points = points_of(truth)
    assert not depth_samples(truth, points, true_mids(truth))["wrong_hemisphere"].any()
    points.loc[:9, "hemisphere"] = np.where(points.loc[:9, "hemisphere"] == "L", "R", "L")
    assert depth_samples(truth, points, true_mids(truth))["wrong_hemisphere"].sum() == 10


def test_unusable_points_do_not_count(truth: TruthBrain) -> None:
    points = points_of(truth).assign(status="low_tissue")
    assert len(depth_samples(truth, points, true_mids(truth))["depth"]) == 0
    assert not coverage_samples(truth, points, 1500)["coverage"].any()


def test_depth_between_pixels_and_at_the_edge_of_the_cortex() -> None:
    depth = np.array([[0.0, 0.2, 0.4, np.nan], [0.0, 0.2, 0.4, np.nan]])
    depths = depth_at(depth, np.array([[0.5, 0.5], [2.3, 0.0], [2.7, 0.0]]))
    assert depths[:2] == pytest.approx([0.1, 0.4])
    assert np.isnan(depths[2])


def test_the_true_midline_is_a_circle(truth: TruthBrain) -> None:
    (section,) = (row for row in truth.sections if row.section == 1520)
    line = midline_um(truth, 1520)
    stack_mm = as_scanned(section, line)
    radius = np.min([np.linalg.norm(stack_mm - c, axis=1) for c in CENTRES.values()], axis=0)
    assert radius == pytest.approx(HALF_MM, abs=0.03)


def test_coverage_is_the_share_of_the_midline_in_reach(truth: TruthBrain) -> None:
    points = points_of(truth)
    assert coverage_samples(truth, points, 1500)["coverage"].all()
    left = points[points["hemisphere"] == "L"]
    assert coverage_samples(truth, left, 1500)["coverage"].mean() == pytest.approx(0.5, abs=0.02)


def test_the_midline_of_uncertain_sections_is_counted_apart(truth: TruthBrain) -> None:
    points, doubted = points_of(truth), 1520
    points.loc[points["section"] == doubted, "status"] = "uncertain_place"
    samples = coverage_samples(truth, points, 1500, {doubted})
    assert samples["coverage"].all()
    share = (len(midline_um(truth, doubted))) / len(samples["uncertain_midline"])
    assert samples["uncertain_midline"].mean() == pytest.approx(share)
    assert not coverage_samples(truth, points, 1500)["coverage"].all()


@dataclass
class Registered:
    """Points of a drifted stack, and its placements."""

    points: pd.DataFrame
    placed: dict


def registered(truth: TruthBrain, compensated: float) -> Registered:
    """The registration compensates for a share of the drift."""
    placed = placements(drifting(truth))
    points = points_of(truth)
    fit = drift(truth, placed).fit
    for section, rows in points.groupby("section"):
        at = rows[["x_um", "y_um"]].to_numpy()
        moved = placed[section](at)
        points.loc[rows.index, ["x_stack_um", "y_stack_um"]] = moved
        where = truth.placements[section](at) * compensated + fit(moved) * (1 - compensated)
        z = np.full((len(rows), 1), truth.z_um[section])
        coordinate = template_of(stack_to_ras(np.hstack([where, z]), "R"))
        points.loc[rows.index, ["x_mm", "y_mm", "z_mm"]] = coordinate
    return Registered(points, placed)


@pytest.mark.parametrize("compensated", [0.0, 0.5, 1.0])
def test_an_error_due_to_drift_does_not_count(truth: TruthBrain, compensated: float) -> None:
    case = registered(truth, compensated)
    fit = drift(truth, case.placed).fit

    def affine(stack_mm: np.ndarray) -> np.ndarray:
        um = ras_to_stack(stack_mm, "R")
        um[:, :2] = fit(um[:, :2])
        return template_of(stack_to_ras(um, "R"))

    samples = coordinate_samples(truth, case.points, case.placed, fit, affine)
    assert samples["coordinate"].max() < 0.05
    # with drift, the error is what was not compensated
    total = np.median(samples["coordinate_total"])
    drift_mm = np.median(drift(truth, case.placed).distance_mm)
    assert total == pytest.approx((1 - compensated) * drift_mm, abs=0.35)
    # an error of the registration that drift does not explain counts in full
    case.points["y_mm"] += 2
    shifted = coordinate_samples(truth, case.points, case.placed, fit, affine)
    assert shifted["coordinate"][:, 0] == pytest.approx(2, abs=0.2)
    assert shifted["coordinate"][:, 1].max() < 0.05


def test_beyond_drift_subtracts_no_more_than_the_drift() -> None:
    rng = np.random.default_rng(0)
    displaced = np.tile([1.0, 0.0, 0.0], (50, 1))
    groups = np.zeros(50)
    assert beyond_drift(3 * displaced, displaced, groups) == pytest.approx(2 * displaced)
    assert beyond_drift(-displaced, displaced, groups) == pytest.approx(-displaced)
    errors = rng.normal(size=(50, 3))
    left = beyond_drift(errors, displaced, groups)
    assert (left**2).sum() <= (errors**2).sum()
    assert left[:, 1:] == pytest.approx(errors[:, 1:])
