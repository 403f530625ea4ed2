"""Atlases of areas: label volumes in template RAS mm, with tables of the labels."""

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
    """A label volume in template RAS mm, where 0 is no area, and the meaning of its labels.

    Attributes
    ----------
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
        If a column is missing, a label is duplicated or is not a whole number, a hemisphere is not
        L, R or empty, or the table does not name a label of the volume.
    """
    table = _read_table(areas, "label", "name", "hemisphere")
    names: dict[int, str] = {}
    hemispheres: dict[int, str] = {}
    rows = zip(table["label"], table["name"], table["hemisphere"], strict=True)
    for line, (label, name, hemisphere) in enumerate(rows, start=2):
        if not label.strip().isdigit() or int(label) in names:
            raise InputError(
                f"{areas} line {line}: label is {label!r}; use each whole number only once"
            )
        if hemisphere not in (*HEMISPHERES, ""):
            raise InputError(
                f"{areas} line {line}: hemisphere is {hemisphere!r}; use L, R or nothing"
            )
        names[int(label)], hemispheres[int(label)] = name, hemisphere
    volume = volumes.read(path)
    unnamed = sorted(set(np.unique(volume.data).astype(int).tolist()) - set(names) - {0})
    if unnamed:
        raise InputError(f"{path}: label {unnamed[0]} is not in {areas}; add a row for it")
    return Atlas(volume, names, hemispheres)


def read_names(areas: Path) -> tuple[str, ...]:
    """Read the names of an atlas' table in their order, each once.

    Raises
    ------
    InputError
        If the table is missing or has no column `name`.
    """
    return tuple(dict.fromkeys(_read_table(areas, "name")["name"]))


def _read_table(areas: Path, *columns: str) -> pd.DataFrame:
    require(areas, "check template.areas in the config")
    table = pd.read_csv(areas, sep="\t", dtype=str, keep_default_na=False)
    for column in columns:
        if column not in table:
            raise InputError(f"{areas}: column {column!r} is missing; add it (tab-separated)")
    return table
