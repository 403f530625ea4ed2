"""The truth table of a phantom study: read, written, and laid out for a terminal."""

import io
from pathlib import Path

import pandas as pd

from cytopipe import provenance
from cytopipe.files import InputError, require, whole
from cytopipe.formats import tables


def write(frame: pd.DataFrame, path: Path) -> None:
    """Write the truth table, tab-separated."""
    text = frame.to_csv(sep="\t", index=False, float_format="%.6g", lineterminator="\n")
    with whole(path) as beside:
        beside.write_text(text + provenance.comment(), encoding="utf-8")


def read(path: Path) -> pd.DataFrame:
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
        return tables.TRUTH.conform(frame)
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: not a truth table ({error}); delete it and rerun") from error


def format_table(frame: pd.DataFrame, colour: bool) -> str:
    """The truth table as text for a terminal: a line a metric, a column a brain.

    Missed goals carry an exclamation mark and, with `colour`, are red.
    """
    brains = list(dict.fromkeys(frame["brain"]))
    lines = [[("metric", False), ("goal", False), *((brain, False) for brain in brains)]]
    for (metric, unit, goal), rows in frame.groupby(["metric", "unit", "goal"], sort=False):
        cells = {
            row["brain"]: (f"{row['value']:.3g}", row["met"] == "no")
            for row in rows.to_dict("records")
        }
        name = f"{metric} [{unit}]" if unit else str(metric)
        shown = [cells.get(brain, ("", False)) for brain in brains]
        shown = [(f"{text} !" if missed else text, missed) for text, missed in shown]
        lines.append([(name, False), (str(goal), False), *shown])
    widths = [max(len(line[column][0]) for line in lines) for column in range(len(lines[0]))]
    out = []
    for line in lines:
        cells_out = []
        for column, ((text, missed), width) in enumerate(zip(line, widths, strict=True)):
            padded = text.ljust(width) if column < 2 else text.rjust(width)
            cells_out.append(f"\033[31m{padded}\033[0m" if missed and colour else padded)
        out.append("  ".join(cells_out).rstrip())
    judged_rows = frame[frame["met"] != ""]
    met = int((judged_rows["met"] == "yes").sum())
    out.append(f"goals met: {met} of {len(judged_rows)}")
    return "\n".join(out)
