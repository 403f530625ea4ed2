"""The truth table of a phantom study: read, written, and laid out for a terminal."""

import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cytopipe import provenance
from cytopipe.files import InputError, atomic_write, require
from cytopipe.formats import tables

# metric, unit and goal: what a line of the table is about
Line = tuple[str, str, str]


def write(rows: Sequence[tables.TruthRow], path: Path) -> None:
    """Write the truth table, tab-separated."""
    frame = tables.frame_of(tables.TruthRow, rows)
    text = frame.to_csv(sep="\t", index=False, float_format="%.6g", lineterminator="\n")
    with atomic_write(path) as beside:
        beside.write_text(text + provenance.comment(), encoding="utf-8")


def read(path: Path) -> list[tables.TruthRow]:
    """Read the truth table.

    Raises
    ------
    InputError
        If the file is missing or is not this table.
    """
    require(path, "run the rule truth")
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    text = io.StringIO("".join(line for line in lines if not line.startswith("# ")))
    frame = pd.read_csv(text, sep="\t", dtype=str, keep_default_na=False)
    try:
        frame["value"] = [float(text or "nan") for text in frame["value"]]
        return tables.rows_of(tables.TruthRow, tables.conform(tables.TruthRow, frame))
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: not a truth table ({error}); delete it and rerun") from error


def lines_of(
    rows: Sequence[tables.TruthRow],
) -> tuple[list[str], dict[Line, dict[str, tables.TruthRow]]]:
    """The brains, and for each line the row of each brain that has one, both in order."""
    lines: dict[Line, dict[str, tables.TruthRow]] = {}
    for row in rows:
        lines.setdefault((row.metric, row.unit, row.goal), {})[row.brain] = row
    return list(dict.fromkeys(row.brain for row in rows)), lines


def format_table(rows: Sequence[tables.TruthRow], colour: bool) -> str:
    """The truth table as text for a terminal: one line per metric, one column per brain.

    Missed goals carry an exclamation mark and, with `colour`, are red.
    """
    brains, lines = lines_of(rows)
    printed = [[("metric", False), ("goal", False), *((brain, False) for brain in brains)]]
    for (metric, unit, goal), line in lines.items():
        cells = [(f"{metric} [{unit}]" if unit else metric, False), (goal, False)]
        for brain in brains:
            text, missed = "", False
            if brain in line:
                text, missed = f"{line[brain].value:.3g}", line[brain].is_missed
            cells.append((f"{text} !" if missed else text, missed))
        printed.append(cells)
    widths = [max(len(text) for text, _ in column) for column in zip(*printed, strict=True)]
    out = []
    for cells in printed:
        padded = []
        for column, ((text, missed), width) in enumerate(zip(cells, widths, strict=True)):
            text = text.ljust(width) if column < 2 else text.rjust(width)
            padded.append(f"\033[31m{text}\033[0m" if missed and colour else text)
        out.append("  ".join(padded).rstrip())
    judged = [row for row in rows if row.met]
    met = sum(not row.is_missed for row in judged)
    out.append(f"goals met: {met} of {len(judged)}")
    return "\n".join(out)
