"""The examples of the documentation run, and its reference pages name what the code declares."""

import doctest
import re
import sys
from pathlib import Path

from empty_study import ROOT

from cytopipe.__main__ import COMMANDS, STAGES

sys.path.insert(0, str(ROOT / "docs"))
import generate


def test_the_examples_of_the_api_run(shell_study_folder: Path, tmp_path: Path) -> None:
    failed, tried = doctest.testfile(
        str(ROOT / "docs" / "api.md"),
        module_relative=False,
        globs={"folder": tmp_path / "model", "study_folder": shell_study_folder},
        optionflags=doctest.ELLIPSIS,
    )
    assert tried > 20
    assert failed == 0


def test_the_command_line_page_has_every_command_and_stage() -> None:
    usages = re.findall(r"^usage: cytopipe (\S+)", generate.command_line(), re.MULTILINE)
    assert set(COMMANDS) <= set(usages)
    assert set(STAGES) <= {usage.partition("-")[0] for usage in usages}
    assert {"alignment-pairs", "evaluation-areas"} <= set(usages)


def test_the_page_of_tables_has_every_column_with_its_unit() -> None:
    text = generate.all_tables()
    for title in ("point", "stack", "layer patch"):
        assert f"## {title}\n" in text
    assert "| `thickness_mm` | float64 | mm |" in text
