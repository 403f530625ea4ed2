"""What `snakemake -n` would run, asked of Snakemake itself in a process of its own."""

import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cytopipe.files import InputError, shipped

_BLOCK = re.compile(r"^(?:local)?rule (\w+):\n((?: {4}.*\n)+)", re.MULTILINE)
_FIELD = re.compile(r"^ {4}(\w+): (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Job:
    """A job that would run.

    Attributes
    ----------
    wildcards : such as brain and chunk.
    outputs, log : relative to the study.
    is_ready : whether it could start now, because no other job of the list makes its inputs.
    """

    rule: str
    wildcards: Mapping[str, str]
    outputs: tuple[str, ...]
    log: str
    is_ready: bool

    @property
    def stage(self) -> str:
        return self.rule.partition("_")[0]


def jobs_to_run(study: Path, profile: str = "") -> list[Job]:
    """The jobs that a dry run lists; those whose process was killed are among them.

    Parameters
    ----------
    profile : of Snakemake, if the study is run with one.

    Raises
    ------
    InputError
        If Snakemake cannot plan the study, with what it says.
    """
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--rerun-incomplete"]
    # a profile may ask for less
    command += ["--quiet", "host", "--directory", str(study)]
    command += ["--snakefile", str(shipped("Snakefile"))]
    command += ["--profile", profile] if profile else []
    run = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    if run.returncode:
        _, _, reason = run.stdout.rpartition("Building DAG of jobs...\n")
        raise InputError(f"{study}: Snakemake cannot plan this study:\n{reason.strip()}")
    return parse(run.stdout)


def parse(text: str) -> list[Job]:
    """The jobs in the text of a dry run; the rule `all`, which makes no file, is left out."""
    blocks = [(rule, dict(_FIELD.findall(block))) for rule, block in _BLOCK.findall(text)]
    blocks = [(rule, fields) for rule, fields in blocks if "output" in fields]
    made = {path for _, fields in blocks for path in _items(fields["output"])}
    return [
        Job(
            rule,
            wildcards=dict(pair.split("=", 1) for pair in _items(fields.get("wildcards", ""))),
            outputs=tuple(_items(fields["output"])),
            log=fields["log"],
            is_ready=made.isdisjoint(_items(fields.get("input", ""))),
        )
        for rule, fields in blocks
    ]


def _items(listed: str) -> list[str]:
    return listed.split(", ") if listed else []
