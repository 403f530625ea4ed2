"""A table of checks for each brain: whether the path from its sections to the template is sound.

Faults that make coordinates worthless stop the stage (`direction`). These checks are for a person,
on the brain's page and in `cytopipe status`. They need no ground truth.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytopipe.coordinates.chains import SuppliedTransforms
from cytopipe.coordinates.direction import Overlap, middle_mm, outside, tissue_points_mm
from cytopipe.coordinates.left_right import LEFT_RIGHT
from cytopipe.coordinates.orientation import MIRRORED, TURNED
from cytopipe.formats.tables.brain_rows import FAILED, OK, CheckRow
from cytopipe.formats.transforms import PointTransform
from cytopipe.formats.volumes import Volume
from cytopipe.numerics.components import Mask
from cytopipe.numerics.frames import Chain
from cytopipe.numerics.geometry import Floats, ImageRight, stack_to_ras
from cytopipe.study.config import Coordinates

DICE = "Dice of gray and white matter, mean"
# a brain that fails one of these has no coordinates
WITHOUT_A_COORDINATE = (DICE, LEFT_RIGHT, MIRRORED, TURNED)
# between the two points of a difference quotient, well inside a voxel of any field
_STEP_MM = 0.1
# sections with fewer points say nothing about their handedness; chosen, not measured
_FEW = 10


def checks_of(
    brain: str,
    transform: PointTransform,
    own_chains: Mapping[int, Chain],
    supplied: SuppliedTransforms,
    tissue: Volume,
    template: Volume,
    points: pd.DataFrame,
    image_right: ImageRight,
    params: Coordinates,
) -> list[CheckRow]:
    """The checks of a brain.

    Parameters
    ----------
    transform : stack to template.
    own_chains : section frame to template, of the sections with transforms of their own.
    points : PointRow.
    """
    template_mm = points[["x_mm", "y_mm", "z_mm"]].to_numpy(np.float64)
    known = np.isfinite(template_mm).all(axis=1)
    stack_mm = stack_to_ras(
        points[["x_stack_um", "y_stack_um", "z_stack_um"]].to_numpy(np.float64), image_right
    )
    miss_mm = round_trip_mm(points, stack_mm, template_mm, transform, own_chains)[known]
    middle, right_mm = middle_mm(template), template_mm[:, 0]
    sides = np.where(points["hemisphere"] == "L", right_mm < middle, right_mm > middle)
    worst, worst_share = worst_section(points["section"].to_numpy(), sides, known)
    determinants = jacobian(transform, tissue)
    beyond = outside(template_mm, template)
    marked = (points["status"] != "ok").to_numpy(bool)
    by_brain = known & ~points["section"].isin(list(own_chains)).to_numpy(bool)
    still = unmoved(transform, stack_mm[by_brain])
    folded = [n for n, section in supplied.anchored.items() if section.anchoring.folded.any()]
    files = f"look at the transform (manual/{brain}/, or the registration's log)"
    row = partial(check_row, brain)
    rows = [
        row(f"there and back within {params.return_mm:g} mm", _share(miss_mm <= params.return_mm),
            "share", (0.99, None),
             f"the transform cannot be inverted at the others: it folds or ends there; {files}"),
        row("there and back, 95 %", _quantile(miss_mm, 0.95), "mm"),
        row("on its own side of the midline", _share(sides[known]), "share", (0.95, None),
             "left and right are exchanged, or the midline of template.tissue is not at x = 0"),
        row("the same, worst section" + (f" ({worst})" if worst >= 0 else ""), worst_share, "share",
             (0.5, None), f"section {worst} is mirrored, or anchored as seen from the other side"),
        row("folded tissue (Jacobian not positive)", _share(determinants <= 0), "share",
             (None, 0.001), f"the transform turns tissue inside out there; {files}"),
        row("volume in the template by volume in the stack, 5 %", _quantile(determinants, 0.05)),
        row("the same, 95 %", _quantile(determinants, 0.95)),
        row("without a coordinate", _share(~known), "share", (None, 0.05),
             f"the transform does not cover points of status outside_template; {files}"),
        row("the same, but not marked", float((~known & ~marked).sum()), "points", (None, 0.0),
             "a bug in cytopipe: please report it"),
        row("outside the template's volume", _share(beyond[known]), "share", (None, 0.05),
             f"the transform puts points of status outside_template there; {files}"),
        row("at exactly 0, 0, 0", float((template_mm[known] == 0).all(axis=1).sum()), "points",
             (None, 0.0), f"one of the files uses zero for unknown; {files}"),
        row("not moved by a displacement field", _share(still), "share", (None, 0.01),
             f"a field is 0 there, as outside a mask: it was never filled in; {files}"),
        row("estimated error of a coordinate, median", _quantile(points["sigma_mm"], 0.5), "mm"),
    ]  # fmt: skip
    if own_chains:
        away = [n for n in own_chains if _share(beyond[(points["section"] == n) & known]) > 0.5]
        rows += [
            row("sections with a transform of their own", float(len(own_chains)), "sections"),
            row("sections that their markers fold", float(len(folded)), "sections", (None, 0.0),
                 f"markers cross in sections {folded}; move them in VisuAlign"),
            row("sections that their own transform puts outside the template", float(len(away)),
             "sections", (None, 0.0), f"correct the transforms of sections {away}"),
        ]  # fmt: skip
    return rows


def overlap_rows(
    brain: str,
    dice: Overlap,
    affine_dice: Overlap,
    brain_alone: float,
    template_alone: float,
    params: Coordinates,
) -> list[CheckRow]:
    """Checks of how well a brain's tissue and the template's coincide.

    Parameters
    ----------
    dice, affine_dice : with the transform, and with its affine part.
    brain_alone, template_alone : shares of tissue without a counterpart (`direction.alone`).
    """
    row = partial(check_row, brain)
    most = (None, params.max_alone)
    return [
        row(DICE, dice.mean, "", (params.min_dice, None),
             "the registration failed, or the tissue volume is wrong: look at the points on the "
             "template and at the reconstruction, or supply a transform (docs/transforms.md)"),
        row("Dice of gray matter", dice.gray),
        row("Dice of white matter", dice.white),
        row("mean Dice, minus that of the affine part", dice.mean - affine_dice.mean, "",
             (-0.02, None), "the warp makes it worse; look at the transform"),
        row("tissue of the brain alone", brain_alone, "share", most,
             "the brain has tissue that the template lacks: supply its exclusion mask, or a "
             "template with the same structures"),
        row("tissue of the template alone", template_alone, "share", most,
             "the brain lacks tissue that the template has (a lobe, a hemisphere, the cerebellum): "
             "points beside the gap have the status beside_gap; set template.exclusion, and "
             "hemispheres in config/brains.tsv"),
    ]  # fmt: skip


def round_trip_mm(
    points: pd.DataFrame,
    stack_mm: Floats,
    template_mm: Floats,
    transform: PointTransform,
    own_chains: Mapping[int, Chain],
) -> Floats:
    """Distance from each point's start to where it returns; infinite if it does not return."""
    back = transform.inverse()(template_mm)
    miss = np.linalg.norm(back - stack_mm, axis=1)
    for section, chain in own_chains.items():
        rows = (points["section"] == section).to_numpy(bool)
        start_um = points.loc[rows, ["x_um", "y_um"]].to_numpy(np.float64)
        miss[rows] = np.linalg.norm(chain.back(template_mm[rows]) - start_um, axis=1) / 1000
    return np.where(np.isfinite(miss), miss, np.inf)


