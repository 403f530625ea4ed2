"""`python -m cytopipe COMMAND ...`: the chain's stages without Snakemake, and what a study needs.

Commands of `cytopipe.commands` work on a study folder. Every other one is a stage: its options are
the arguments of the stage's `run`, so that `python -m cytopipe reconstruction --help` lists them;
`alignment-pairs` is `alignment.run_pairs`.
"""

import argparse
import importlib
import inspect
import json
import re
import signal
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cytopipe import logs
from cytopipe.files import InputError
from cytopipe.study import config as study_config

# modules of cytopipe.commands, in the order in which a lab meets them
COMMANDS = (
    "phantom",
    "template",
    "add-brain",
    "check",
    "queue",
    "config",
    "status",
    "audit",
    "provenance",
    "export",
    "shipped",
)
_SEQUENCES, _MAPPINGS = (list, tuple, Sequence), (dict, Mapping)
# arguments that mean the same in every stage
_USUAL = {
    "brain": "the name of the brain",
    "run": "the name of the pretraining run",
    "section": "the section to work on",
    "threads": "the number of threads that libraries may use",
    "scores": "the table to write",
    "html": "the figure to write, as a page",
}
# the chain, in its order
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
    "report",
)
# what runs like a stage but belongs to a phantom study alone
SCORING = ("truth",)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] in ("-h", "--help"):
        stages = ", ".join((*STAGES, *SCORING))
        print(f"{__doc__}\non a study: {', '.join(COMMANDS)}\nstages: {stages}")
        return 0
    command, rest = words[0], words[1:]
    name, _, part = command.partition("-")
    try:
        if command in COMMANDS:
            module = importlib.import_module(f"cytopipe.commands.{command.replace('-', '_')}")
            return int(module.run(rest))
        if name in (*STAGES, *SCORING):
            return stage(name, part, rest)
    except InputError as error:
        print(f"cytopipe {command}: {error}", file=sys.stderr)
        return 1
    print(f"cytopipe: unknown command {command!r}; see python -m cytopipe --help", file=sys.stderr)
    return 2


def stage(name: str, part: str, arguments: list[str]) -> int:
    """Run one stage on files; the options come from the signature of its `run`."""
    # Slurm's warning of a time limit would end a program that is still importing torch; it waits
    # until a training listens
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    module = importlib.import_module(f"cytopipe.{name}")
    # names, not functions: some are imported when they are asked for, in seconds
    runs = {
        found.removeprefix("run").removeprefix("_").replace("_", "-"): found
        for found in sorted(dir(module))
        if found == "run" or found.startswith("run_")
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
            "--select", default="", help="the sections to take: BRAIN or BRAIN:FIRST-LAST"
        )
    options = vars(parser.parse_args(arguments))
    logs.configure(None)
    run(
        **{key: _value(key, name, options, hints[key]) for key in inspect.signature(run).parameters}
    )
    return 0


def _described(run: Any) -> tuple[str, dict[str, str]]:
    """What a function does, and the description of each argument in its `Parameters`."""
    about, _, rest = (inspect.getdoc(run) or "").partition("\nParameters\n")
    meanings = dict(_USUAL)
    names: list[str] = []
    for line in rest.split("\n\n", 1)[0].splitlines():
        if entry := re.match(r"(\w[\w, ]*?) : (.*)", line):
            names = entry[1].split(", ")
            meanings |= dict.fromkeys(names, entry[2])
        else:
            meanings |= {name: f"{meanings[name]} {line.strip()}" for name in names}
    return about, meanings


def _add_option(parser: argparse.ArgumentParser, name: str, hint: Any, meaning: str) -> None:
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
    elif typing.get_origin(hint) in _SEQUENCES:
        kind = typing.get_args(hint)[0]
        parser.add_argument(flag, nargs="*", default=[], type=kind, help=about)
    elif typing.get_origin(hint) in _MAPPINGS:
        several = typing.get_origin(typing.get_args(hint)[1]) in _SEQUENCES
        value = "KEY=VALUE,VALUE" if several else "KEY=VALUE"
        parser.add_argument(flag, nargs="*", required=True, metavar=value, help=about)
    elif typing.get_origin(hint) is typing.Literal:
        parser.add_argument(flag, required=True, choices=typing.get_args(hint), help=about)
    elif typing.get_origin(hint) in (types.UnionType, typing.Union):
        kinds = [kind for kind in typing.get_args(hint) if kind is not types.NoneType]
        parser.add_argument(flag, type=kinds[0], default=None, help=about)
    else:
        parser.add_argument(flag, required=True, type=hint, help=about)


def _value(name: str, stage_name: str, options: dict[str, Any], hint: Any) -> Any:
    if name == "params":
        if options["values"] is not None:
            return study_config.checked(hint, _json(options["values"]), "--values")
        path = options["config"]
        section = study_config.section_of(hint) or stage_name
        settings = _settings(section, options["part"], path)
        return study_config.checked(hint, settings, str(path), section)
    if name in ("section", "sections"):
        found = _select(options[name], options["select"])
        if name == "section" and len(found) != 1:
            raise InputError(f"--select takes {len(found)} sections, the stage one; be exact")
        return found if name == "sections" else found[0]
    if typing.get_origin(hint) in _MAPPINGS:
        kind = typing.get_args(hint)[1]
        pairs = [word.partition("=") for word in options[name]]
        if typing.get_origin(kind) in _SEQUENCES:
            each = typing.get_args(kind)[0]
            return {key: [each(part) for part in value.split(",")] for key, _, value in pairs}
        return {key: kind(value) for key, _, value in pairs}
    return options[name]


def _json(text: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"--values {text!r}: no JSON ({error}); quote it for the shell") from error
    return found


def _settings(section_name: str, part: str, path: Path) -> dict[str, Any]:
    """A section of a config, or a part of it: `datasets.areas`, `runs.spatialnce`."""
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
    """Sections of a sections.tsv: all, those of a brain, or of a brain from a number to another."""
    from cytopipe.study.sections import read_sections

    brain, _, numbers = what.partition(":")
    first, _, last = numbers.partition("-")
    lowest, highest = int(first or 0), int(last or first or sys.maxsize)
    return [
        section
        for section in read_sections(table)
        if brain in ("", section.brain) and lowest <= section.section <= highest
    ]


if __name__ == "__main__":
    sys.exit(main())
