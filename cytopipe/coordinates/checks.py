"""Is the way from a brain's sections to the template sound: a table of checks for each brain.

What makes coordinates worthless stops the stage (`direction`); what a person should look at stands
here, on the brain's page and in `cytopipe status`. Nothing in it is taken from a truth.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytopipe.coordinates.chains import Given
from cytopipe.coordinates.direction import Overlap
from cytopipe.formats.tables.brains import FAILED, OK, CheckRow
from cytopipe.formats.transforms import PointTransform
from cytopipe.formats.volumes import Volume
from cytopipe.numerics.chain import Chain
from cytopipe.numerics.geometry import Floats, ImageRight, stack_to_ras

# a point has come back if it lies this near; the inverse of a field is found to 0.005 mm
BACK_MM = 0.05
# between the two points of a difference quotient, well inside a voxel of any field
_STEP_MM = 0.1
_VOXELS = 20_000
# sections of fewer points say nothing of their hand
_FEW = 10


def checks_of(
    brain: str,
    transform: PointTransform,
    ways: Mapping[int, Chain],
    given: Given,
    tissue: Volume,
    template: Volume,
    points: pd.DataFrame,
    image_right: ImageRight,
    dice: Overlap,
) -> list[CheckRow]:
    """The checks of a brain.

    Parameters
    ----------
    transform : stack to template.
    ways : from the section frame, of the sections that have their own.
    points : PointRow.
    dice : of the brain's tissue with the template's, by `transform`.
    """
    found = points[["x_mm", "y_mm", "z_mm"]].to_numpy(np.float64)
    known = np.isfinite(found).all(axis=1)
    stack_mm = stack_to_ras(
        points[["x_stack_um", "y_stack_um", "z_stack_um"]].to_numpy(np.float64), image_right
    )
    own = points["section"].isin(list(ways)).to_numpy(bool)
    miss_mm = round_trip_mm(points, stack_mm, found, transform, ways)[known]
    back = miss_mm <= BACK_MM
    sides = right_side(found, points["hemisphere"].to_numpy(str), middle_mm(template))
    worst, of_worst = worst_section(points["section"].to_numpy(), sides, known)
    determinants = jacobian(transform, tissue)
    marked = (points["status"] != "ok").to_numpy(bool)
    still = unmoved(transform, stack_mm[known & ~own])
    folded = [n for n, it in given.anchored.items() if it.anchoring.folded.any()]
    files = f"look at the transform (manual/{brain}/, or the registration's log)"
    row = partial(_row, brain)
    rows = [
        row("there and back within 0.05 mm", _share(back), "share", (0.99, None),
             f"the transform cannot be inverted at the others: it folds, or ends there; {files}"),
        row("there and back, 95 %", _quantile(miss_mm, 0.95), "mm"),
        row("on its own side of the midline", _share(sides[known]), "share", (0.95, None),
             "left and right are exchanged, or the midline of template.tissue is not at x = 0"),
        row("the same, worst section" + (f" ({worst})" if worst >= 0 else ""), of_worst, "share",
             (0.5, None), f"section {worst} is mirrored, or anchored as seen from the other side"),
        row("folded tissue (Jacobian not positive)", _share(determinants <= 0), "share",
             (None, 0.001), f"the transform turns tissue inside out there; {files}"),
        row("volume in the template by volume in the stack, 5 %", _quantile(determinants, 0.05)),
        row("the same, 95 %", _quantile(determinants, 0.95)),
        row("without a coordinate", _share(~known), "share", (None, 0.05),
             f"points (status outside_template) lie where the transform is not known; {files}"),
        row("the same, but not marked", float((~known & ~marked).sum()), "points", (None, 0.0),
             "a fault of this program: please report it"),
        row("at exactly 0, 0, 0", float((found[known] == 0).all(axis=1).sum()), "points",
             (None, 0.0), f"zero stands for not known in one of the files; {files}"),
        row("not moved by a displacement field", _share(still), "share", (None, 0.01),
             f"a field is 0 there, as outside its mask: it was never filled in; {files}"),
        row("Dice of gray matter", dice.gray),
        row("Dice of white matter", dice.white),
        row("estimated error of a coordinate, median", _quantile(points["sigma_mm"], 0.5), "mm"),
    ]  # fmt: skip
    if ways:
        rows.append(row("sections with a transform of their own", float(len(ways)), "sections"))
        rows.append(
            row(
                "sections that their markers fold", float(len(folded)), "sections", (None, 0.0),
                f"markers cross in sections {folded}; move them in VisuAlign",
            )
        )  # fmt: skip
    return rows


def round_trip_mm(
    points: pd.DataFrame,
    stack_mm: Floats,
    template_mm: Floats,
    transform: PointTransform,
    ways: Mapping[int, Chain],
) -> Floats:
    """How far from its start each point comes back; infinite where it does not, or has no end."""
    back = transform.inverse()(template_mm)
    miss = np.linalg.norm(back - stack_mm, axis=1)
    for section, way in ways.items():
        rows = (points["section"] == section).to_numpy(bool)
        start_um = points.loc[rows, ["x_um", "y_um"]].to_numpy(np.float64)
        miss[rows] = np.linalg.norm(way.back(template_mm[rows]) - start_um, axis=1) / 1000
    return np.where(np.isfinite(miss), miss, np.inf)


def middle_mm(template: Volume) -> float:
    """R of the plane between the hemispheres: 0, or, where most tissue is on one side, its median.

    Templates of humans have it at 0; the atlas of a mouse may count from its corner.
    """
    index = np.argwhere(template.data > 0)
    right_mm = template.to_mm(index[:: max(1, len(index) // 100_000)])[:, 0]
    return 0.0 if 0.4 < float((right_mm > 0).mean()) < 0.6 else float(np.median(right_mm))


def right_side(
    points_mm: Floats, hemispheres: NDArray[np.str_], middle: float
) -> NDArray[np.bool_]:
    """Whether points of L lie left of the middle and those of R right of it."""
    return np.asarray(
        np.where(hemispheres == "L", points_mm[:, 0] < middle, points_mm[:, 0] > middle)
    )


def worst_section(
    sections: NDArray[Any], sides: NDArray[np.bool_], known: NDArray[np.bool_]
) -> tuple[int, float]:
    """The section with the least share on its own side, and the share; -1 and NaN for none."""
    numbers, which, count = np.unique(sections[known], return_inverse=True, return_counts=True)
    shares = np.bincount(which, sides[known], len(numbers)) / np.maximum(count, 1)
    shares[count < _FEW] = np.nan
    if np.isnan(shares).all():
        return -1, np.nan
    worst = int(np.nanargmin(shares))
    return int(numbers[worst]), float(shares[worst])


def jacobian(transform: PointTransform, tissue: Volume) -> Floats:
    """Determinants of a transform's derivative at voxels of the tissue that it covers.

    Negative: a part of the brain is turned inside out. 2: it takes twice the room in the template.
    """
    index = np.argwhere(tissue.data > 0)
    points = tissue.to_mm(index[:: max(1, len(index) // _VOXELS)])
    half = _STEP_MM / 2
    columns = [
        (transform(points + half * axis) - transform(points - half * axis)) / _STEP_MM
        for axis in np.eye(3)
    ]
    derivative = np.stack(columns, axis=-1)
    return np.linalg.det(derivative[np.isfinite(derivative).all(axis=(1, 2))])


def unmoved(transform: PointTransform, points_mm: Floats) -> NDArray[np.bool_]:
    """Whether a displacement field on the way leaves points exactly where they are."""
    still = np.zeros(len(points_mm), bool)
    for step in transform.steps:
        moved = PointTransform("before", "after", (step,))(points_mm)
        if step.is_field:
            still |= (moved == points_mm).all(axis=1)
        points_mm = moved
    return still


def _row(
    brain: str,
    check: str,
    value: float,
    unit: str = "",
    limits: tuple[float | None, float | None] | None = None,
    remedy: str = "",
) -> CheckRow:
    """A check with its least and largest allowed value; without limits it is only reported."""
    if limits is None:
        return CheckRow(brain, check, value, unit, limit="", status="", remedy="")
    least, most = limits
    limit = f"at least {least:g}" if least is not None else f"at most {most:g}"
    fine = value >= least if least is not None else most is not None and value <= most
    # a check that measured nothing has not succeeded
    status = "" if np.isnan(value) else OK if fine else FAILED
    return CheckRow(brain, check, value, unit, limit, status, remedy if status == FAILED else "")


def _share(values: NDArray[np.bool_]) -> float:
    return float(np.mean(values)) if len(values) else np.nan


def _quantile(values: Any, at: float) -> float:
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    return float(np.quantile(known, at, method="lower")) if len(known) else np.nan
