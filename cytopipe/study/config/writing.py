"""The config as text: config.yaml with the models' comments, and the reference in Markdown."""

import textwrap
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import yaml

from cytopipe.study.config.describing import Key, inner_schemas, keys, resolved
from cytopipe.study.config.model import Config, section_model

_WIDTH = 140  # of config.yaml; a longer comment stands above its value


Reasons = Mapping[tuple[str, ...], str]


def commented(
    config: Mapping[str, Any], reasons: Reasons = MappingProxyType({}), about: str = ""
) -> str:
    """A config as YAML, each value with its unit and meaning.

    Parameters
    ----------
    reasons : for some values, by their path, why they are what they are.
    about : what the file says of itself; by default that of config/config.yaml.
    """
    schema = resolved(Config)
    lines = _above(about or schema["description"], "")
    for section, values in config.items():
        model = schema["properties"][section]
        lines += ["", f"# --- {section}", *_above(model["description"], ""), "", f"{section}:"]
        lines += _lines(values, model, (section,), set(), reasons)
    return "\n".join(lines) + "\n"


def _lines(
    values: Mapping[str, Any],
    schema: Mapping[str, Any],
    path: tuple[str, ...],
    seen: set[tuple[str, ...]],
    reasons: Reasons,
) -> Iterator[str]:
    """Values in the same place of several data sets or runs are explained once."""
    pad = "  " * len(path)
    schemas = inner_schemas(schema)
    for name, value in values.items():
        inner = schemas.get(name) or schemas["*"]
        place = (*path, name if name in schemas else "*")
        nested = isinstance(value, Mapping) and value
        line = f"{pad}{_scalar(name)}:" + ("" if nested else f" {_scalar(value)}")
        comment = _comment(inner) if place not in seen and place[-1] != "*" else ""
        seen.add(place)
        if (*path, name) in reasons:
            yield from _above(f"For these scans: {reasons[*path, name]}.", pad)
        if comment and len(line) + len(comment) + 3 > _WIDTH:
            yield from _above(comment, pad)
            comment = ""
        yield f"{line} # {comment}" if comment else line
        if nested:
            yield from _lines(value, inner, place, seen, reasons)


def _comment(schema: Mapping[str, Any]) -> str:
    text = " ".join(schema.get("description", "").split())
    unit = f"{schema['unit']}; " if schema.get("unit") else ""
    source = f" ({schema['source']})" if schema.get("source") else ""
    return unit + text + source


def _above(text: str, pad: str) -> list[str]:
    lines = [
        line
        for paragraph in text.split("\n\n")
        for line in textwrap.wrap(paragraph, 110 - len(pad), break_on_hyphens=False)
    ]
    return [f"{pad}# {line}" for line in lines]


def _scalar(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False)
    return text.removesuffix("...\n").strip()


def reference(config: Mapping[str, Any], sections: list[str]) -> str:
    """The reference of sections in Markdown, with the values of `config`."""
    parts = []
    for section in sections:
        model = section_model(section)
        rows = [_row(key, _value(config.get(section, {}), key.path)) for key in keys(model)]
        head = ["key", "value", "unit", "allowed", "meaning", "source"]
        table = [head, ["---"] * len(head), *rows]
        about = resolved(model)["description"]
        text = "\n".join(f"| {' | '.join(cells)} |" for cells in table)
        parts.append(f"## {section}\n\n{about}\n\n{text}\n")
    return "\n".join(parts)


def _row(key: Key, value: str) -> list[str]:
    cells = [f"`{'.'.join(key.path)}`", f"`{value}`" if value else "", key.unit, key.allowed]
    return [cell.replace("|", "\\|") for cell in [*cells, key.text, key.source]]


def _value(values: Any, path: tuple[str, ...]) -> str:
    """A value of the config; empty where it depends on a name, or the config has none."""
    for step in path:
        if not isinstance(values, Mapping) or step not in values:
            return ""
        values = values[step]
    return _scalar(values)
