"""The truth table of a phantom study: reading, writing, and text for a terminal."""

import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cytopipe import provenance
from cytopipe.files import atomic_write, reading, require
from cytopipe.formats import tables

Line = tuple[str, str, str]  # metric, unit, goal


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
    with reading(path, "truth table", "delete it and rerun"):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        text = io.StringIO("".join(line for line in lines if not line.startswith("# ")))
        frame = pd.read_csv(text, sep="\t", dtype=str, keep_default_na=False)
        frame["value"] = [float(text or "nan") for text in frame["value"]]
        return tables.rows_of(tables.TruthRow, tables.conform(tables.TruthRow, frame))


def lines_of(
    rows: Sequence[tables.TruthRow],
) -> tuple[list[str], dict[Line, dict[str, tables.TruthRow]]]:
    """The brains, and for each line the row of each brain, both in their order."""
    lines: dict[Line, dict[str, tables.TruthRow]] = {}
    for row in rows:
        lines.setdefault((row.metric, row.unit, row.goal), {})[row.brain] = row
    return list(dict.fromkeys(row.brain for row in rows)), lines


def format_table(rows: Sequence[tables.TruthRow], colour: bool) -> str:
    """The truth table as text for a terminal: one line per metric, one column per brain.

    Missed goals are marked by an exclamation mark and, with `colour`, are red.
    """
    brains, lines = lines_of(rows)
    printed = [["metric", "goal", *brains]]
    for (metric, unit, goal), line in lines.items():
        values = [
            f"{line[b].value:.3g}{' !' * line[b].is_missed}" if b in line else "" for b in brains
        ]
        printed.append([f"{metric} [{unit}]" if unit else metric, goal, *values])
    widths = [max(map(len, column)) for column in zip(*printed, strict=True)]
    text_lines = []
    for cells in printed:
        padded = []
        for column, (text, width) in enumerate(zip(cells, widths, strict=True)):
            is_missed = column >= 2 and text.endswith(" !")
            text = text.ljust(width) if column < 2 else text.rjust(width)
            padded.append(f"\033[31m{text}\033[0m" if is_missed and colour else text)
        text_lines.append("  ".join(padded).rstrip())
    judged = [row for row in rows if row.met]
    met = sum(not row.is_missed for row in judged)
    return "\n".join([*text_lines, f"goals met: {met} of {len(judged)}"])
