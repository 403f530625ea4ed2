"""Data sets of patches, drawn from the points of all brains; no image is read here.

A patch is a row: a point, the image that it lies on and, where needed, its template coordinate or
its area. Windows are read from the images when a network trains (`learning.loading`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from cytopipe.files import InputError
from cytopipe.formats import tables
from cytopipe.formats.sections import Section
from cytopipe.logs import say

VERSION = 1

COORDINATES = ["x_mm", "y_mm", "z_mm"]


@dataclass(frozen=True)
class Params:
    """One data set of the config's `patches.datasets`.

    Attributes
    ----------
    purpose : `pretraining` (points with a coordinate, unbalanced) or `areas` (points with an atlas
        label, split for training and testing a classifier).
    roles : brains of these roles take part.
    count : points to draw for pretraining, without replacement; null for all. Unused for areas.
    per_area : points of an area in the training set, drawn with replacement; null leaves the areas
        as they are. Unused for pretraining.
    min_probability : atlas labels with a lower probability do not count. Unused for pretraining.
    test_every : each so-many-th annotated section of a seen brain is for testing. Unused for
        pretraining.
    seed : of the draws.
    """

    purpose: Literal["pretraining", "areas"]
    roles: Sequence[str]
    count: int | None
    per_area: int | None
    min_probability: float
    test_every: int
    seed: int


def draw_pretraining(points: pd.DataFrame, count: int | None, seed: int) -> pd.DataFrame:
    """Points drawn at random without replacement (CytoNet section 3.4), in their original order.

    Raises
    ------
    InputError
        If there are fewer than `count`.
    """
    if count is None:
        return points.assign(split="pretrain")
    if count > len(points):
        raise InputError(
            f"patches: count is {count}, only {len(points)} points are usable; "
            "lower count in config/config.yaml or set it to null"
        )
    chosen = np.random.default_rng(seed).choice(len(points), count, replace=False)
    return points.iloc[np.sort(chosen)].assign(split="pretrain")


def split_areas(
    points: pd.DataFrame, roles: Mapping[str, str], per_area: int | None, test_every: int, seed: int
) -> pd.DataFrame:
    """Training and test sets for classifying areas (CytoNet section 3.5).

    Every `test_every`-th annotated section of each seen brain is for testing (`seen`), the others
    for training (`train`), balanced by drawing `per_area` points of each area with replacement.
    Transfer and unseen brains are test sets as they are.

    Parameters
    ----------
    points : labelled points (POINTS).
    roles : brain to role.
    """
    split = points.brain.map(roles)
    for brain in sorted(points.brain[split == "seen"].unique()):
        mine = points.brain == brain
        annotated = np.unique(points.section[mine])
        tested = annotated[test_every - 1 :: test_every]
        split[mine & ~points.section.isin(tested)] = "train"
    labelled = points.assign(split=split)
    train, test = labelled[split == "train"], labelled[split != "train"]
    if per_area is not None:
        random = np.random.default_rng(seed)
        rows = [
            random.choice(members, per_area, replace=True)
            for _, members in sorted(train.groupby("area").indices.items())
        ]
        train = train.iloc[np.concatenate(rows)] if rows else train
    return pd.concat([train, test])


def run(
    *,
    points: dict[str, Path],
    roles: dict[str, str],
    sections: Sequence[Section],
    patches: Path,
    params: Params,
) -> None:
    """Draw one data set.

    Parameters
    ----------
    points : brain to its points.parquet.
    roles : brain to role.
    sections : of these brains; `image` is the pyramid that windows are read from.
    patches : the table to write (PATCHES).

    Raises
    ------
    InputError
        If no point is usable, or fewer than the params ask for.
    """
    brains = [brain for brain in points if roles[brain] in params.roles]
    if not brains:
        raise InputError(
            f"{patches.stem}: no brain has the role {' or '.join(params.roles)}; correct role in "
            "config/brains.tsv or roles of the data set in config/config.yaml"
        )
    every = pd.concat([tables.read(tables.POINTS, points[brain]) for brain in brains])
    usable = every.loc[every.status == "ok"]
    if params.purpose == "pretraining":
        usable = usable.dropna(subset=COORDINATES)
    else:
        usable = usable.loc[
            (usable.area != "") & (usable.area_probability >= params.min_probability)
        ]
    if usable.empty:
        raise InputError(
            f"{patches.stem}: none of the {len(every)} points of {', '.join(brains)} "
            "is usable; look at the coordinates in the report"
        )
    if params.purpose == "pretraining":
        drawn = draw_pretraining(usable, params.count, params.seed)
    else:
        drawn = split_areas(usable, roles, params.per_area, params.test_every, params.seed)
    images = pd.DataFrame(
        [(s.brain, s.section, s.image, s.spacing_um) for s in sections],
        columns=["brain", "section", "image", "full_spacing_um"],
    )
    rows = drawn.merge(images, on=["brain", "section"], how="left", validate="many_to_one")
    counts = rows.split.value_counts(sort=False)
    say(f"{patches.stem}: {', '.join(f'{n} {split}' for split, n in counts.items())} patches")
    tables.write(tables.PATCHES, rows[tables.PATCHES.names], patches)
