"""The numbers of each section that show where to look, and what changed since an earlier report.

They are written as a table, {brain}.tsv, one row per section. Keep a copy of it before a correction
and name its folder in `report.compare_with`: the next page then lists what changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from cytopipe.files import InputError, atomic_write, reading, require
from cytopipe.formats import tables
from cytopipe.numerics.geometry import Floats
from cytopipe.study.results import BrainResults

# interquartile ranges beyond the worse quartile: "far out" (Tukey, Exploratory Data Analysis, 1977)
FAR_OUT = 3.0


@dataclass(frozen=True)
class Number:
    """A number of a section.

    Attributes
    ----------
    name, label, short, unit : column of the table; its label; a short label; unit, "" for none.
    worse : whether low or high values are suspicious.
    digits : decimals.
    judged : whether outliers are reported. False where anatomy alone explains large differences,
        as between a pole and the middle.
    """

    name: str
    label: str
    short: str
    unit: str
    worse: Literal["low", "high"]
    digits: int
    judged: bool


NUMBERS = (
    Number("tissue_mm2", "tissue", "tissue", "mm²", "low", 0, False),
    Number("tissue_off", "tissue, difference from neighbours", "tissue area", "%", "high", 0, True),
    Number(
        "gray_off", "gray share, difference from neighbours", "gray share", "%", "high", 0, True
    ),
    Number("sulcal_mm", "open sulcal boundary", "sulci", "mm", "low", 0, False),
    Number("sulcal_missing", "missing open sulci", "sulci closed", "%", "high", 0, True),
    Number("inliers", "inliers of its pair", "inliers", "", "low", 0, False),
    Number("hand_margin", "inliers, ratio of the handednesses", "handedness", "", "low", 1, False),
    Number("residual_um", "residual of its pair", "residual", "µm", "high", 0, True),
    Number("overlap", "overlap with its neighbour", "overlap", "%", "low", 0, True),
    Number("jump_mm", "centre, difference from neighbours", "centre jumps", "mm", "high", 2, True),
    Number("sigma_um", "estimated error of its place", "place error", "µm", "high", 0, False),
    Number("points", "usable points", "points", "", "low", 0, False),
    Number("usable", "share of points that are usable", "unusable points", "%", "low", 0, True),
    Number("middle", "points within 0.1 of mid-depth", "off mid-depth", "%", "low", 0, True),
    Number("refined_um", "refinement, median", "refinement", "µm", "high", 0, True),
)
COLUMNS = ["section", "status", "mirrored", "via", *(number.name for number in NUMBERS)]


def table(brain: BrainResults, centroids_um: dict[int, Floats]) -> pd.DataFrame:
    """The numbers of each section, one row per section in order, columns `COLUMNS`.

    Parameters
    ----------
    centroids_um : centre of the tissue of sections that have any, frame of the section as scanned.

    Returns
    -------
    Percentages are 0 to 100. NaN where a section has no tissue, no points or no place in the stack.
    The pair of a section is the one that placed it (column `via`); for a section without a place,
    the pair with the most inliers.
    """
    midline, stack = brain.midline, brain.stack
    rows = pd.DataFrame({"section": [s.section for s in brain.sections]}).set_index("section")
    usable_rows = [row for row, _ in brain.segmentation if row.is_usable]
    known = (
        tables.frame_of(tables.SegmentationRow, usable_rows)
        .set_index("section")
        .reindex(rows.index)
    )
    placed = tables.frame_of(tables.StackRow, stack).set_index("section").reindex(rows.index)
    rows["status"] = placed["status"].fillna("not in the stack")
    rows["mirrored"] = placed["mirrored"].fillna(False).astype(bool)
    rows["via"] = placed["via"].fillna(-1).astype(int)
    rows["tissue_mm2"] = known["tissue_mm2"]
    rows["tissue_off"] = 100 * (known["tissue_mm2"] / neighbours(known["tissue_mm2"]) - 1).abs()
    share = known["gray_mm2"] / known["tissue_mm2"]
    rows["gray_off"] = 100 * (share / neighbours(share) - 1).abs()
    rows["sulcal_mm"] = known["sulcal_after_mm"]
    less = 1 - known["sulcal_after_mm"] / neighbours(known["sulcal_after_mm"])
    rows["sulcal_missing"] = 100 * less.clip(lower=0)
    rows = rows.join(_of_pairs(rows["via"], brain.pairs))
    centre_mm = centres_mm(stack, centroids_um).reindex(rows.index)
    off = [centre_mm[axis] - neighbours(centre_mm[axis]) for axis in ("x_mm", "y_mm")]
    rows["sigma_um"] = placed["sigma_um"]
    rows["jump_mm"] = np.hypot(off[0], off[1])
    ok = midline[midline["status"] == "ok"]
    total = midline.groupby("section").size().reindex(rows.index)
    usable = ok.groupby("section").size().reindex(rows.index)
    rows["points"] = usable.fillna(0).where(
        rows.index.isin([row.section for row in stack if row.is_placed])
    )
    rows["usable"] = 100 * usable.fillna(0) / total
    close = (ok["depth"] - 0.5).abs() < 0.1
    rows["middle"] = 100 * close.groupby(ok["section"]).mean().reindex(rows.index)
    rows["refined_um"] = ok.groupby("section")["refined_um"].median().reindex(rows.index)
    return rows.replace([np.inf, -np.inf], np.nan).reset_index()[COLUMNS]


def neighbours(values: "pd.Series[float]") -> "pd.Series[float]":
    """Mean of the nearest values before and after each value of a series.

    Missing values are skipped. The first and the last value have a neighbour on one side only and
    get NaN, because the anatomy changes fastest at the poles.
    """
    before, after = values.ffill().shift(1), values.bfill().shift(-1)
    return (before + after) / 2


def centres_mm(stack: Sequence[tables.StackRow], centroids_um: dict[int, Floats]) -> pd.DataFrame:
    """Centre of the tissue of each placed section in the stack: x_mm, y_mm by section."""
    rows = {}
    for row in stack:
        centre_um = centroids_um.get(row.section)
        if row.placement is not None and centre_um is not None:
            rows[row.section] = row.placement(centre_um) / 1000
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=["x_mm", "y_mm"], dtype=float)
    return frame.rename_axis("section")


def _of_pairs(via: "pd.Series[int]", pairs: list[tables.PairRow]) -> pd.DataFrame:
    """inliers, hand_margin, residual_um and overlap (%) of the pair of each section."""
    rows = {}
    for section, partner in via.items():
        own = [pair for pair in pairs if section in pair.sections]
        if partner == section or not own:
            continue  # the base: the others are placed relative to it
        used = [pair for pair in own if partner in pair.sections]
        pair = max(used or own, key=lambda pair: pair.inliers)
        # plus one: 0 to 0 inliers is no evidence, 0 to many is
        hand_margin = (pair.inliers + 1) / (pair.inliers_other + 1)
        rows[section] = (pair.inliers, hand_margin, pair.residual_um, 100 * pair.overlap)
    columns = ["inliers", "hand_margin", "residual_um", "overlap"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype=float)


def outliers(numbers: pd.DataFrame) -> dict[int, list[str]]:
    """Names of the numbers in which a section is far worse than the others of its brain.

    Far worse: more than `FAR_OUT` interquartile ranges beyond the worse quartile.
    """
    names: dict[int, list[str]] = {int(section): [] for section in numbers["section"]}
    for number in NUMBERS:
        if not number.judged:
            continue
        values = numbers[number.name].to_numpy(np.float64)
        worse = values if number.worse == "high" else -values
        finite = worse[np.isfinite(worse)]
        if not len(finite):
            continue
        low, high = np.percentile(finite, [25, 75])
        # at least 2 % (chosen, not measured): sections that are alike still differ a little
        fence = high + FAR_OUT * max(high - low, 0.02 * abs(high))
        for section in numbers.loc[worse > fence, "section"]:
            names[int(section)].append(number.name)
    return names


def write(numbers: pd.DataFrame, path: Path) -> None:
    """Write the table as TSV."""
    with atomic_write(path) as beside:
        numbers.to_csv(beside, sep="\t", index=False, float_format="%.5g")


def read(path: Path) -> pd.DataFrame:
    """Read the table of this run or an earlier one.

    Raises
    ------
    InputError
        If the file is not such a table, or has the columns of another version.
    """
    require(path, "correct report.compare_with in config/config.yaml")
    with reading(path, "table of a report", "make a new copy"):
        frame = pd.read_csv(path, sep="\t", keep_default_na=False, na_values=[""])
    if list(frame) != COLUMNS:
        other = sorted({*map(str, frame)} ^ {*COLUMNS}) or ["another order"]
        raise InputError(
            f"{path}: not the numbers of a report of this version ({', '.join(other)}); "
            'make a new copy, or set report.compare_with to "" in config/config.yaml'
        )
    return frame


def changes(before: pd.DataFrame, now: pd.DataFrame) -> list[dict[str, Any]]:
    """What differs between two tables: section and changes in words, most changes first."""
    old, new = before.set_index("section"), now.set_index("section")
    rows = []
    for section in sorted({*old.index, *new.index}):
        if section not in new.index:
            words = ["no longer there"]
        elif section not in old.index:
            words = ["new"]
        else:
            words = _differences(old.loc[section], new.loc[section])
        if words:
            rows.append({"section": int(section), "changes": words})
    return sorted(rows, key=lambda row: (-len(row["changes"]), row["section"]))


def _differences(old: "pd.Series[Any]", new: "pd.Series[Any]") -> list[str]:
    words = []
    for name, label in (("status", "status"), ("mirrored", "mirrored"), ("via", "placed through")):
        if old[name] != new[name]:
            words.append(f"{label}: {_text(old[name])} → {_text(new[name])}")
    for number in NUMBERS:
        a, b = (
            f"{row[number.name]:,.{number.digits}f}" if pd.notna(row[number.name]) else "none"
            for row in (old, new)
        )
        if a != b:
            words.append(f"{number.label}: {a} → {b} {number.unit}".strip())
    return words


def _text(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return "none" if value == -1 else str(value)
