"""The numbers of each section that say where to look, and what changed since an earlier report.

They are written as a table, {brain}.tsv, a row a section. Keep a copy of it before a correction and
name its folder in `report.compare_with`: the next page says what the correction did.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from cytopipe.files import InputError, atomic_write, require
from cytopipe.formats import tables
from cytopipe.numerics.geometry import Floats
from cytopipe.study.sections import Section

# a number stands out that lies so many quartile distances beyond the worse quartile: what Tukey
# (Exploratory Data Analysis, 1977) calls far out
STANDS_OUT = 3.0


@dataclass(frozen=True)
class Number:
    """A number of a section.

    Attributes
    ----------
    name, label, short, unit : column of the table; in words; in one or two; "" for none.
    worse : the end at which a section is to be looked at.
    digits : after the point.
    judged : whether a section that is far worse than the brain's others stands out. Not where
        anatomy alone makes the difference, as between a pole and the middle.
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
    Number("tissue_off", "tissue, off its neighbours", "tissue area", "%", "high", 0, True),
    Number(
        "gray_off", "share of gray matter, off its neighbours", "gray share", "%", "high", 0, True
    ),
    Number("sulcal_mm", "open sulcal boundary", "sulci", "mm", "low", 0, False),
    Number(
        "sulcal_missing",
        "open sulcal boundary, less than its neighbours",
        "sulci closed",
        "%",
        "high",
        0,
        True,
    ),
    Number("inliers", "inliers of its pair", "inliers", "", "low", 0, False),
    Number("hand_margin", "inliers, times those of the other hand", "hand", "", "low", 1, False),
    Number("residual_um", "residual of its pair", "residual", "µm", "high", 0, True),
    Number("overlap", "overlap with its neighbour", "overlap", "%", "low", 0, True),
    Number("jump_mm", "tissue's centre, off its neighbours", "centre jumps", "mm", "high", 2, True),
    Number("sigma_um", "estimated error of its place", "place error", "µm", "high", 0, False),
    Number("points", "usable points", "points", "", "low", 0, False),
    Number("usable", "share of points that are usable", "unusable points", "%", "low", 0, True),
    Number("middle", "points within 0.1 of mid-depth", "off mid-depth", "%", "low", 0, True),
    Number("refined_um", "refinement, median", "refinement", "µm", "high", 0, True),
)
COLUMNS = ["section", "status", "mirrored", "via", *(number.name for number in NUMBERS)]


def table(
    sections: list[Section],
    segmentation: list[tables.SegmentationRow],
    centroids_um: dict[int, Floats],
    stack: list[tables.StackRow],
    pairs: list[tables.PairRow],
    midline: pd.DataFrame,
) -> pd.DataFrame:
    """The numbers of each section, one row per section in order, columns `COLUMNS`.

    Parameters
    ----------
    segmentation, stack, pairs, midline : of the brain; the midline as a DataFrame of MidlineRow.
    centroids_um : centre of the tissue of sections that have any, frame of the section as scanned.

    Returns
    -------
    NaN where a section has no such number: nothing was found, or it was not placed. Percentages
    are 0 to 100. The pair of a section is the one through which it was placed (column `via`); of a
    section without a place the one of most inliers.
    """
    rows = pd.DataFrame({"section": [s.section for s in sections]}).set_index("section")
    usable_rows = [row for row in segmentation if row.is_usable]
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
    rows = rows.join(_of_pairs(rows["via"], pairs))
    centre_mm = centres_mm(stack, centroids_um).reindex(rows.index)
    off = [centre_mm[axis] - neighbours(centre_mm[axis]) for axis in ("x_mm", "y_mm")]
    rows["sigma_um"] = placed["sigma_um"]
    rows["jump_mm"] = np.hypot(off[0], off[1])
    ok = midline[midline["status"] == "ok"]
    found = midline.groupby("section").size().reindex(rows.index)
    usable = ok.groupby("section").size().reindex(rows.index)
    rows["points"] = usable.fillna(0).where(
        rows.index.isin([row.section for row in stack if row.is_placed])
    )
    rows["usable"] = 100 * usable.fillna(0) / found
    close = (ok["depth"] - 0.5).abs() < 0.1
    rows["middle"] = 100 * close.groupby(ok["section"]).mean().reindex(rows.index)
    rows["refined_um"] = ok.groupby("section")["refined_um"].median().reindex(rows.index)
    return rows.replace([np.inf, -np.inf], np.nan).reset_index()[COLUMNS]


