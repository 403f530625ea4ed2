"""The arguments of a stage's `run`, read from its signature: which are outputs, and of what type.

The signature is the only declaration: a rule passes plain values by the names of the arguments,
and each gets the type that its annotation asks for.
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
    """Names of the arguments that are written: those annotated with `files.Output`."""
    hints = typing.get_type_hints(run, include_extras=True)
    return {name for name, hint in hints.items() if _is_written(hint)}


def of_rule(
    run: Callable[..., None], values: Mapping[str, Any], of_job: Mapping[str, Any]
) -> dict[str, Any]:
    """What a rule holds, as the arguments of the function that it calls.

    Parameters
    ----------
    values : named inputs, outputs and params, all of which must be arguments, but for `version`,
        which only reruns the rule, and `keyed_by`, the keys of arguments that are mappings.
    of_job : wildcards and `threads`, of which the function takes what it names; a function that
        starts processes takes the threads as `workers`.

    Raises
    ------
    TypeError
        If `run` has no argument of a name, or lacks a value for one.
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
    """A plain value, as Snakemake and JSON hold it, as the annotation `hint` asks for it.

    Strings become paths or numbers, and mappings become dataclasses or config models. An empty list
    is None where the argument is optional. A list becomes a mapping with `keys`, in order; one to
    lists, where the annotation asks for that.
    """
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in UNIONS:
        kind = next(kind for kind in inner if kind is not types.NoneType)
        return None if value is None or _is_empty(value) else convert(kind, value, keys)
    if origin in SEQUENCES:
        return [convert(inner[0], item) for item in _listed(value)]
    if origin in MAPPINGS:
        if not isinstance(value, Mapping):
            value = _keyed(_listed(value), keys, typing.get_origin(inner[1]) in SEQUENCES)
        return {key: convert(inner[1], item) for key, item in value.items()}
    if isinstance(value, Mapping):
        return hint(**value)
    if hint in (Path, int, float):
        [single] = _listed(value)
        return hint(single) if isinstance(single, str) else single
    return value


def _keyed(values: Sequence[Any], keys: Sequence[str], to_lists: bool) -> dict[str, Any]:
    if not values:
        return {}
    if to_lists:
        each = len(values) // len(keys)
        values = [values[start : start + each] for start in range(0, len(values), each)]
    return dict(zip(keys, values, strict=True))


def _listed(value: Any) -> Sequence[Any]:
    return value if _is_list(value) else [value]


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_empty(value: Any) -> bool:
    return _is_list(value) and not value


def _is_written(hint: Any) -> bool:
    marks = getattr(hint, "__metadata__", ())
    return WRITTEN in marks or any(map(_is_written, typing.get_args(hint)))
