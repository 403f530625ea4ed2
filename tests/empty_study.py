"""A study of empty files, which can be planned but not run: its tables, its results, its plans."""

import asyncio
import io
import os
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from unittest.mock import patch

import yaml
from snakemake.api import (
    DAGSettings,
    ExecutionSettings,
    OutputSettings,
    ResourceSettings,
    SnakemakeApi,
    WorkflowSettings,
)
from snakemake.settings.enums import Quietness

import cytopipe
from cytopipe.study import config as study_config

ROOT = Path(__file__).parents[1]
DEFAULTS = study_config.read(ROOT / "config" / "config.yaml")
ATLAS: Mapping[str, Any] = MappingProxyType(
    {"template": {"atlas": "template/atlas.nii.gz", "areas": "template/areas.tsv"}}
)
LONG_AGO_S = 1_000_000_000  # seconds since 1970


def write(
    study: Path,
    roles: Mapping[str, str],
    numbers: Iterable[int],
    changes: Mapping[str, Any] = ATLAS,
    scans: Collection[tuple[str, int]] = (),
) -> Path:
    """A new study.

    Parameters
    ----------
    numbers : of the sections of each brain.
    changes : over config/config.yaml.
    scans : brain and section of what is no pyramid yet.
    """
    rows = ["brain\tsection\timage\tspacing_um\tthickness_um"]
    for brain in roles:
        for number in numbers:
            ending = "png" if (brain, number) in scans else "ome.tif"
            image = f"images/{brain}_{number}.{ending}"
            lay_down(study / image)
            rows.append(f"{brain}\t{number}\t{image}\t1\t20")
    (study / "config").mkdir(exist_ok=True)
    (study / "config" / "sections.tsv").write_text("\n".join(rows) + "\n")
    lines = "".join(f"{brain}\t{role}\n" for brain, role in roles.items())
    (study / "config" / "brains.tsv").write_text(f"brain\trole\n{lines}")
    # whatever numbers a test chooses, the brain is in one piece, and long enough
    whole = {"reconstruction": {"max_gap_mm": 100.0, "voxel_mm": 0.06}}
    config = study_config.merge(study_config.merge(DEFAULTS, whole), changes)
    (study / "config" / "config.yaml").write_text(yaml.safe_dump(config))
    for key in ("tissue", "atlas", "areas"):
        if config["template"][key]:
            lay_down(study / config["template"][key])
    return study


def lay_down(path: Path) -> None:
    """An empty input, older than every result."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (LONG_AGO_S, LONG_AGO_S))


@contextmanager
def started(
    study: Path, house: Path, ancient: Mapping[str, set[str]], quiet: Quietness
) -> Iterator[Any]:
    """Snakemake's API of a workflow, in this process: a fresh one takes a second to start."""
    # the rules read each VERSION from the folder of the package
    package = patch.object(cytopipe, "__file__", str(house / "cytopipe" / "__init__.py"))
    output = OutputSettings(quiet={quiet}, enable_file_logging=False)
    with package, SnakemakeApi(output) as api:
        yield api.workflow(
            ResourceSettings(cores=1),
            snakefile=house / "Snakefile",
            workdir=study,
            workflow_settings=WorkflowSettings(
                consider_ancient=ancient, runtime_source_cache_path=study / ".snakemake" / "sources"
            ),
        )


@contextmanager
def planned(
    study: Path, house: Path, ancient: Mapping[str, set[str]], selection: DAGSettings
) -> Iterator[Any]:
    """Snakemake's workflow, planned."""
    with started(study, house, ancient, Quietness.ALL) as workflow:
        with redirect_stdout(None):
            workflow.dag(selection).printrulegraph()  # plans, and has least to print
        workflow._workflow.dag.cleanup()  # removes what lies beyond --until
        yield workflow._workflow


class Plan(NamedTuple):
    """Jobs, each a rule and the values of its wildcards: `midline B01 00480`."""

    listed: set[str]  # by `snakemake -n`
    every: set[str]  # of the whole workflow


def dry_run(
    study: Path,
    house: Path = ROOT,
    ancient: Mapping[str, set[str]] = MappingProxyType({}),
    **selection: Collection[str],
) -> Plan:
    """What `snakemake -n` says.

    Parameters
    ----------
    house : the folder of the Snakefile.
    ancient : what --consider-ancient is given, rule to names of inputs.
    **selection : files or rules to make (`targets`), or what `--until` or `--forcerun` is given.
    """
    settings = DAGSettings(**{name: frozenset(values) for name, values in selection.items()})
    with planned(study, house, ancient, settings) as workflow:
        return Plan(
            *(
                {" ".join([job.rule.name, *job.wildcards_dict.values()]) for job in jobs}
                for jobs in (workflow.dag.needrun_jobs(exclude_finished=False), workflow.dag.jobs)
            )
        )


def printed(study: Path) -> str:
    """What `snakemake -n --rerun-incomplete` prints."""
    text = io.StringIO()
    api = started(study, ROOT, {}, Quietness.HOST)
    with redirect_stdout(text), redirect_stderr(text), api as workflow:
        workflow.dag(DAGSettings(force_incomplete=True)).execute_workflow(executor="dryrun")
    return text.getvalue()


def count_jobs(study: Path, house: Path = ROOT, **selection: Collection[str]) -> Counter[str]:
    """How many jobs of each rule `snakemake -n` lists; the arguments are those of `dry_run`."""
    return Counter(job.split()[0] for job in dry_run(study, house, **selection).listed)


def finish(study: Path, house: Path = ROOT) -> None:
    """Make every result, an empty file, and the records that Snakemake keeps of a finished job.

    `--touch --forceall` does the same to files that exist, in a tenth of a second a job and more.
    """
    moment = time.time()  # newer than the scripts
    with planned(study, house, {}, DAGSettings()) as workflow:
        workflow.execution_settings = ExecutionSettings()
        workflow.iocache.deactivate()
        workflow.persistence.deactivate_cache()
        for level in workflow.dag.toposorted():
            for job in level:
                for path in job.output:
                    folder = Path(path) if path.is_directory else Path(path).parent
                    folder.mkdir(parents=True, exist_ok=True)
                    if not path.is_directory:
                        Path(path).touch()
                    # one moment for all: nothing is newer than what was made of it
                    os.utime(path, (moment, moment))
                asyncio.run(workflow.persistence.finished(job))
