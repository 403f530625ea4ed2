"""Format `csv`: tables of points and sections as text, each with a JSON file of units."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cytopipe.export import Params, readme
from cytopipe.files import atomic_write
from cytopipe.formats.tables import MapRow, PointRow, Row, StackRow, columns, frame_of
from cytopipe.study.results import BrainResults

# what BIDS writes differently
_BIDS_UNITS = {"mm2": "mm^2", "mm3": "mm^3"}


def write(brains: Sequence[BrainResults], folder: Path, params: Params) -> None:
    """Write points, sections and, if there is one, the map of each brain."""
    for brain in brains:
        exported: list[tuple[str, type[Row], pd.DataFrame]] = [
            ("points", PointRow, brain.points),
            ("sections", StackRow, frame_of(StackRow, brain.stack)),
        ]
        if brain.area_map is not None:
            exported.append(("map", MapRow, brain.area_map))
        for name, table, frame in exported:
            path = folder / f"{brain.name}_{name}.csv"
            write_table(frame, path, ",", na="")
            write_json(columns_of(table), path.with_suffix(".json"))
    readme.write("csv", brains, folder)


def columns_of(kind: type[Row]) -> dict[str, Any]:
    """Meaning and unit of each column, with the keys of BIDS."""
    return {
        column.name: {"Description": column.meaning}
        | ({"Units": _BIDS_UNITS.get(column.unit, column.unit)} if column.unit else {})
        for column in columns(kind)
    }


def write_table(frame: pd.DataFrame, path: Path, separator: str, na: str) -> None:
    """Write a table as text; floats read back to the same bits.

    A spreadsheet runs a cell as a formula that begins with =, +, - or @, in full width too, or with
    a tab or line break (OWASP, CSV injection). Such a text gets an apostrophe in front.
    """
    texts = frame.select_dtypes(include=["str", "object"]).columns
    harmless = frame[texts].replace(r"^(?=[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])", "'", regex=True)
    with atomic_write(path) as beside:
        frame.assign(**harmless).to_csv(
            beside, sep=separator, index=False, na_rep=na, lineterminator="\n"
        )


def write_json(content: Any, path: Path) -> None:
    """Write indented JSON."""
    with atomic_write(path) as beside:
        beside.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
