"""What a person changed in a study since its last run, one line each.

Snakemake finds out by itself what must run again. It names a parameter that changed by its whole
content; a person wants to read which value of which table it was.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cytopipe.files import atomic_write, reading
from cytopipe.study import config as study_config
from cytopipe.study.corrections import corrected
from cytopipe.study.declarations import read_declarations
from cytopipe.study.sections import read_brains, read_sections

RECORD = ".cytopipe/last-run.json"
_LISTED = 3  # sections with the same change are listed one by one up to this many

# what is stated, such as config.yaml or a section, to its values by name
Statements = dict[str, dict[str, str]]


def statements(study: Path) -> Statements:
    """Everything that people write in a study: config, tables, files under manual/ and template/.

    Raises
    ------
    InputError
        If the config or a table is missing or wrong.
    """
    config = study_config.read(study / "config" / "config.yaml")
    roles = read_brains(study / "config" / "brains.tsv")
    declared = read_declarations(study / "config" / "brains.tsv")
    sections = read_sections(study / "config" / "sections.tsv", brains=list(roles))
    stated: Statements = {"config/config.yaml": dict(_flat(config))}
    for brain, role in roles.items():
        stated[brain] = {"role": role, **{k: _word(v) for k, v in vars(declared[brain]).items()}}
    for section in corrected(sections, study / "manual"):
        values = {name: _word(value) for name, value in section.row().items()}
        del values["brain"], values["section"]
        stated[f"section {section.section} of {section.brain}"] = values
    for folder in ("manual", "template"):
        for path in sorted((study / folder).rglob("*")):
            if path.is_file() and path.name != "sections.tsv":
                status = path.stat()
                name = path.relative_to(study).as_posix()
                stated[name] = {"file": f"{status.st_size} {status.st_mtime_ns}"}
    return stated


def record(study: Path) -> None:
    """Remember what is stated now, for the next run."""
    path = study / RECORD
    path.parent.mkdir(exist_ok=True)
    with atomic_write(path) as beside:
        beside.write_text(json.dumps(statements(study)))


def since_last_run(study: Path) -> list[str]:
    """One line for each change since `record`; no line before the first run.

    Raises
    ------
    InputError
        If the record is damaged, or as for `statements`.
    """
    path = study / RECORD
    if not path.exists():
        return []
    with reading(path, "record of the last run", "delete it"):
        before: Statements = json.loads(path.read_text(encoding="utf-8"))
    return differences(before, statements(study))


def differences(before: Statements, now: Statements) -> list[str]:
    """One line for each value that differs; many sections with the same change share a line."""
    lines: list[str] = []
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    for subject in {**before, **now}:
        for change in _changes(before.get(subject), now.get(subject)):
            brain = subject.rpartition(" of ")[2] if subject.startswith("section ") else ""
            if brain:
                alike[brain, change].append(subject)
            else:
                lines.append(f"{subject}{change}")
    for (brain, change), subjects in alike.items():
        if len(subjects) <= _LISTED:
            lines += [f"{subject}{change}" for subject in subjects]
        else:
            lines.append(f"{len(subjects)} sections of {brain}{change}")
    return lines


def _changes(before: Mapping[str, str] | None, now: Mapping[str, str] | None) -> list[str]:
    if before is None:
        return [": new"]
    if now is None:
        return [": removed"]
    changes = []
    for name in {**before, **now}:
        old, new = before.get(name, ""), now.get(name, "")
        if old != new:
            changes.append(
                ": changed"
                if name == "file"
                else f": {name} is {new or 'empty'} (was {old or 'empty'})"
            )
    return changes


def _flat(config: Mapping[str, Any], path: str = "") -> list[tuple[str, str]]:
    values: list[tuple[str, str]] = []
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            values += _flat(value, f"{path}{key}.")
        else:
            values.append((f"{path}{key}", _word(value)))
    return values


def _word(value: Any) -> str:
    """A value as people write it in the tables; "" for nothing."""
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.12g}"
    return value if isinstance(value, str) else json.dumps(value)
