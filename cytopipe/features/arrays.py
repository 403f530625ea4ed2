"""What networks and profiles share: the array on disk, its rows, the points of each section."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytopipe.files import InputError, reserve
from cytopipe.formats import tables
from cytopipe.study.sections import Section


def new_array(
    path: Path, shape: tuple[int, int]
) -> "np.memmap[tuple[int, ...], np.dtype[np.float32]]":
    """A new float32 .npy file filled with NaN, as a memory map."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    reserve(path)
    array[:] = np.nan
    return array


def sections_of(
    points: pd.DataFrame, sections: Sequence[Section]
) -> list[tuple[Section, NDArray[np.intp]]]:
    """The sections that have usable points (status ok), with the rows of these points.

    Raises
    ------
    InputError
        If a section that has points is not among `sections`.
    """
    by_key = {(s.brain, s.section): s for s in sections}
    members: dict[tuple[str, int], list[int]] = {}
    keys = zip(points.brain, points.section, points.status, strict=True)
    for row, (brain, section, status) in enumerate(keys):
        if status == "ok":
            members.setdefault((brain, section), []).append(row)
    for brain, section in members.keys() - by_key.keys():
        raise InputError(
            f"{brain} section {section} has points but no row in config/sections.tsv; "
            "add the row or rerun the midline"
        )
    return [(by_key[key], np.array(rows)) for key, rows in members.items()]


def write_rows(point_ids: "pd.Series[str]", status: "pd.Series[str]", path: Path) -> None:
    """Write the point and the status of each row of an array (FeatureRow)."""
    table = pd.DataFrame({"point_id": point_ids, "status": status})
    tables.write(tables.FeatureRow, table, path)
