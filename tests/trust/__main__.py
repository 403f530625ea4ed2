"""The table of trust: `make trust`.

    PYTHONPATH=tests python -m trust FOLDER [--only ink frame] [--brains demo] [--seeds 1]

FOLDER takes the studies and the rows that were measured. What is there is not made again; a killed
run goes on where it stopped, and an edited stage reruns what depends on it.
"""

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

from cytopipe import logs
from cytopipe.study import config as study_config
from trust import page, panel, verdicts
from trust.disturbances import DISTURBANCES
from trust.page import Line

PRESETS = panel.REPOSITORY / "config" / "presets"
SEEDS = (1, 2)


def brains() -> dict[str, dict]:
    """The phantom sections of the brains, by name."""
    presets = {name: PRESETS / f"{name}.yaml" for name in ("demo", "head")}
    return {
        name: study_config.read(path)["phantom"] for name, path in presets.items() if path.exists()
    }


def measured(folder: Path) -> list[Line]:
    """The lines of all rows that were measured."""
    paths = sorted((folder / "rows").glob("*.json"))
    return [Line(**json.loads(path.read_text())) for path in paths]


def keep(folder: Path, line: Line) -> None:
    path = folder / "rows" / f"{line.key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(line), indent=1))


def run(study: panel.Panel, brain: str, folder: Path, cores: int) -> list[Line]:
    """Make and run one panel, and measure its rows."""
    started = time.monotonic()
    panel.make(study, cores)
    panel.run(study, cores)
    seconds = (time.monotonic() - started) / len(study.disturbances)
    code = page.commit(panel.REPOSITORY)
    lines = []
    for row in study.disturbances:
        result = verdicts.outcome(study, row)
        line = Line(
            row.name,
            brain,
            study.seed,
            result.errors,
            result.silent,
            result.said,
            result.verdict,
            code,
            round(seconds, 1),
        )
        keep(folder, line)
        logs.info(f"{line.key}: {line.verdict}")
        lines.append(line)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser("trust", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", default=[], help="names of disturbances or kinds")
    parser.add_argument("--brains", nargs="*", default=list(brains()))
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--page", type=Path, help="docs/trust.md")
    options = parser.parse_args()
    logs.configure(None)
    folder = options.folder.resolve()
    unknown = set(options.only) - {d.name for d in DISTURBANCES} - {d.kind for d in DISTURBANCES}
    if unknown:
        parser.error(f"no disturbance is called {', '.join(sorted(unknown))}")
    chosen = [d for d in DISTURBANCES if not options.only or {d.name, d.kind} & {*options.only}]
    for brain in options.brains:
        for seed in options.seeds:
            for study in panel.panels(folder, brain, brains()[brain], seed, chosen):
                run(study, brain, folder, options.cores)
    lines = measured(folder)
    logs.info(page.summary(lines))
    if options.page:
        page.write(lines, options.page, len(DISTURBANCES) * len(brains()) * len(SEEDS))


if __name__ == "__main__":
    main()
