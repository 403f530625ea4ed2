"""The work of a rule: the function that the rule is named after, called with what the rule names.

`alignment_pairs` calls `cytopipe.alignment.run_pairs`, `alignment` calls `cytopipe.alignment.run`.
"""

import importlib
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
    """Do the work of one job.

    Parameters
    ----------
    rule : the name of the rule: a stage, or a stage and a part of it joined by `_`.
    files, params : named inputs and outputs, and params; all of them are arguments of the function,
        except for those that `arguments.of_rule` names.
    wildcards, threads : arguments of the function if it takes them.
    resources : a rule with `tasks_per_node` is started as several processes.
    log : the file for messages.
    """
    stage, _, part = rule.partition("_")
    if "tasks_per_node" in resources:
        launching.run(
            stage=stage,
            files=files,
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
