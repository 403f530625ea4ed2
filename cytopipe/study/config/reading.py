"""The config's files: read, merged with a preset, and checked against the models."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from cytopipe.files import InputError, reading, shipped
from cytopipe.formats.text import read_text
from cytopipe.study.config.base import ConfigSection
from cytopipe.study.config.describing import allowed_values, schema_at
from cytopipe.study.config.model import NOT_IN_A_STUDY, Config, section_model

M = TypeVar("M", bound=ConfigSection)

DEFAULTS = shipped("config/config.yaml")


_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
# YAML 1.1 reads 0400 as octal, 1:30 to base 60, 1_0 as 10; .nan is not a value for a setting
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]*|[0-9]*\.[0-9]+|[0-9]+\.)([eE][-+]?[0-9]+)?")


# bounds of a config, which has some 30,000 characters and five levels
_MOST_VALUES, _DEEPEST = 1_000_000, 50


# the parser in C, where PyYAML has it
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Refuses what YAML reads without a word: a key twice (the last one), numbers to base 8 or 60.

    Such numbers are those that are not plain decimal ones.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key.value!r} stands twice in one mapping; remove one",
                    problem_mark=key.start_mark,
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_scalar(self, node: yaml.ScalarNode) -> Any:
        if node.tag in _NUMBERS and not _DECIMAL.fullmatch(node.value):
            raise yaml.constructor.ConstructorError(
                problem=f"{node.value} is not a plain decimal number; write it as one, such as 256 "
                "or 0.5, or put text in quotes",
                problem_mark=node.start_mark,
            )
        return super().construct_scalar(node)


def _check_size(text: str) -> None:
    """Raise ValueError for a text that takes the memory, the time or the stack of its reader.

    A few aliases of aliases make billions of values, and a line of brackets as many calls.
    """
    sizes: dict[str, int] = {}  # values under each anchor
    unfinished: list[tuple[str | None, int]] = []  # anchor, and values before it
    count = len(text)
    for event in yaml.parse(text, Loader=_Loader) if count <= _MOST_VALUES else ():
        count += sizes.get(str(event.anchor), 0) if isinstance(event, yaml.AliasEvent) else 1
        if isinstance(event, yaml.CollectionStartEvent):
            unfinished.append((event.anchor, count))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = unfinished.pop()
            if anchor is not None:
                sizes[anchor] = count - before
        if count > _MOST_VALUES or len(unfinished) > _DEEPEST:
            break
    if count > _MOST_VALUES or unfinished:
        raise ValueError(
            f"more than {_MOST_VALUES} characters and values, or more than {_DEEPEST} levels; a "
            "config is much smaller"
        )


def read(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises
    ------
    InputError
        If the file is missing, is not YAML, is not a mapping, has a duplicate key, or a number that
        is not plain decimal.
    """
    text = read_text(path, f"a study needs it; start from a copy of {DEFAULTS}")
    with reading(path, "YAML file", "correct the line"):
        try:
            _check_size(text)
            content = yaml.load(text, Loader=_Loader)
        except yaml.YAMLError as error:
            raise InputError(f"{path}: not readable as YAML ({error}); correct the line") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no sections; start from {DEFAULTS}")
    return content


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `change`, mapping by mapping; lists are replaced whole."""
    merged = dict(base)
    for key, value in change.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def take_phantom(preset: dict[str, Any]) -> dict[str, Any]:
    """Remove the section `phantom` from a preset; what it does not name is as in demo.yaml."""
    demo = read(shipped("config/presets/demo.yaml"))
    return {**demo[NOT_IN_A_STUDY], **preset.pop(NOT_IN_A_STUDY)}


def check(config: Mapping[str, Any], name: str = "config/config.yaml") -> Config:
    """The config as a model.

    Raises
    ------
    InputError
        For the first unknown section or key, missing key, or value out of its range; the message
        names the key, the value and what is allowed.
    """
    known = list(Config.model_fields)
    for section in config:
        if section not in known:
            raise InputError(f"{name}: unknown section {section!r}; allowed: {', '.join(known)}")
    for section in known:
        if section not in config:
            raise InputError(f"{name}: section {section!r} is missing; copy it from {DEFAULTS}")
    return checked(Config, config, name)


def check_section(section: str, values: Any, name: str) -> ConfigSection:
    """One section as a model; raises as `check`."""
    return checked(section_model(section), values, name, section)


def checked(model: type[M], values: Any, name: str, prefix: str = "") -> M:
    """Values as a model; raises as `check`, with keys that begin with `prefix`."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = error.errors(include_url=False)
    # a misspelt key is unknown, and the right one missing: the message shows the misspelling
    unknown = [problem for problem in problems if problem["type"] == "extra_forbidden"]
    problem = (unknown or problems)[0]
    raise InputError(f"{name}: {_message(model, values, problem, prefix)}")


def _message(
    model: type[ConfigSection], values: Any, problem: Mapping[str, Any], prefix: str
) -> str:
    kind, steps = problem["type"], list(problem["loc"])
    if kind in ("extra_forbidden", "missing"):
        key, steps = steps[-1], steps[:-1]
    schema, path = schema_at(model, steps)
    if kind == "value_error" and "properties" in schema:  # of several values together
        return str(problem["ctx"]["error"])
    where = ".".join(filter(None, [prefix, *path]))
    value = values
    for step in path:
        value = value[step]
    meaning = f" ({text})" if (text := schema.get("description")) else ""
    if kind == "extra_forbidden":
        known = ", ".join(schema["properties"])
        written = f"{problem['input']!r:.200}"
        return f"{where}.{key} is unknown (its value: {written}); allowed keys: {known}"
    if kind == "missing":
        about = schema["properties"][key].get("description", f"copy it from {DEFAULTS}")
        return f"{where}.{key} is missing; add it ({about})"
    if steps and steps[-1] == "[key]":
        return f"{where} has the name {problem['input']!r}, which is not allowed{meaning}"
    return f"{where} is {value!r:.200}; give {allowed_values(schema)}{_of_yaml(value)}{meaning}"


def _of_yaml(value: Any) -> str:
    """Why a number in the file may have been read as something else."""
    if isinstance(value, bool):
        return f". YAML reads yes, no, on and off as {str(value).lower()}: put text in quotes"
    if not isinstance(value, str):
        return ""
    try:
        number = float(value)
    except ValueError:
        return ""
    if not math.isfinite(number):
        return ""
    if "e" in value.lower():
        return f". YAML reads {value} as text: write {number!r} or 1.0e-3, with a point and a sign"
    return f". It is text: write {value} without quotes"
