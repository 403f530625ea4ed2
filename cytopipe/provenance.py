"""What made an artifact, for its own metadata: the same work gives the same bytes.

A stage's `run` is marked `@recorded`. Its arguments of type `files.Output` are what it writes; all
others are what it works from. While it runs, the writers of `cytopipe.formats` ask for `entry()`
and put it where the format has a place. So a rule, `python -m cytopipe STAGE` and a call from
Python write the same bytes.
"""

import functools
import hashlib
import html
import importlib
import inspect
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, ParamSpec

from cytopipe import arguments, threads

P = ParamSpec("P")

KEY = "cytopipe_provenance"
# arguments and params that change nothing in an artifact, and differ between machines
SPEED = ("threads", "workers")
# arguments that are scans or pyramids: 465 of 8 GB each are never read for a digest
SCANS = ("image", "images")


@dataclass(frozen=True)
class _Job:
    stage: str
    command: str
    values: Mapping[str, Any]

    @functools.cached_property
    def text(self) -> str:
        return json.dumps(self.record(), sort_keys=True, separators=(",", ":"))

    def record(self) -> dict[str, Any]:
        """Name, versions, arguments and inputs as JSON holds them: see docs/provenance.md."""
        given = {
            name: value
            for name, value in self.values.items()
            if name not in SPEED and value is not None and value != [] and value != {}
        }
        inputs = {name: value for name, value in given.items() if _has_files(value)}
        params = given.pop("params", None)
        return {
            # by name: an import of the package here would be one from below to all above
            "cytopipe": importlib.import_module("cytopipe").__version__,
            "stage": self.stage,
            "version": importlib.import_module(f"cytopipe.{self.stage}").VERSION,
            "command": self.command,
            "params": _plain(params) if params is not None else {},
            "arguments": {name: _plain(v) for name, v in given.items() if name not in inputs},
            "inputs": {name: _plain(v, name in SCANS) for name, v in inputs.items()},
        }


# of stages that run at present, the innermost last
_running: list[_Job] = []


def recorded(run: Callable[P, None]) -> Callable[P, None]:
    """Mark a stage's `run`: what it writes while it runs carries its provenance.

    Since every `run` has this mark, it also limits libraries to the threads of the job.
    """
    signature = inspect.signature(run)
    stage = run.__module__.split(".")[1]
    part = run.__name__.removeprefix("run").replace("_", "-")

    @functools.wraps(run)
    def recorded_run(*args: P.args, **kwargs: P.kwargs) -> None:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        outputs = arguments.outputs_of(run)
        work = {name: v for name, v in bound.arguments.items() if name not in outputs}
        threads.use(bound.arguments.get("threads", 1))
        _running.append(_Job(stage, stage + part, work))
        try:
            run(*args, **kwargs)
        finally:
            _running.pop()

    return recorded_run


def entry() -> dict[str, str]:
    """What a writer puts among a file's metadata: KEY to ASCII JSON; empty where no stage runs.

    Inputs are looked at when it is asked for the first time, so that a missing one has long been
    reported by the stage.
    """
    return {KEY: _running[-1].text} if _running else {}


def line() -> str:
    """The same for formats with one place for any text: `KEY: JSON`, or empty."""
    return "".join(f"{key}: {text}" for key, text in entry().items())


def comment() -> str:
    """The same as a line of YAML or of a table for people, which their readers skip."""
    return f"# {line()}\n" if _running else ""


def meta() -> str:
    """The same as an element of a page's head."""
    return "".join(
        f'<meta name="{key}" content="{html.escape(text)}">' for key, text in entry().items()
    )


def from_line(text: str) -> str | None:
    """The JSON of a `line`; None if the text is another one."""
    before, found, after = text.strip().partition(f"{KEY}: ")
    return after if found and not before else None


def _has_files(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_files, value.values()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return any(map(_has_files, value))
    return isinstance(value, Path)


def _plain(value: Any, is_scan: bool = False) -> Any:
    """A value as JSON holds it, the same on every machine."""
    if isinstance(value, Path):
        return _file(value, is_scan)
    if isinstance(value, str):
        return _in_study(Path(value)) if Path(value).is_absolute() else value
    if isinstance(value, Mapping):
        return {str(key): _plain(v, is_scan) for key, v in value.items() if key not in SPEED}
    if isinstance(value, Sequence):
        plain = [_plain(item, is_scan) for item in value]
        # rows of sections.tsv: 465 of them would outweigh many a file
        return _rows(plain) if value and all(map(is_dataclass, value)) else plain
    if hasattr(value, "model_dump"):  # a section of the config
        return _plain(value.model_dump())
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    return value.item() if hasattr(value, "item") else value  # a number of numpy


def _rows(rows: list[Any]) -> dict[str, Any]:
    text = json.dumps(rows, sort_keys=True, separators=(",", ":"))
    return {"rows": len(rows), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _file(path: Path, is_scan: bool) -> dict[str, Any]:
    """Path and content: a digest, or the size alone; neither of a folder or what is not there."""
    found: dict[str, Any] = {"path": _in_study(path)}
    if path.is_file() and is_scan:
        found["bytes"] = path.stat().st_size
    elif path.is_file():
        with open(path, "rb") as content:
            found["sha256"] = hashlib.file_digest(content, "sha256").hexdigest()
    return found


def _in_study(path: Path) -> str:
    """The path as seen from the study, where stages run; of one elsewhere the name alone."""
    if not path.is_absolute():
        return os.path.normpath(path)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else path.name
