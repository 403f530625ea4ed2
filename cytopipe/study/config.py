"""The study's config: read, merged with a preset, and held against its schemas."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from cytopipe.files import InputError, require
from cytopipe.study.sections import Section

_REPOSITORY = Path(__file__).parents[2]
SCHEMAS = _REPOSITORY / "config" / "schemas"
DEFAULTS = _REPOSITORY / "config" / "config.yaml"
# read by `python -m cytopipe phantom`, never part of a study's config
NOT_IN_A_STUDY = "phantom"
# the same parser in C, where PyYAML has it: schemas are read for every dry run
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises
    ------
    InputError
        If the file is missing, no YAML, or no mapping.
    """
    require(path, "a study needs it; start from config/config.yaml of the repository")
    try:
        content = yaml.load(path.read_text(), Loader=_LOADER)
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not readable as YAML ({error}); correct the line") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no sections; start from config/config.yaml")
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


def check(config: Mapping[str, Any], schemas: Path, name: str = "config/config.yaml") -> None:
    """Hold each section of a config against `schemas`/{section}.schema.yaml.

    Raises
    ------
    InputError
        For the first unknown section or key, missing key, or value out of its range; the message
        names the key, the value and what is allowed.
    """
    known = sorted(path.name.removesuffix(".schema.yaml") for path in schemas.glob("*.schema.yaml"))
    known = [section for section in known if section != NOT_IN_A_STUDY]
    for section in config:
        if section not in known:
            raise InputError(f"{name}: unknown section {section!r}; allowed: {', '.join(known)}")
    for section in known:
        if section not in config:
            raise InputError(f"{name}: section {section!r} is missing; copy it from the repository")
        check_section(section, config[section], schemas, name)
    template = config["template"]
    if (template["atlas"] is None) != (template["areas"] is None):
        raise InputError(
            f"{name}: template.atlas is {template['atlas']!r} and template.areas "
            f"{template['areas']!r}; an atlas needs the table of its labels: give both or neither"
        )


def check_section(section: str, values: Any, schemas: Path, name: str) -> None:
    """Hold one section against its schema; raises as `check`."""
    from jsonschema import Draft202012Validator

    schema = read(schemas / f"{section}.schema.yaml")
    for error in Draft202012Validator(schema).iter_errors(values):
        raise InputError(next(_messages(error, section, name)))


def check_brains(sections: list[Section], roles: Mapping[str, str]) -> None:
    """Every brain of brains.tsv has sections, and a name that can be a folder.

    Raises
    ------
    InputError
        For the first brain that has not.
    """
    cut = {section.brain for section in sections}
    for brain in roles:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", brain):
            raise InputError(
                f"config/brains.tsv: brain {brain!r}; use letters, digits, _ and - alone"
            )
        if brain not in cut:
            raise InputError(
                f"config/brains.tsv: brain {brain!r} has no row in sections.tsv; add its sections"
            )


def _messages(error: Any, section: str, name: str) -> Iterator[str]:
    where = ".".join([section, *(str(step) for step in error.absolute_path)])
    known = error.schema.get("properties", {})
    if error.validator == "additionalProperties" and isinstance(error.instance, Mapping):
        for key in error.instance:
            if key not in known:
                yield (
                    f"{name}: {where}.{key} is unknown (its value: {error.instance[key]!r}); "
                    f"allowed keys: {', '.join(known)}"
                )
    if error.validator == "required":
        for key in error.validator_value:
            if key not in error.instance:
                meaning = known.get(key, {}).get("description", "copy it from the repository")
                yield f"{name}: {where}.{key} is missing; add it ({meaning})"
    meaning = error.schema.get("description", "")
    yield f"{name}: {where}: {error.message}" + (f" ({meaning})" if meaning else "")
