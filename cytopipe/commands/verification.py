"""Whether results are what their jobs wrote, and were made from the inputs that are there now."""

import functools
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cytopipe import digests, logs
from cytopipe.commands import provenance as records
from cytopipe.files import InputError
from cytopipe.formats import itk_transforms, tables
from cytopipe.study import config as study_config
from cytopipe.study.findings import some
from cytopipe.study.sections import read_sections

# whether a file contains its own digest, which has to be right
_OWN_DIGEST: Mapping[str, Callable[[Path], bool]] = {
    ".parquet": tables.check_unchanged,
    ".h5": itk_transforms.check_unchanged,
}
# would be read as a whole for their record, which another file of the same job has as well
_RECORD_UNREAD = (".pt", ".gii")


def verify(study: Path, names: Sequence[str]) -> int:
    """Print every difference; return the exit status, 1 if there is any.

    Outputs that were deleted are no difference. Scans are compared by size, folders by the names
    and sizes of their files.

    Parameters
    ----------
    names : brains, files and folders; all results if empty.

    Raises
    ------
    InputError
        If a name is neither a path nor a brain with results.
    """
    outputs = [output for output in digests.outputs_under(study / "results") if output.exists()]
    kept = {path: digest for output in outputs for path, digest in digests.read(output).items()}
    paths = sorted({*kept, *_files(study / "results")})
    if names:
        paths = [path for name in names for path in _named(name, paths)]
    compared = set(paths)
    digest_of = functools.cache(digests.of_file)
    outside = _outside(study)
    damaged: list[str] = []
    unknown: list[str] = []
    users: dict[str, list[str]] = defaultdict(list)
    for path in logs.progress(paths, len(paths), "files compared"):
        try:
            if path in kept and not path.exists():
                raise InputError(f"{path}: is missing; delete its folder and start snakemake again")
            if path in kept and digest_of(path) != kept[path]:
                raise InputError(digests.differs(path))
            own = _OWN_DIGEST.get(path.suffix)
            if path not in kept and not (own and own(path)):
                unknown.append(str(path))
            for item in _inputs_of(path):
                here = study / item["path"]
                places = [here] if here.exists() else outside[item["path"]]
                # a damaged result has a message of its own
                is_named = here in compared and item.get("sha256", "") == kept.get(here)
                if places and not is_named and not _any_is(item, places, digest_of):
                    users[item["path"]].append(str(path))
        except InputError as error:
            damaged.append(str(error))
    for name, made in users.items():
        damaged.append(f"{name}: is not what these were made from: {some(made)}; see snakemake -n")
    for line in damaged:
        print(line)
    if unknown:
        print(f"without a digest, as no job of this version wrote them: {some(unknown)}")
    print(f"files: {len(paths)}, differences: {len(damaged)}")
    return int(bool(damaged))


def _files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part[0] == "." for part in path.relative_to(folder).parts)
    )


def _named(name: str, paths: list[Path]) -> list[Path]:
    """The results in a file, folder or brain."""
    place = Path(name).resolve()
    if place.exists():
        own = [path for path in paths if path.resolve().is_relative_to(place)]
        return own or ([Path(name)] if place.is_file() else _files(Path(name)))
    of_brain = re.compile(rf"/{re.escape(name)}(/|\.|-projected\.)")
    if own := [path for path in paths if of_brain.search(f"/{path.as_posix()}")]:
        return own
    raise InputError(f"{name}: neither a file or folder, nor a brain with results; check the name")


def _inputs_of(path: Path) -> Iterator[dict[str, Any]]:
    """The inputs in the record of a file: path and digest, size or listing."""
    suffix = records.suffix_of(path)
    if suffix in records.SUFFIXES and suffix not in _RECORD_UNREAD:
        record = records.find(path) or {}
        yield from _items(record.get("inputs", {}))


def _items(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict) and isinstance(value.get("path"), str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _items(item)


def _any_is(
    item: Mapping[str, Any], places: Sequence[Path], digest_of: Callable[[Path], str]
) -> bool:
    """Whether one of the files is that of a record."""
    measures: Mapping[str, Callable[[Path], Any]] = {
        "sha256": lambda path: digest_of(path) if path.is_file() else None,
        "bytes": lambda path: path.stat().st_size,
        "listing": digests.of_listing,
    }
    return all(
        any(measure(place) == item[key] for place in places)
        for key, measure in measures.items()
        if key in item
    )


def _outside(study: Path) -> dict[str, list[Path]]:
    """Files outside the study by their names: records do not contain their folders."""
    named = [section.image for section in read_sections(study / "config" / "sections.tsv")]
    named += _texts(study_config.read(study / "config" / "config.yaml"))
    places = defaultdict(list)
    for path in map(Path, dict.fromkeys(named)):
        if path.is_absolute() and path.exists():
            places[path.name].append(path)
    return places


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return [text for item in items for text in _texts(item)]
    return [value] if isinstance(value, str) else []