def neighbours(values: "pd.Series[float]") -> "pd.Series[float]":
    """Mean of the neighbours of each value of a series: at best the next before and after.

    Values that are missing count for nothing; the first and last, with a neighbour on one side
    only, have NaN: the anatomy changes fastest at the poles.
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
            continue  # the base is where the others are placed to
        used = [pair for pair in own if partner in pair.sections]
        pair = max(used or own, key=lambda pair: pair.inliers)
        # plus one: nothing against nothing is no evidence, nothing against much is
        hand_margin = (pair.inliers + 1) / (pair.inliers_other + 1)
        rows[section] = (pair.inliers, hand_margin, pair.residual_um, 100 * pair.overlap)
    columns = ["inliers", "hand_margin", "residual_um", "overlap"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype=float)


def standing_out(numbers: pd.DataFrame) -> dict[int, list[str]]:
    """Names of the numbers in which a section is far worse than the others of its brain.

    Far: beyond the worse quartile by more than `STANDS_OUT` times the quartiles' distance.
    """
    found: dict[int, list[str]] = {int(section): [] for section in numbers["section"]}
    for number in NUMBERS:
        if not number.judged:
            continue
        values = numbers[number.name].to_numpy(np.float64)
        worse = values if number.worse == "high" else -values
        finite = worse[np.isfinite(worse)]
        if not len(finite):
            continue
        low, high = np.percentile(finite, [25, 75])
        # where nearly all are alike not every ripple stands out
        fence = high + STANDS_OUT * max(high - low, 0.02 * abs(high))
        for section in numbers.loc[worse > fence, "section"]:
            found[int(section)].append(number.name)
    return found


def write(numbers: pd.DataFrame, path: Path) -> None:
    """Write the table as TSV."""
    with atomic_write(path) as beside:
        numbers.to_csv(beside, sep="\t", index=False, float_format="%.5g")


def read(path: Path) -> pd.DataFrame:
    """Read what `write` wrote, of this run or an earlier one.

    Raises
    ------
    InputError
        If the file is not such a table; columns of another version are named.
    """
    require(path, "correct report.compare_with in config/config.yaml")
    frame = pd.read_csv(path, sep="\t", keep_default_na=False, na_values=[""])
    if list(frame) != COLUMNS:
        other = sorted({*map(str, frame)} ^ {*COLUMNS}) or ["another order"]
        raise InputError(
            f"{path}: not the numbers of a report of this version ({', '.join(other)}); "
            'make a new copy, or set report.compare_with to "" in config/config.yaml'
        )
    return frame


def changes(before: pd.DataFrame, now: pd.DataFrame) -> list[dict[str, Any]]:
    """What differs between the tables of two runs: section and changes in words, most first.

    Both as read from files, so that numbers are compared as they are written.
    """
    old, new = before.set_index("section"), now.set_index("section")
    found = []
    for section in sorted({*old.index, *new.index}):
        if section not in new.index:
            words = ["no longer there"]
        elif section not in old.index:
            words = ["new"]
        else:
            words = _differences(old.loc[section], new.loc[section])
        if words:
            found.append({"section": int(section), "changes": words})
    return sorted(found, key=lambda row: (-len(row["changes"]), row["section"]))


def _differences(old: "pd.Series[Any]", new: "pd.Series[Any]") -> list[str]:
    words = []
    for name, label in (("status", "status"), ("mirrored", "mirrored"), ("via", "placed through")):
        if old[name] != new[name]:
            words.append(f"{label}: {_word(old[name])} → {_word(new[name])}")
    for number in NUMBERS:
        a, b = (text_of(number, row[number.name]) for row in (old, new))
        if a != b:
            words.append(f"{number.label}: {a} → {b} {number.unit}".strip())
    return words


def text_of(number: Number, value: Any) -> str:
    """A number as it is shown; "none" for NaN."""
    return f"{value:,.{number.digits}f}" if pd.notna(value) else "none"


def _word(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return "none" if value == -1 else str(value)
