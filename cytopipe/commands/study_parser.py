"""What the commands share: the option `--study`, its config, numbers."""

import argparse
from collections.abc import Callable
from pathlib import Path

from cytopipe.files import InputError
from cytopipe.formats.text import finite, whole


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


def number(text: str) -> float:
    """A number of the command line, as the type of an option; `0_5` and `nan` are refused."""
    return finite(text, "it")


def whole_number(text: str) -> int:
    """A whole number from 0 of the command line, as the type of an option."""
    return whole(text, "it")


def config_of(study: Path) -> Path:
    """The path of a study's config; raises InputError if the folder is not a study."""
    path = study / "config" / "config.yaml"
    if not path.exists():
        raise InputError(f"{study} has no config/config.yaml; name a study with --study")
    return path
