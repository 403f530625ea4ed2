"""The scans of one brain in a folder, and the section number of each.

The number comes from the file's name, by a pattern or by comparison, or from a table of the lab:

1. pattern: {section} stands for the number, * for anything else;
2. comparison: the names may differ in ONE run of digits, which is the number; if they differ
   elsewhere, too, they are refused, and the message proposes a pattern;
3. table: the row that names the file has the number.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from cytopipe.files import InputError, require
from cytopipe.formats.images.czi import CZI_SUFFIX
from cytopipe.formats.images.whole_slide import WHOLE_SLIDE_SUFFIXES, companions
from cytopipe.formats.text import flag, positive, read_table, whole

# the longer ones first
SUFFIXES = (
    ".ome.tiff", ".ome.tif", ".ome.btf", ".ome.zarr", ".tiff", ".tif", ".btf", ".zarr",
    ".png", ".jpeg", ".jpg", *WHOLE_SLIDE_SUFFIXES, CZI_SUFFIX,
)  # fmt: skip
TABLE_COLUMNS = ("section", "image", "spacing_um", "thickness_um", "mirrored", "excluded", "notes")


@dataclass(frozen=True)
class Scan:
    """An image of a section, with what a table of the lab or a sidecar says about it.

    Attributes
    ----------
    spacing_um, thickness_um : pixel size and thickness; None if unknown.
    source : the file that says so.
    mirrored, excluded, notes : as in sections.tsv.
    """

    path: Path
    section: int
    spacing_um: float | None = None
    thickness_um: float | None = None
    source: str = ""
    mirrored: bool | None = None
    excluded: bool | None = None
    notes: str = ""


def stem(path: Path) -> str:
    """The name of a file without the suffixes of its format."""
    lower = path.name.lower()
    for suffix in SUFFIXES:
        if lower.endswith(suffix):
            return path.name[: -len(suffix)]
    return path.name


def images_in(folder: Path) -> list[Path]:
    """The images in a folder and its subfolders, sorted.

    Hidden files are skipped, and images that are part of a scan of several files.

    Raises
    ------
    InputError
        If the folder is missing or holds no image.
    """
    require(folder, "give the folder of the images")
    if not folder.is_dir():
        raise InputError(f"{folder}: is a file; give the folder of the images")
    paths = set(_walk(folder))
    images = sorted(paths.difference(*map(companions, paths)))
    if not images:
        raise InputError(f"{folder}: holds no image; use one of {', '.join(sorted(SUFFIXES))}")
    return images


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.name.lower().endswith(SUFFIXES):
            yield path  # an OME-Zarr image is a folder itself
        elif path.is_dir():
            yield from _walk(path)


def numbered(paths: list[Path], pattern: str | None) -> tuple[list[Scan], list[Path]]:
    """Scans with the section numbers in their names, and the files that the pattern does not fit.

    Raises
    ------
    InputError
        If the pattern is invalid or fits no file, or if the names do not determine the number.
    """
    if pattern is None:
        return [Scan(path, number) for path, number in _by_comparison(paths).items()], []
    if pattern.count("{section}") != 1:
        raise InputError(
            f"--pattern {pattern!r}: write {{section}} once, in place of the number, as in "
            "'B21_{section}_*.tif'"
        )
    parts = re.split(r"(\{section\}|\*)", pattern)
    words = {"{section}": r"(\d+)", "*": ".*"}
    expression = re.compile("".join(words.get(part, re.escape(part)) for part in parts))
    scans, left_out = [], []
    for path in paths:
        match = expression.fullmatch(path.name)
        if match:
            scans.append(Scan(path, int(match[1])))
        else:
            left_out.append(path)
    if not scans:
        raise InputError(
            f"--pattern {pattern!r}: fits none of {len(paths)} files, such as {paths[0].name}; "
            "it must fit the whole name"
        )
    return scans, left_out


def _by_comparison(paths: list[Path]) -> dict[Path, int]:
    cut = {path: re.split(r"(\d+)", stem(path)) for path in paths}
    texts = Counter(tuple(parts[::2]) for parts in cut.values())
    usual = texts.most_common(1)[0][0]
    like = next(path for path in cut if tuple(cut[path][::2]) == usual)
    for path, parts in cut.items():
        if tuple(parts[::2]) != usual:
            raise InputError(
                f"{path}: is named differently from {texts[usual]} of {len(paths)} files, such as "
                f"{like.name}; rename or remove it, or give --pattern or --table"
            )
    runs = [set(values) for values in zip(*(parts[1::2] for parts in cut.values()), strict=True)]
    if not runs:
        raise InputError(
            f"{paths[0]}: has no number in its name; give --table with columns section, image"
        )
    varying = [place for place, values in enumerate(runs) if len({int(v) for v in values}) > 1]
    if len(varying) > 1:
        parts = cut[paths[0]]
        patterns = [
            "".join(
                ("{section}" if 2 * place + 1 == index else "*") if index % 2 else text
                for index, text in enumerate(parts)
            )
            for place in varying
        ]
        raise InputError(
            f"{paths[0]}: {len(varying)} numbers in the names differ from file to file; say which "
            f"one is the section's: --pattern {' or '.join(repr(text + '*') for text in patterns)}"
        )
    # if no run of digits varies, the last one is the number
    place = varying[0] if varying else len(runs) - 1
    return {path: int(parts[2 * place + 1]) for path, parts in cut.items()}


def from_table(paths: list[Path], table: Path) -> tuple[list[Scan], list[Path], list[str]]:
    """Scans in the order of a lab's table, files that it does not name, and unused columns.

    The table is separated by commas, semicolons or tabs. It has the columns `section` and `image`
    (name of a file, with or without its ending, or its path), and optional `TABLE_COLUMNS`.

    Raises
    ------
    InputError
        If a column is missing, a value is invalid, or a row names no file or several files.
    """
    rows = read_table(
        table,
        TABLE_COLUMNS[:2],
        TABLE_COLUMNS[2:],
        remedy="give the table of section numbers",
        separators="\t;,",
        is_foreign=True,
    )
    known: dict[str, list[Path]] = {}
    for path in paths:
        for key in {path.name, stem(path), str(path)}:
            known.setdefault(key, []).append(path)
    scans = []
    for line, row in rows:
        where = f"{table} line {line}"
        image = row["image"]
        fitting = known.get(image) or [p for p in paths if str(p).endswith(f"/{image}")]
        if not image or len(fitting) != 1:
            raise InputError(
                f"{where}: image is {image!r}, which names {len(fitting)} files of the folder; "
                "write the file's name, or remove the row"
            )
        lengths = {
            name: positive(row[name], f"{where}: {name}") if row[name] else None
            for name in ("spacing_um", "thickness_um")
        }
        scans.append(
            Scan(
                fitting[0],
                whole(row["section"], f"{where}: section"),
                lengths["spacing_um"],
                lengths["thickness_um"],
                table.name,
                flag(row["mirrored"], f"{where}: mirrored"),
                flag(row["excluded"], f"{where}: excluded"),
                " ".join(row["notes"].split()),
            )
        )
    taken = {scan.path for scan in scans}
    unused = [name for name in (rows[0][1] if rows else ()) if name not in TABLE_COLUMNS]
    return scans, [path for path in paths if path not in taken], unused


def step_of(numbers: list[int]) -> int:
    """The most frequent difference of consecutive section numbers."""
    steps = Counter(b - a for a, b in pairwise(sorted(set(numbers))))
    return max(steps, key=lambda step: (steps[step], -step)) if steps else 0


def missing(numbers: list[int]) -> list[int]:
    """Section numbers that are missing if numbers rise by `step_of`."""
    step = step_of(numbers)
    gaps = [range(a + step, b - step // 2, step) for a, b in pairwise(sorted(set(numbers)))]
    return [number for gap in gaps for number in gap]