def worst_section(sections: NDArray[Any], sides: Mask, known: Mask) -> tuple[int, float]:
    """The section with the smallest share of points on their own side, and that share.

    -1 and NaN if no section has enough points.
    """
    numbers, which, count = np.unique(sections[known], return_inverse=True, return_counts=True)
    shares = np.bincount(which, sides[known], len(numbers)) / np.maximum(count, 1)
    shares[count < _FEW] = np.nan
    if np.isnan(shares).all():
        return -1, np.nan
    worst = int(np.nanargmin(shares))
    return int(numbers[worst]), float(shares[worst])


def jacobian(transform: PointTransform, tissue: Volume) -> Floats:
    """Determinants of a transform's derivative at voxels of the tissue that it covers.

    A negative value means that the brain is turned inside out there; 2, that its volume doubles.
    """
    points = tissue_points_mm(tissue)
    half = _STEP_MM / 2
    columns = [
        (transform(points + half * axis) - transform(points - half * axis)) / _STEP_MM
        for axis in np.eye(3)
    ]
    derivative = np.stack(columns, axis=-1)
    return np.linalg.det(derivative[np.isfinite(derivative).all(axis=(1, 2))])


def unmoved(transform: PointTransform, points_mm: Floats) -> Mask:
    """Whether a displacement field of the transform leaves points exactly where they are."""
    still = np.zeros(len(points_mm), bool)
    for step in transform.steps:
        moved = PointTransform("before", "after", (step,))(points_mm)
        if step.is_field:
            still |= (moved == points_mm).all(axis=1)
        points_mm = moved
    return still


def check_row(
    brain: str,
    check: str,
    value: float,
    unit: str = "",
    limits: tuple[float | None, float | None] | None = None,
    remedy: str = "",
) -> CheckRow:
    """A check with its smallest or largest allowed value; without limits it is only reported."""
    if limits is None:
        return CheckRow(brain, check, value, unit, limit="", status="", remedy="")
    least, most = limits
    limit = f"at least {least:g}" if least is not None else f"at most {most:g}"
    fine = value >= least if least is not None else most is not None and value <= most
    # a check without a measurement has not passed
    status = "" if np.isnan(value) else OK if fine else FAILED
    return CheckRow(brain, check, value, unit, limit, status, remedy if status == FAILED else "")


def _share(values: Mask) -> float:
    return float(np.mean(values)) if len(values) else np.nan


def _quantile(values: Any, at: float) -> float:
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    return float(np.quantile(known, at, method="lower")) if len(known) else np.nan
