"""The same scan in two rows of sections.tsv: of two brains, or of two sections of one brain."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path

from cytopipe.files import InputError
from cytopipe.study.findings import ERROR, WARNING, Finding, some
from cytopipe.study.sections import Section

_SHEET = "config/sections.tsv"
# A file is sampled at this many places, of this many bytes each. Equal bytes at all of them, in
# compressed pixels or in the noise of a scanner, do not occur by chance
_PLACES, _BYTES = 16, 4096
# a larger image is not decoded as a whole
_MOST_PIXELS = 2**24


def check_same_scans(study: Path, sections: Sequence[Section]) -> list[Finding]:
    """An error for two brains that share scans, and for a file that two sections of a brain have.

    Copies within a brain are a warning. Excluded sections are left out. A copy has the same size
    and content (by samples), unless it has only one brightness, as placeholders do.
    """
    used = [section for section in sections if not section.excluded]
    shared: dict[tuple[str, str], list[tuple[Section, Section]]] = defaultdict(list)
    copies: dict[str, list[tuple[Section, Section]]] = defaultdict(list)
    findings = []
    seen: set[tuple[str, int]] = set()
    for one, other, is_copy in _same(study, used):
        if (other.brain, other.section) in seen:
            continue
        seen.add((other.brain, other.section))
        if one.brain != other.brain:
            shared[one.brain, other.brain].append((one, other))
        elif is_copy:
            copies[one.brain].append((one, other))
        else:
            text = f"{other.image} is the image of sections {one.section} and {other.section}"
            remedy = f"correct `image` of one of the two rows in {_SHEET}"
            where = (other.brain, other.section)
            findings.append(Finding(ERROR, "same scans", text, remedy, *where))
    for (brain, another), pairs in shared.items():
        one, other = pairs[0]
        text = (
            f"shares scans with {brain} ({len(pairs)}), such as {other.image} (section "
            f"{other.section}) and {one.image} (section {one.section} of {brain})"
        )
        remedy = (
            "one brain under two names takes part in training and in the test: remove one of them, "
            f"or correct `image` in {_SHEET}"
        )
        findings.append(Finding(ERROR, "same scans", text, remedy, another))
    for brain, pairs in copies.items():
        one, other = pairs[0]
        text = f"copies of other scans: {len(pairs)}, such as {other.image} of {one.image}"
        remedy = f"correct `image` in {_SHEET}, or write yes under `excluded`"
        findings.append(Finding(WARNING, "same scans", text, remedy, brain))
    return findings


def check_places(study: Path, sections: Sequence[Section]) -> list[Finding]:
    """A warning for each brain of which scans are missing; a run stops if it needs them."""
    missing: dict[str, list[str]] = defaultdict(list)
    for section in sections:
        if not section.excluded and not (study / section.image).exists():
            missing[section.brain].append(section.image)
    remedy = f"correct `image` in {_SHEET}, or put the scans back"
    return [
        Finding(WARNING, "scans", f"{len(paths)} not found: {some(paths)}", remedy, brain)
        for brain, paths in missing.items()
    ]


def _same(study: Path, sections: Sequence[Section]) -> Iterator[tuple[Section, Section, bool]]:
    """Pairs of sections with the same scan, and whether it is a copy."""
    # each question is asked only about the sections that the one before did not tell apart
    for one, other in _equal(sections, lambda section: _identity(study / section.image)):
        yield one, other, False
    for alike in _groups(sections, lambda section: _size(study / section.image)):
        for one, other in _equal(alike, lambda section: _content(study / section.image)):
            if not _is_one_brightness(study, other):
                yield one, other, True


def _equal(
    sections: Sequence[Section], key: Callable[[Section], Hashable]
) -> Iterator[tuple[Section, Section]]:
    for first, *others in _groups(sections, key):
        for other in others:
            yield first, other


def _groups(
    sections: Sequence[Section], key: Callable[[Section], Hashable]
) -> Iterator[list[Section]]:
    """Two or more sections that have the same key; a section whose key is None is in no group."""
    groups: dict[Hashable, list[Section]] = defaultdict(list)
    for section in sections:
        if (value := key(section)) is not None:
            groups[value].append(section)
    return (group for group in groups.values() if len(group) > 1)


def _identity(path: Path) -> Hashable:
    """What two names of one file have in common."""
    try:
        status = path.stat()
    except OSError:  # a scan that is missing still has a name
        return os.path.normpath(path)
    return status.st_dev, status.st_ino


def _size(path: Path) -> Hashable:
    """Names and sizes of the files that are sampled; None if there is nothing in them."""
    try:
        sizes = tuple((str(file.relative_to(path)), file.stat().st_size) for file in _sampled(path))
    except OSError:
        return None
    return sizes if any(size for _, size in sizes) else None


def _content(path: Path) -> Hashable:
    digest = hashlib.sha256()
    try:
        for sampled in _sampled(path):
            last = max(0, sampled.stat().st_size - _BYTES)
            with sampled.open("rb") as file:
                for place in range(_PLACES):
                    file.seek(last * place // (_PLACES - 1))
                    digest.update(file.read(_BYTES))
    except OSError:
        return None
    return digest.digest()


def _sampled(path: Path) -> list[Path]:
    """The file itself; of an OME-Zarr folder, one file of each of its folders."""
    if not path.is_dir():
        return [path]
    return [_middle(entry) for entry in sorted(path.iterdir())]


def _middle(path: Path) -> Path:
    """The file that is reached by the middle entry of each folder."""
    while path.is_dir() and (entries := sorted(path.iterdir())):
        path = entries[len(entries) // 2]
    return path


def _is_one_brightness(study: Path, section: Section) -> bool:
    """Whether an image has only one gray value, as a placeholder for a missing section."""
    # only scans that look the same are opened, so that a dry run seldom loads the readers
    from cytopipe.formats.images import open_pyramid

    try:
        with open_pyramid(study / section.image, section.spacing_um) as pyramid:
            coarsest = pyramid.levels[-1]
            if coarsest.height * coarsest.width > _MOST_PIXELS:
                return False
            overview = pyramid.read_level(len(pyramid.levels) - 1)
    except InputError:
        return False
    return bool(overview.min() == overview.max())
