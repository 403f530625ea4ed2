"""`python -m cytopipe COMMAND ...`: commands on a study, and the stages without Snakemake.

The options of a stage are the arguments of its `run`; `alignment-pairs` calls
`alignment.run_pairs`. `python -m cytopipe reconstruction --help` lists them.
"""

import argparse
import ast
import importlib
import importlib.util
import inspect
import json
import re
import signal
import sys
import textwrap
import traceback
import types
import typing
from pathlib import Path
from typing import Any

from cytopipe import __version__, logs
from cytopipe.arguments import MAPPINGS, SEQUENCES, UNIONS, convert
from cytopipe.commands.study_parser import number, whole_number
from cytopipe.files import InputError
from cytopipe.formats.text import whole
from cytopipe.study import config as study_config

# modules of cytopipe.commands, in the order in which a lab needs them
COMMANDS = (
    "phantom",
    "init",
    "template",
    "add-brain",
    "check",
    "run",
    "queue",
    "config",
    "status",
    "audit",
    "provenance",
    "export",
    "shipped",
)
# descriptions of arguments that mean the same in every stage
_COMMON = {
    "brain": "the name of the brain",
    "run": "the name of the pretraining run",
    "section": "the section to work on",
    "threads": "the number of threads that libraries may use",
    "scores": "the table to write",
    "html": "the figure to write, as a page",
}
# in the order in which they run
STAGES = (
    "pyramids",
    "segmentation",
    "alignment",
    "reconstruction",
    "midsurface",
    "midline",
    "coordinates",
    "patches",
    "pretraining",
    "features",
    "evaluation",
    "mapping",
    "report",
)
# run like a stage, but only for a phantom
SCORING = ("truth",)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    options = _options(words)
    if options.help or not options.words:
        print(overview())
        return 0
    logs.configure(None, quiet=options.quiet)
    command, *rest = options.words
    name, _, part = command.partition("-")
    try:
        if command in COMMANDS:
            module = importlib.import_module(f"cytopipe.commands.{command.replace('-', '_')}")
            return int(module.run(rest))
        if name in (*STAGES, *SCORING):
            return stage(name, part, rest)
    except InputError as error:
        if options.verbose:
            traceback.print_exc()
        print(f"cytopipe {command}: {error}", file=sys.stderr)
        return 1
    print(f"cytopipe: unknown command {command!r}; see cytopipe --help", file=sys.stderr)
    return 2


def _options(words: list[str]) -> argparse.Namespace:
    """The options before the command; those behind it belong to the command."""
    parser = argparse.ArgumentParser("cytopipe", add_help=False)
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--version", action="version", version=f"cytopipe {__version__}")
    parser.add_argument("--quiet", "-q", action="store_true")
    parser.add_argument("--verbose", "-v", action="store_true")
    parser.add_argument("words", nargs=argparse.REMAINDER)
    return parser.parse_args(words)


def overview() -> str:
    """All commands and stages with a line each."""
    commands = {name: f"cytopipe.commands.{name.replace('-', '_')}" for name in COMMANDS}
    stages = {name: f"cytopipe.{name}" for name in (*STAGES, *SCORING)}
    lines = [
        "usage: cytopipe [-h] [--version] [-q] [-v] COMMAND ...",
        "",
        "  -q, --quiet    no messages about progress",
        "  -v, --verbose  where in the code an error arose",
    ]
    for title, modules in (
        ("commands for a study", commands),
        ("stages without Snakemake, which runs them for you", stages),
    ):
        lines += ["", f"{title}:"]
        for name, module in modules.items():
            lines += textwrap.wrap(
                f"  {name:<15}{_summary(module)}", 100, subsequent_indent=" " * 17
            )
    return "\n".join([*lines, "", "cytopipe COMMAND --help describes the options of a command."])


def _summary(module: str) -> str:
    """The first line of a module's docstring; importing some modules takes seconds."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_text())) or ""
    return text.partition("\n")[0].rpartition("`: ")[2].rstrip(".:")


def stage(name: str, part: str, arguments: list[str]) -> int:
    """Run one stage on files, with options from the signature of its `run`."""
    # Slurm's warning before a time limit would end a program that is still importing torch: block
    # it until the training handles it
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    module = importlib.import_module(f"cytopipe.{name}")
    # names, not functions: importing some of them takes seconds
    runs = {
        function.removeprefix("run").removeprefix("_").replace("_", "-"): function
        for function in sorted(dir(module))
        if function == "run" or function.startswith("run_")
    }
    if part not in runs:
        commands = ", ".join(f"{name}-{key}" if key else name for key in runs)
        raise InputError(f"there is no such stage; use {commands}")
    run = getattr(module, runs[part])
    hints = typing.get_type_hints(run)
    about, meanings = _described(run)
    parser = argparse.ArgumentParser(
        f"cytopipe {name}-{part}".rstrip("-"),
        description=about,
        epilog=study_config.help_text(hints["params"]) if "params" in hints else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for argument in inspect.signature(run).parameters:
        _add_option(parser, argument, hints[argument], meanings.get(argument, ""))
    if {"section", "sections"} & set(hints):
        parser.add_argument(
            "--select", default="", help="the sections to use: BRAIN or BRAIN:FIRST-LAST"
        )
    options = vars(parser.parse_args(arguments))
    run(
        **{key: _value(key, name, options, hints[key]) for key in inspect.signature(run).parameters}
    )
    return 0


def _described(run: Any) -> tuple[str, dict[str, str]]:
    """The summary of a function's docstring, and the descriptions of its parameters."""
    about, _, rest = (inspect.getdoc(run) or "").partition("\nParameters\n")
    meanings = dict(_COMMON)
    names: list[str] = []
    for line in rest.split("\n\n", 1)[0].splitlines():
        if entry := re.match(r"(\w[\w, ]*?) : (.*)", line):
            names = entry[1].split(", ")
            meanings |= dict.fromkeys(names, entry[2])
        else:
            meanings |= {name: f"{meanings[name]} {line.strip()}" for name in names}
    return about, meanings


