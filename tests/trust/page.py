"""docs/trust.md, from the rows that were measured."""

import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trust.disturbances import DISTURBANCES, KINDS
from trust.verdicts import CRASH, RIGHT, SAID, SILENT

_BAD = (SILENT, CRASH)
_SHOWN = 2
_LONGEST = 260
_INTRODUCTION = """
# The table of trust

Does the pipeline notice when its results are wrong? Each row of this page disturbs a phantom in one
way, runs the stages that could be harmed, and compares the results with the truth.

- *right*: no error is larger than three times what the goal allows. For example, the goal for the
  Dice coefficient of gray matter is 0.95. It allows 0.05, so 0.85 is still right.
- *said so*: some results are wrong or missing, and the program said so about each of them. Either
  their status is not `ok`, or a remark or failed check speaks of that very result, or the run ended
  with an error that names the remedy.
- **silently wrong**: at least one result is wrong although its status is `ok` and no alarm speaks
  of it.
- **crash**: the run stopped without an explanation.

The Dice coefficients leave out deep nuclei and the cerebellum, which the exclusion mask covers.
The table's headings say how much of a brain is made for a row. Both seeds have the same anatomy;
the seed decides the place, texture, stain, damage and noise of every section.
"""
_KEPT = "<!-- what was tried: kept by make trust -->"


@dataclass(frozen=True)
class Line:
    """One row of the table."""

    disturbance: str
    brain: str
    seed: int
    errors: list[str]
    silent: list[str]
    said: list[str]
    verdict: str
    commit: str
    seconds: float

    @property
    def key(self) -> str:
        return f"{self.disturbance}-{self.brain}-{self.seed}"


def summary(lines: Sequence[Line]) -> str:
    """The verdicts counted, and the rows that are not as they should be."""
    counts = Counter(line.verdict for line in lines)
    text = ", ".join(f"{counts[v]} {v}" for v in (RIGHT, SAID, SILENT, CRASH) if counts[v])
    bad = [
        f"  {line.key}: {_short(line.silent or line.said)}"
        for line in lines
        if line.verdict in _BAD
    ]
    return "\n".join([f"{len(lines)} rows: {text}", *bad])


def write(lines: Sequence[Line], path: Path, possible: int) -> None:
    """Write the page of some of the `possible` rows.

    The part under "What was tried" is a person's and is kept.
    """
    tried = ""
    if path.exists() and _KEPT in path.read_text():
        tried = path.read_text().split(_KEPT)[1]
    counts = Counter(line.verdict for line in lines)
    parts = [
        *_INTRODUCTION.strip().splitlines(),
        "",
        f"Made by `make trust` on {time.strftime('%Y-%m-%d')}, {_cores()}.",
        f"Commits: {', '.join(sorted({line.commit for line in lines if line.commit}))}. "
        f"{len(lines)} of {possible} rows were run.",
        "",
        "| verdict | rows |",
        "|---|---|",
        *[f"| {v} | {counts[v]} |" for v in (RIGHT, SAID, SILENT, CRASH)],
        "",
    ]
    for kind, of_kind in KINDS.items():
        names = {d.name: d.text for d in DISTURBANCES if d.kind == kind}
        own = [line for line in lines if line.disturbance in names]
        if not own:
            continue
        parts += [f"## {of_kind.text[0].upper()}{of_kind.text[1:]}", ""]
        parts += [
            "| disturbed | brain | seed | error | said | verdict |",
            "|---|---|---|---|---|---|",
        ]
        order = list(names)
        own.sort(key=lambda line: (order.index(line.disturbance), line.brain, line.seed))
        for line in own:
            verdict = f"**{line.verdict}**" if line.verdict in _BAD else line.verdict
            wrong = _short([*line.errors, *line.silent[:_SHOWN]], len(line.silent) - _SHOWN)
            said = _short(line.said[:_SHOWN], len(line.said) - _SHOWN)
            cells = [names[line.disturbance], line.brain, str(line.seed), wrong, said, verdict]
            parts.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
        parts.append("")
    parts += ["## What was tried", "", _KEPT]
    path.write_text("\n".join(parts) + (tried or "\n"))


def verdicts_on(path: Path) -> dict[tuple[str, str, str], str]:
    """The verdicts that a page lists, by text of the disturbance, brain and seed."""
    rows = [line.strip("| ").split(" | ") for line in path.read_text().splitlines()]
    return {(r[0], r[1], r[2]): r[-1].strip("*") for r in rows if len(r) == 6 and r[2].isdigit()}


def _short(words: Sequence[str], more: int = 0) -> str:
    text = "; ".join(words) + (f"; {more} more" if more > 0 else "")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def _cores() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "an unknown processor"
    names = [line.split(": ", 1)[1] for line in text.splitlines() if line.startswith("model name")]
    return f"{len(names)} cores ({names[0]})" if names else "an unknown processor"


def commit(repository: Path) -> str:
    """The commit of the code, with + if it was changed."""
    command = ["git", "-C", str(repository), "describe", "--always", "--dirty=+", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
