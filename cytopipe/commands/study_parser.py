"""The argument parser that the commands on a study share."""

import argparse
from collections.abc import Callable
from pathlib import Path


def study_parser(
    command: str, run: Callable[[list[str]], int], more: str = ""
) -> argparse.ArgumentParser:
    """A parser with the option `--study`, described by the docstring of `run` and by `more`."""
    parser = argparse.ArgumentParser(
        f"cytopipe {command}",
        description=f"{run.__doc__}{more}",
        formatter_class=argparse.RawDescriptionHelpFormatter if more else argparse.HelpFormatter,
    )
    parser.add_argument("--study", type=Path, default=Path(), help="study folder; here by default")
    return parser
