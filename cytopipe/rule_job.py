"""The job of a rule: `alignment` calls `alignment.run`, `alignment_pairs` calls its `run_pairs`."""

import importlib
import importlib.util
from collections.abc import Mapping
from typing import Any

from cytopipe import arguments, logs
from cytopipe.cluster import launching


def run(
    *,
    rule: str,
    files: Mapping[str, Any],
    params: Mapping[str, Any],
    wildcards: Mapping[str, str],
    threads: int,
    resources: Mapping[str, Any],
    log: str,
) -> None:
    """Run one job.

    Parameters
    ----------
    rule : name of the rule, a stage or `{stage}_{part}`, perhaps after a prefix (see `plain`).
    files : named inputs and outputs.
    wildcards, threads : passed if the function has such arguments (see `arguments.of_rule`).
    resources : a rule with `tasks_per_node` is started as several processes;
        its function receives no wildcards.
    log : file for messages.
    """
    rule = plain(rule)
    stage, _, part = rule.partition("_")
    if "tasks_per_node" in resources:
        others = {name: params[name] for name in params.keys() - {"params", "version"}}
        launching.run(
            stage=rule.replace("_", "-"),
            files={**files, **others},
            params=params["params"],
            threads=threads,
            nodes=resources["nodes"],
            processes_per_node=resources["tasks_per_node"],
            launcher=resources["mpi"],
            log=log,
        )
        return
    logs.configure(log)
    function = getattr(importlib.import_module(f"cytopipe.{stage}"), f"run_{part}".rstrip("_"))
    of_job = {**wildcards, "threads": threads}
    function(**arguments.of_rule(function, {**files, **params}, of_job))


def plain(rule: str) -> str:
    """The name of a rule without the prefix of a workflow that uses ours as a module.

    Such a workflow may say `use rule * from cytopipe as brains_*`.
    """
    words = rule.split("_")
    for start, word in enumerate(words):
        if importlib.util.find_spec(f"cytopipe.{word}") is not None:
            return "_".join(words[start:])
    raise ValueError(f"the rule {rule} is named after no stage")
