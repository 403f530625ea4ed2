"""Write the reference pages whose content is declared in the code.

The command line comes from the programs' own help texts, the tables from
`cytopipe.formats.tables`, the config reference from the config models.
"""

import contextlib
import importlib
import io
import os
from pathlib import Path

from cytopipe import __main__ as program
from cytopipe.formats import tables

# the width of the help texts
os.environ.setdefault("COLUMNS", "100")


def write(folder: Path) -> None:
    """Write one Markdown page per reference; a page that has not changed keeps its time."""
    folder.mkdir(exist_ok=True)
    pages = {"command-line": command_line(), "config": config(), "tables": all_tables()}
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def command_line() -> str:
    """The help text of every command and every stage."""
    stages = [command for stage in program.STAGES for command in commands_of(stage)]
    return "\n".join(
        [
            "# Command line",
            "",
            "`cytopipe` and `python -m cytopipe` are the same program. Snakemake calls the stages "
            "for you; call one yourself to try it on single files.",
            "",
            "## Commands for a study",
            "",
            *(help_section(command) for command in program.COMMANDS),
            "## Stages",
            "",
            *(help_section(command) for command in stages),
        ]
    )


def commands_of(stage: str) -> list[str]:
    """A stage's commands: `alignment` for `alignment.run`, `alignment-pairs` for `run_pairs`."""
    runs = [
        name
        for name in sorted(dir(importlib.import_module(f"cytopipe.{stage}")))
        if name == "run" or name.startswith("run_")
    ]
    return [stage + name.removeprefix("run").replace("_", "-") for name in runs]


def help_section(command: str) -> str:
    """A heading and the command's help text."""
    return f"### {command}\n\n```text\n{output_of(command, '--help').strip()}\n```\n"


def config() -> str:
    """The config reference, generated from the models; else the commented defaults."""
    title = "# Config\n\nEvery value of `config/config.yaml`.\n\n"
    if "config" in program.COMMANDS:
        return title + output_of("config", "--reference")
    return title + "```{literalinclude} ../../config/config.yaml\n:language: yaml\n```\n"


def all_tables() -> str:
    """Every table with its columns, dtypes and units."""
    kinds = [kind for name, kind in vars(tables).items() if name.endswith("Row") and name != "Row"]
    return "\n".join(
        [
            "# Tables",
            "",
            "All tables are Parquet files, unless their name ends in `.tsv`. "
            "[Results](../results.md) says which file holds which table.",
            "",
            *(table_section(kind) for kind in sorted(kinds, key=tables.title)),
        ]
    )


def table_section(kind: type[tables.Row]) -> str:
    """A heading, what a row is, and one line per column."""
    lines = [
        f"| `{column.name}` | {column.dtype} | {column.unit} | {column.meaning} |"
        for column in tables.columns(kind)
    ]
    head = ["| column | dtype | unit | meaning |", "|---|---|---|---|"]
    return "\n".join([f"## {tables.title(kind)}", "", str(kind.__doc__), "", *head, *lines, ""])


def output_of(*words: str) -> str:
    """Run a command of `cytopipe` in this process and return its standard output."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        program.main(list(words))
    return output.getvalue()
