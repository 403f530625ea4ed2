"""`python -m cytopipe status`: where a study stands."""

import argparse
import sys
from pathlib import Path

from cytopipe.formats import truth_table


def run(arguments: list[str]) -> int:
    """Say where a study's report is and, if its truth is known, how far each stage is from it."""
    parser = argparse.ArgumentParser("cytopipe status", description=run.__doc__)
    parser.add_argument("--study", type=Path, default=Path(), help="study folder; here by default")
    study: Path = parser.parse_args(arguments).study
    report = study / "results" / "report" / "index.html"
    truth = report.with_name("truth.tsv")
    if truth.exists():
        print(truth_table.format_table(truth_table.read(truth), colour=sys.stdout.isatty()))
    print(f"report: {report}" if report.exists() else f"{report} is not made yet; run snakemake")
    return 0
