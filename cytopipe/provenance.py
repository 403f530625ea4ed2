"""How a file was made, recorded in its own metadata.

A stage's `run` is decorated with `@recorded`. While it runs, the writers of `cytopipe.formats` put
`entry()` into the files. Its arguments of type `files.Output` are not part of the record, so a
rule, `python -m cytopipe STAGE` and a call from Python write the same bytes.

The decorator also keeps the digests of the outputs, refuses inputs that differ from theirs, and
fails if an input changes while the stage runs.
"""

import functools
import hashlib
import html
import importlib
import inspect
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, ParamSpec

from cytopipe import arguments, digests, threads, watching
from cytopipe.files import InputError

P = ParamSpec("P")

KEY = "cytopipe_provenance"
# arguments and params that do not change the result, and differ between machines
SPEED = ("threads", "workers")
# arguments that are scans or pyramids, too large to be read for a digest
SCANS = ("image", "images")


@dataclass(frozen=True)
class _Job:
    stage: str
    command: str
    values: Mapping[str, Any]
    before: Mapping[Path, watching.State]

    @functools.cached_property
    def text(self) -> str:
        return json.dumps(self.record(), sort_keys=True, separators=(",", ":"))

    def changed_inputs(self) -> list[Path]:
        return [
            path
            for path, state in self.before.items()
            if watching.has_changed(state, watching.state(path))
        ]

    def record(self) -> dict[str, Any]:
        """Name, versions, arguments and inputs, ready for JSON: see docs/provenance.md."""
        values = {
            name: value
            for name, value in self.values.items()
            if name not in SPEED and value is not None and value != [] and value != {}
        }
        inputs = {name: value for name, value in values.items() if any(_paths(value))}
        params = values.pop("params", None)
        return {
            # imported by name, because imports go down only
            "cytopipe": importlib.import_module("cytopipe").__version__,
            "stage": self.stage,
            "version": importlib.import_module(f"cytopipe.{self.stage}").VERSION,
            "command": self.command,
            "params": _plain(params) if params is not None else {},
            "arguments": {name: _plain(v) for name, v in values.items() if name not in inputs},
            "inputs": {name: _plain(v, name in SCANS) for name, v in inputs.items()},
        }


# of several processes of a training, one writes
_IS_FIRST = os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0"
# the jobs that are running, the innermost last
_running: list[_Job] = []


def recorded(run: Callable[P, None]) -> Callable[P, None]:
    """Record the provenance of a stage's `run` in the files that it writes.

    Every `run` has this decorator, so it also limits libraries to the threads of the job.

    Raises
    ------
    InputError
        If an input changed while the stage ran; its outputs are then deleted.
    """
    signature = inspect.signature(run)
    stage = run.__module__.split(".")[1]
    part = run.__name__.removeprefix("run").replace("_", "-")

    @functools.wraps(run)
    def recorded_run(*args: P.args, **kwargs: P.kwargs) -> None:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        names = arguments.outputs_of(run)
        work = {name: v for name, v in bound.arguments.items() if name not in names}
        outputs = list(_paths([v for name, v in bound.arguments.items() if name in names]))
        threads.use(bound.arguments.get("threads", 1))
        before = {path: watching.state(path) for path in watching.read_by(work.values())}
        _running.append(_Job(stage, stage + part, work, before))
        try:
            run(*args, **kwargs)
        finally:
            changed = _running.pop().changed_inputs()
            if changed:
                for output in outputs:
                    if output.is_dir():
                        shutil.rmtree(output)
                    else:
                        output.unlink(missing_ok=True)
                raise _mixed(changed)
        if _IS_FIRST:
            digests.write(outputs)

    return recorded_run


def check_inputs() -> None:
    """Stop if an input of the running stage has changed; long stages ask before they save.

    Raises
    ------
    InputError
        If one has, with its name.
    """
    if _running and (changed := _running[-1].changed_inputs()):
        raise _mixed(changed)


def _mixed(changed: list[Path]) -> InputError:
    more = f" (and {len(changed) - 1} more)" * (len(changed) > 1)
    return InputError(
        f"{changed[0]}{more}: changed while the job was reading it, so the result would mix both; "
        "start again when no one writes it any more"
    )


def entry() -> dict[str, str]:
    """The metadata of a file, KEY to ASCII JSON; empty if no stage runs.

    Inputs are read at the first call, when the stage has already reported missing ones.
    """
    return {KEY: _running[-1].text} if _running else {}


def line() -> str:
    """The entry for formats with one text field: `KEY: JSON`, or empty."""
    return "".join(f"{key}: {text}" for key, text in entry().items())


def comment() -> str:
    """The entry as a comment of YAML or of a text table."""
    return f"# {line()}\n" if _running else ""


def meta() -> str:
    """The entry as an element of an HTML head."""
    return "".join(
        f'<meta name="{key}" content="{html.escape(text)}">' for key, text in entry().items()
    )


def from_line(text: str) -> str | None:
    """The JSON of a `line`; None for other texts."""
    before, separator, after = text.strip().partition(f"{KEY}: ")
    return after if separator and not before else None


def _paths(value: Any) -> Iterator[Path]:
    """The paths in a value of a job."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, Path):
        yield value
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from _paths(item)


def _plain(value: Any, is_scan: bool = False) -> Any:
    """A value for JSON, the same on every machine."""
    if isinstance(value, Path):
        return _file(value, is_scan)
    if isinstance(value, str):
        return _in_study(Path(value)) if Path(value).is_absolute() else value
    if isinstance(value, Mapping):
        return {str(key): _plain(v, is_scan) for key, v in value.items() if key not in SPEED}
    if isinstance(value, Sequence):
        plain = [_plain(item, is_scan) for item in value]
        # hundreds of rows of sections.tsv would be larger than many files
        return _rows(plain) if value and all(map(is_dataclass, value)) else plain
    if hasattr(value, "model_dump"):  # a section of the config
        return _plain(value.model_dump())
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    return value.item() if hasattr(value, "item") else value  # a NumPy number


def _rows(rows: list[Any]) -> dict[str, Any]:
    text = json.dumps(rows, sort_keys=True, separators=(",", ":"))
    return {"rows": len(rows), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _file(path: Path, is_scan: bool) -> dict[str, Any]:
    """Path and digest of a file, or its size if it is a scan; the digest of a folder's listing.

    Raises
    ------
    InputError
        If the file is a result that differs from what its job wrote.
    """
    record: dict[str, Any] = {"path": _in_study(path)}
    if path.is_dir():
        record["listing"] = digests.of_listing(path)
    elif path.is_file() and is_scan:
        record["bytes"] = path.stat().st_size
    elif path.is_file():
        record["sha256"] = digests.of_file(path)
        if digests.read(path).get(path, record["sha256"]) != record["sha256"]:
            raise InputError(digests.differs(path))
    return record


def _in_study(path: Path) -> str:
    """The path relative to the study, where stages run; only the name if it lies elsewhere."""
    if not path.is_absolute():
        return os.path.normpath(path)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else path.name
