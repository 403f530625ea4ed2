"""Atlases of areas: label volumes in template RAS mm, with tables of the labels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cytopipe.files import InputError
from cytopipe.formats import volumes
from cytopipe.formats.text import read_table, whole
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
        If the volume does not hold labels, a column is missing, a label is duplicated or is not a
        whole number, a hemisphere is not L, R or empty, or the table does not name a label of the
        volume.
    """
    names: dict[int, str] = {}
    hemispheres: dict[int, str] = {}
    for line, row in _read_table(areas, "label", "name", "hemisphere"):
        label, hemisphere = whole(row["label"], f"{areas} line {line}: label"), row["hemisphere"]
        if label in names:
            raise InputError(f"{areas} line {line}: label {label} is there twice; remove a row")
        if hemisphere not in (*HEMISPHERES, ""):
            raise InputError(
                f"{areas} line {line}: hemisphere is {hemisphere!r}; use L, R or nothing"
            )
        names[label], hemispheres[label] = row["name"], hemisphere
    volume = volumes.read_labels(path)
    unnamed = sorted(set(np.unique(volume.data).tolist()) - set(names) - {0})
    if unnamed:
        raise InputError(f"{path}: label {unnamed[0]} is not in {areas}; add a row for it")
    return Atlas(volume, names, hemispheres)


def read_label_names(areas: Path) -> dict[int, str]:
    """Read the label and the name of each area from an atlas' table.

    Raises
    ------
    InputError
        If the table is missing, has no such columns, or a label is not a whole number.
    """
    return {
        whole(row["label"], f"{areas} line {line}: label"): row["name"]
        for line, row in _read_table(areas, "label", "name")
    }


def read_names(areas: Path) -> tuple[str, ...]:
    """Read the names of an atlas' table in their order, each once.

    Raises
    ------
    InputError
        If the table is missing or has no column `name`.
    """
    return tuple(dict.fromkeys(row["name"] for _, row in _read_table(areas, "name")))


def read_lobes(areas: Path) -> dict[str, str]:
    """Read the lobe of each area from an atlas' table, in the order of the table.

    Areas without a lobe are left out, and so are all if the table has no column `lobe`.

    Raises
    ------
    InputError
        If the table is missing or has no column `name`, or an area is in two lobes.
    """
    lobes: dict[str, str] = {}
    for line, row in _read_table(areas, "name", optional=("lobe",)):
        name, lobe = row["name"], row["lobe"]
        if lobe and lobes.setdefault(name, lobe) != lobe:
            raise InputError(
                f"{areas} line {line}: {name} is in the lobe {lobe!r}, above it is in "
                f"{lobes[name]!r}; correct one"
            )
    return lobes


def _read_table(
    areas: Path, *columns: str, optional: tuple[str, ...] = ()
) -> list[tuple[int, dict[str, str]]]:
    remedy = "check template.areas in the config"
    return read_table(areas, columns, optional, remedy=remedy, is_foreign=True)