def _add_option(parser: argparse.ArgumentParser, name: str, hint: Any, meaning: str) -> None:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    about = meaning.replace("%", "%%")  # argparse formats its help
    flag = "--" + name.replace("_", "-")
    if name == "params":
        parser.add_argument(
            "--config", type=Path, default=study_config.DEFAULTS, help="the config of the study"
        )
        parser.add_argument(
            "--part", default="", help="a part of the stage's section, e.g. datasets.areas"
        )
        parser.add_argument("--values", help="the values below as JSON, instead of a config")
    elif name in ("sections", "section"):
        parser.add_argument(flag, required=True, type=Path, help=f"sections.tsv: {about}")
    elif origin in SEQUENCES:
        parser.add_argument(flag, nargs="*", default=[], type=_type(inner[0]), help=about)
    elif origin in MAPPINGS:
        value = "KEY=VALUE,VALUE" if typing.get_origin(inner[1]) in SEQUENCES else "KEY=VALUE"
        parser.add_argument(flag, nargs="*", required=True, metavar=value, help=about)
    elif origin is typing.Literal:
        parser.add_argument(flag, required=True, choices=inner, help=about)
    elif origin in UNIONS:
        kinds = [kind for kind in inner if kind is not types.NoneType]
        parser.add_argument(flag, type=_type(kinds[0]), default=None, help=about)
    else:
        parser.add_argument(flag, required=True, type=_type(hint), help=about)


def _type(hint: Any) -> Any:
    """What converts the text of an option."""
    return {float: number, int: whole_number}.get(hint, hint)


def _value(name: str, stage_name: str, options: dict[str, Any], hint: Any) -> Any:
    value: Any = options.get(name)
    if name == "params":
        if (text := options["values"]) is not None:
            try:
                values = json.loads(text)
            except json.JSONDecodeError as error:
                remedy = "quote it for the shell"
                raise InputError(f"--values {text!r}: not JSON ({error}); {remedy}") from error
            return study_config.checked(hint, values, "--values")
        path = options["config"]
        section = study_config.section_of(hint) or stage_name
        settings = _settings(section, options["part"], path)
        return study_config.checked(hint, settings, str(path), section)
    if name in ("section", "sections"):
        selected = _select(value, options["select"])
        if name == "section" and len(selected) != 1:
            raise InputError(f"--select selects {len(selected)} sections; select exactly one")
        return selected if name == "sections" else selected[0]
    if typing.get_origin(hint) in MAPPINGS:
        pairs = [word.partition("=") for word in value]
        lists = typing.get_origin(typing.get_args(hint)[1]) in SEQUENCES
        return convert(hint, {key: text.split(",") if lists else text for key, _, text in pairs})
    return value


def _settings(section_name: str, part: str, path: Path) -> dict[str, Any]:
    """A section of a config, or a part of it such as `datasets.areas` or `runs.spatialnce`."""
    section = study_config.read(path).get(section_name)
    study_config.check_section(section_name, section, str(path))
    settings: dict[str, Any] = section or {}
    for key in part.split(".") if part else []:
        if key not in settings:
            raise InputError(f"{path}: {section_name} has no {part!r}; use one of {[*settings]}")
        settings = settings[key]
    if part.startswith("runs."):
        settings = study_config.merge((section or {})["common"], settings)
    return settings


def _select(table: Path, what: str) -> list[Any]:
    """Sections of a sections.tsv: all, those of a brain, or a range of a brain."""
    from cytopipe.study.sections import read_sections

    brain, _, numbers = what.partition(":")
    first, _, last = numbers.partition("-")
    lowest = whole(first or "0", "the first section of --select")
    highest = whole(last or first, "the last section of --select") if first or last else sys.maxsize
    return [
        section
        for section in read_sections(table)
        if brain in ("", section.brain) and lowest <= section.section <= highest
    ]


if __name__ == "__main__":
    sys.exit(main())
