"""What the models tell people: allowed values, the reference, the comments of config.yaml."""

import functools
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cytopipe.study.config.base import ConfigSection

_KINDS = {"number": "a number", "integer": "a whole number", "string": "text"}


@dataclass(frozen=True)
class Key:
    """One value of the config.

    Attributes
    ----------
    path : the keys that lead to it; `*` stands for any name.
    allowed : type and range in words.
    unit, source, text : as declared in the model; empty where there is none.
    """

    path: tuple[str, ...]
    allowed: str
    unit: str
    source: str
    text: str


def keys(model: type[ConfigSection]) -> list[Key]:
    """Every value of a section, or of the whole config, in order."""
    return list(_keys(resolved(model), ()))


def _keys(schema: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[Key]:
    inner = inner_schemas(schema)
    if any(value.get("type") == "object" for value in inner.values()) or (
        "*" not in inner and inner
    ):
        for name, value in inner.items():
            yield from _keys(value, (*path, name))
    else:
        yield Key(
            path,
            allowed_values(schema),
            schema.get("unit", ""),
            schema.get("source", ""),
            schema.get("description", ""),
        )


def help_text(model: type[ConfigSection]) -> str:
    """Every value of a section with its unit, range and meaning, for a terminal."""
    blocks = []
    for key in keys(model):
        unit = f" [{key.unit}]" if key.unit else ""
        blocks.append(f"  {'.'.join(key.path)}{unit}: {key.allowed}")
        blocks += textwrap.wrap(key.text, 96, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(["values of the config:", *blocks])


def schema_at(
    model: type[ConfigSection], steps: Sequence[str | int]
) -> tuple[dict[str, Any], list[str]]:
    """The JSON schema of a value and its path; stops before the items of a list."""
    schema, path = resolved(model), []
    for step, following in zip(steps, [*steps[1:], None]):
        inner = inner_schemas(schema).get(str(step)) or inner_schemas(schema).get("*")
        # a name that is not allowed is an error of the mapping that holds it
        if inner is None or following == "[key]":
            break
        schema = inner
        path.append(str(step))
    return schema, path


def allowed_values(schema: Mapping[str, Any]) -> str:
    """Type and range of a JSON schema in words, as in `a number above 0`."""
    if "anyOf" in schema:
        return " or ".join(allowed_values(each) for each in schema["anyOf"])
    if "enum" in schema:
        *values, last = map(str, schema["enum"])
        return f"{', '.join(values)} or {last}"
    if "const" in schema:
        return str(schema["const"])
    if "inWords" in schema:
        return f"text: {schema['inWords']}"
    kind = schema.get("type", "object")
    if kind == "array":
        return _list(schema)
    if kind in _KINDS:
        return _KINDS[kind] + _range(schema)
    if kind == "object":
        of_names = inner_schemas(schema).get("*")
        return f"a mapping of names, each {allowed_values(of_names)}" if of_names else "a mapping"
    return {"boolean": "true or false", "null": "null"}[kind]


def _list(schema: Mapping[str, Any]) -> str:
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    count = f"{least} values" if least == most else "values" if least == 0 else f"{least} or more"
    different = ", no two alike" if schema.get("uniqueItems") else ""
    return f"a list of {count}, each {allowed_values(schema['items'])}{different}"


def _range(schema: Mapping[str, Any]) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f" from {least} to {most}"
    limits = {
        "above": schema.get("exclusiveMinimum"),
        "of at least": least,
        "below": schema.get("exclusiveMaximum"),
        "up to": most,
        "divisible by": schema.get("multipleOf"),
    }
    words = [f"{word} {limit}" for word, limit in limits.items() if limit is not None]
    return f" {' and '.join(words)}" if words else ""


def inner_schemas(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schemas of a mapping's values by key; under `*` where the keys are names."""
    schemas = dict(schema.get("properties", {}))
    for inner in schema.get("patternProperties", {}).values():
        schemas["*"] = inner
    return schemas


@functools.cache
def resolved(model: type[ConfigSection]) -> dict[str, Any]:
    """The JSON schema of a model, with every reference replaced by what it names."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def resolve(part: Any) -> Any:
        if isinstance(part, list):
            return [resolve(item) for item in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            part = {**definitions[part["$ref"].rpartition("/")[2]], **part}
            del part["$ref"]
        return {key: resolve(value) for key, value in part.items()}

    resolved: dict[str, Any] = resolve(schema)
    return resolved
