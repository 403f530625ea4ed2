"""An atlas of areas: a label volume in template RAS mm and the table of its labels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cytopipe.files import InputError, require
from cytopipe.formats import volumes
from cytopipe.formats.volumes import Volume

HEMISPHERES = ("L", "R")


@dataclass(frozen=True)
class Atlas:
    """A label volume in template RAS mm and what its labels mean.

    Attributes
    ----------
    labels : 0 is no area.
    names, hemispheres : by label; a label of hemisphere "" belongs to both.
    """

    labels: Volume
    names: dict[int, str]
    hemispheres: dict[int, str]


def read_atlas(path: Path, areas: Path) -> Atlas:
    """Read a label volume and its table (label, name, hemisphere; tab-separated).

    Raises
    ------
    InputError
        If a column is missing, a label is no number or doubled, a hemisphere is not L, R or empty,
        or the volume holds a label that the table does not name.
    """
    require(areas, "check template.areas in the config")
    table = pd.read_csv(areas, sep="\t", dtype=str, keep_default_na=False)
    for column in ("label", "name", "hemisphere"):
        if column not in table:
            raise InputError(f"{areas}: column {column!r} is missing; add it (tab-separated)")
    names: dict[int, str] = {}
    sides: dict[int, str] = {}
    for line, row in enumerate(table.to_dict("records"), start=2):
        if not row["label"].strip().isdigit() or int(row["label"]) in names:
            raise InputError(
                f"{areas} line {line}: label is {row['label']!r}; give a whole number, each once"
            )
        if row["hemisphere"] not in (*HEMISPHERES, ""):
            raise InputError(
                f"{areas} line {line}: hemisphere is {row['hemisphere']!r}; use L, R or nothing"
            )
        names[int(row["label"])] = row["name"]
        sides[int(row["label"])] = row["hemisphere"]
    volume = volumes.read(path)
    unnamed = sorted(set(np.unique(volume.data).astype(int).tolist()) - set(names) - {0})
    if unnamed:
        raise InputError(f"{path}: label {unnamed[0]} is not in {areas}; add a row for it")
    return Atlas(volume, names, sides)


def read_names(areas: Path) -> tuple[str, ...]:
    """Names of an atlas' table in their order, each once.

    Raises
    ------
    InputError
        If the table is missing or has no column `name`.
    """
    require(areas, "check template.areas in the config")
    table = pd.read_csv(areas, sep="\t", dtype=str, keep_default_na=False)
    if "name" not in table:
        raise InputError(f"{areas}: column 'name' is missing; add it (tab-separated)")
    return tuple(dict.fromkeys(table["name"]))
