"""The arguments of a stage's `run`, whose signature declares their types and which are outputs.

A rule passes plain values under the names of the arguments.
"""

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cytopipe.files import WRITTEN

SEQUENCES, MAPPINGS = (list, tuple, Sequence), (dict, Mapping)
UNIONS = (types.UnionType, typing.Union)


def outputs_of(run: Callable[..., None]) -> set[str]:
    """Names of the arguments annotated with `files.Output`."""
    hints = typing.get_type_hints(run, include_extras=True)
    return {name for name, hint in hints.items() if _is_written(hint)}


def of_rule(
    run: Callable[..., None], values: Mapping[str, Any], of_job: Mapping[str, Any]
) -> dict[str, Any]:
    """Convert the values of a rule to the arguments of the function that it calls.

    Parameters
    ----------
    values : named inputs, outputs and params. All must be arguments, except `version`, which only
        reruns the rule, and `keyed_by`, the keys of arguments that are mappings.
    of_job : wildcards and `threads`, used if the function has such arguments. A function that
        starts processes receives the threads as `workers`.

    Raises
    ------
    TypeError
        If a value is not an argument of `run`, or if an argument has no value.
    """
    expected = inspect.signature(run).parameters
    of_job = {**of_job, "workers": of_job.get("threads")}
    values = {**{name: of_job[name] for name in expected if name in of_job}, **values}
    values.pop("version", None)
    keys = values.pop("keyed_by", [])
    unknown = set(values) - set(expected)
    required = {name for name, each in expected.items() if each.default is each.empty}
    if unknown or required - set(values):
        raise TypeError(
            f"{run.__module__}.{run.__name__}: unknown arguments {sorted(unknown)}, "
            f"missing {sorted(required - set(values))}"
        )
    hints = typing.get_type_hints(run)
    return {name: convert(hints[name], value, keys) for name, value in values.items()}


def convert(hint: Any, value: Any, keys: Sequence[str] = ()) -> Any:
    """Convert a plain value of Snakemake or JSON to the type `hint`.

    Strings become paths or numbers, and mappings become dataclasses or config models. An empty list
    becomes None if None is allowed. A list becomes a mapping from `keys`, in order, to its items or
    to equal parts of it.
    """
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in UNIONS:
        kind = next(kind for kind in inner if kind is not types.NoneType)
        return None if value is None or not _listed(value) else convert(kind, value, keys)
    if origin in SEQUENCES:
        return [convert(inner[0], item) for item in _listed(value)]
    if origin in MAPPINGS:
        if not isinstance(value, Mapping):
            value = _listed(value)
            if value and typing.get_origin(inner[1]) in SEQUENCES:
                each = len(value) // len(keys)
                value = [value[start : start + each] for start in range(0, len(value), each)]
            value = dict(zip(keys, value, strict=True)) if value else {}
        return {key: convert(inner[1], item) for key, item in value.items()}
    if isinstance(value, Mapping):
        return hint(**value)
    if hint in (Path, int, float):
        [single] = _listed(value)
        return hint(single) if isinstance(single, str) else single
    return value


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def _is_written(hint: Any) -> bool:
    marks = getattr(hint, "__metadata__", ())
    return WRITTEN in marks or any(map(_is_written, typing.get_args(hint)))
