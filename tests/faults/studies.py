"""A finished study, copies of it to be ill-treated, and what a copy differs in afterwards."""

import base64
import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# a study's folders that stages only read
INPUTS = ("config", "images", "template", "truth", "annotations", "manual")


@dataclass(frozen=True)
class Job:
    """What Snakemake has written down about a job that it finished.

    Attributes
    ----------
    outputs, inputs, log : relative to the study.
    cpu_s : CPU time of its process: unlike its life, the same on a busy machine.
    """

    rule: str
    outputs: tuple[str, ...]
    inputs: tuple[str, ...]
    log: str
    cpu_s: float


def jobs_of(study: Path) -> list[Job]:
    """Every finished job, in the order in which they ended."""
    outputs: dict[tuple[str, str], list[str]] = {}
    records = {}
    metadata = study / ".snakemake" / "metadata"
    for path in sorted(metadata.rglob("*")):
        if path.is_file():
            encoded = "".join(part.lstrip("@") for part in path.relative_to(metadata).parts)
            record = json.loads(path.read_text())
            key = (record["rule"], record["log"][0])
            outputs.setdefault(key, []).append(base64.urlsafe_b64decode(encoded).decode())
            records[key] = record
    ends = sorted(records, key=lambda key: (records[key]["endtime"], key))
    return [
        Job(
            rule=rule,
            outputs=tuple(sorted(outputs[rule, log])),
            inputs=tuple(records[rule, log]["input"]),
            log=log,
            cpu_s=_cpu_s(study, log),
        )
        for rule, log in ends
    ]


def _cpu_s(study: Path, log: str) -> float:
    """Of the job's benchmark, which lies as its log does."""
    head, row = (
        (study / "benchmarks" / Path(log).relative_to("logs"))
        .with_suffix(".tsv")
        .read_text()
        .splitlines()[:2]
    )
    return float(dict(zip(head.split("\t"), row.split("\t"), strict=True))["cpu_time"])


def first_of_each_rule(study: Path) -> dict[str, Job]:
    """One job of each rule: of a network that is trained, where there is a choice."""
    jobs = jobs_of(study)
    return {job.rule: job for job in sorted(jobs, key=lambda job: "spatialnce" in job.log)}


def copy(finished: Path, study: Path) -> Path:
    """A study with the same content; files are shared until a stage writes them anew.

    Stages rename new files into place, so that the shared ones stay as they are.
    """
    shutil.rmtree(study, ignore_errors=True)
    for name in (*INPUTS, "results"):
        if (finished / name).exists():
            shutil.copytree(finished / name, study / name, copy_function=os.link)
    kept = shutil.ignore_patterns("log", "locks", "incomplete", "scripts", "iocache")
    shutil.copytree(finished / ".snakemake", study / ".snakemake", ignore=kept)
    return study


def without(study: Path, *jobs: Job) -> Path:
    """Delete what the jobs have written."""
    for job in jobs:
        for output in job.outputs:
            if (study / output).is_dir():
                shutil.rmtree(study / output)
            else:
                (study / output).unlink()
    return study


@cache
def _digest(path: Path, inode: int, changed_ns: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    found = path.stat()
    return _digest(path, found.st_ino, found.st_mtime_ns)


def artifacts(study: Path) -> dict[Path, str]:
    """SHA-256 of every file under results/, by its path in the study; dot files too."""
    return {
        path.relative_to(study): digest(path)
        for path in sorted((study / "results").rglob("*"))
        if path.is_file()
    }


def differences(study: Path, finished: Path) -> list[str]:
    """How the artifacts of a study differ from those of the undisturbed one."""
    here, there = artifacts(study), artifacts(finished)
    found = []
    for path in sorted(here.keys() | there.keys()):
        if path not in here:
            found.append(f"{path}: missing")
        elif path not in there:
            found.append(f"{path}: left over")
        elif here[path] != there[path]:
            found.append(f"{path}: other bytes")
    return found


def wrong(study: Path, finished: Path, job: Job) -> list[str]:
    """Outputs of a job that are there and are not what the undisturbed run wrote."""
    return [
        f"{output}: other bytes"
        for output in job.outputs
        if (study / output).exists() and digest(study / output) != digest(finished / output)
    ]
