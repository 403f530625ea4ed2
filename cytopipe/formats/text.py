"""Text that people and their programs write: tables, JSON, and numbers in cells.

Whatever could be read in two ways is refused: another encoding, a quotation mark that is not
closed, a value too many, `0_5` for a number, a key twice.
"""

import codecs
import csv
import io
import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cytopipe.files import InputError, reading, require

# characters of a cell; Excel's limit. A longer cell shows that a quotation mark was left open
_LONGEST = 32_767
_CONTROL = re.compile(r"[\0-\b\v\f\x0e-\x1f\x7f]")
_LINE_BREAK = re.compile(r"\s*[\r\n]+\s*")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
# nine digits fit any integer of the tables; spreadsheets may add .0
_WHOLE = re.compile(r"[0-9]{1,9}(\.0*)?")
_END = "\0"
_FLAGS = {"0": False, "no": False, "false": False, "1": True, "yes": True, "true": True}


def read_text(path: Path, remedy: str) -> str:
    """The text of a file in UTF-8, with or without a byte order mark.

    Parameters
    ----------
    remedy : for a missing file.

    Raises
    ------
    InputError
        If the file is missing, has another encoding, or holds control characters.
    """
    require(path, remedy)
    if not path.is_file():
        raise InputError(f"{path}: is not a file; {remedy}")
    with reading(path, "text file"):
        content = path.read_bytes()
    try:
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise ValueError("its encoding is UTF-16")
        text = content.decode("utf-8-sig")
        if control := _CONTROL.search(text):
            raise ValueError(f"it holds the control character {control[0]!r}")
    except ValueError as error:
        raise InputError(
            f"{path}: not a text file in UTF-8 ({error}); save it as text in UTF-8"
        ) from error
    return text


def read_json(path: Path, remedy: str) -> Any:
    """The content of a JSON file; numbers may be NaN.

    Parameters
    ----------
    remedy : for a missing or unreadable file.

    Raises
    ------
    InputError
        If the file is missing or is not JSON, or a key is there twice.
    """
    text = read_text(path, remedy)
    with reading(path, "JSON file", remedy):
        return json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return content


def read_table(
    path: Path,
    required: Sequence[str],
    optional: Sequence[str] = (),
    *,
    remedy: str = "a study needs it; see docs/new-brain.md",
    separators: str = "\t",
    is_foreign: bool = False,
) -> list[tuple[int, dict[str, str]]]:
    """Rows of a table with a header, each with its line number in the file.

    Empty lines are skipped, and so are lines that start with #, except in a foreign table. Every
    row has all columns, "" where the file has none. Cells are stripped, and line breaks inside a
    quoted cell become spaces.

    Parameters
    ----------
    remedy : for a missing file.
    separators : the first of these that the header contains separates the cells.
    is_foreign : another program's table: it may have other columns, and names in capitals.

    Raises
    ------
    InputError
        If the file is missing or is not text; if a column is missing, unknown or there twice; if a
        row has more cells than the header; or if a quotation mark is not closed.
    """
    lines = list(_cells(path, read_text(path, remedy), separators, is_foreign))
    if not lines:
        raise InputError(f"{path}: is empty; it needs a header with {', '.join(required)}")
    names = lines[0][1]
    if is_foreign:
        names = [name.lower() for name in names]
    while names and not names[-1]:
        names = names[:-1]
    word = {"\t": "tab", ",": "comma"}.get(separators[0], "tab")
    columns = ", ".join(filter(None, names)) or "none"
    for name in required:
        if name not in names:
            raise InputError(
                f"{path}: column {name!r} is missing, its columns are {columns}; add it "
                f"({word}-separated)"
            )
    for name in names:
        if name not in (*required, *optional):
            if is_foreign:
                continue
            allowed = ", ".join([*required, *optional])
            raise InputError(f"{path}: column {name!r} is unknown; allowed: {allowed}")
        if names.count(name) > 1:
            raise InputError(f"{path}: column {name!r} is there twice; remove one")
    rows = []
    for number, cells in lines[1:]:
        if any(cells[len(names) :]):
            raise InputError(
                f"{path} line {number}: {len(cells)} cells under {len(names)} columns; "
                f"remove a {word}, or add the missing column's name to the header"
            )
        cells = cells + [""] * (len(names) - len(cells))
        rows.append((number, dict.fromkeys(optional, "") | dict(zip(names, cells, strict=False))))
    return rows


def _cells(
    path: Path, text: str, separators: str, is_foreign: bool
) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each row."""
    row: list[str] = []  # lines of the present row
    first = 0  # number of its first line

    def lines() -> Iterator[str]:
        nonlocal first
        # the last line shows whether a quotation mark was left open before it
        for number, line in enumerate([*io.StringIO(text, newline=""), _END], start=1):
            is_empty = not line.strip(separators + " \t\r\n")
            if row or not (is_empty or (line.startswith("#") and not is_foreign)):
                first = first if row else number
                row.append(line)
                yield line

    header = next(lines())
    row.clear()
    separator = next((mark for mark in separators if mark in header), separators[0])
    try:
        for cells in csv.reader(lines(), delimiter=separator):
            if cells == [_END]:
                return
            for cell in cells:
                # a comma inside quotes is common; a tab, or a line with its commas, is not
                swallows = separator in cell and (separator == "\t" or _LINE_BREAK.search(cell))
                if swallows or _END in cell or len(cell) > _LONGEST:
                    begins = cell.replace(_END, "")[:20]
                    raise csv.Error(f"a cell begins with {begins!r} and holds several others")
            if any(separator in cell for cell in cells):
                list(csv.reader(row, delimiter=separator, strict=True))
            yield first, [_LINE_BREAK.sub(" ", cell.strip()) for cell in cells]
            row.clear()
    except csv.Error as error:
        raise InputError(
            f"{path} line {first}: its cells cannot be told apart ({error}); close or remove the "
            "quotation mark"
        ) from error


def finite(text: str, what: str) -> float:
    """The number in a cell; NaN, infinity and digits with underscores are refused."""
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise InputError(f"{what} is {text!r}; give a number")
    return value


def positive(text: str, what: str) -> float:
    """The positive number in a cell."""
    value = finite(text, what)
    if value <= 0:
        raise InputError(f"{what} is {text!r}; give a positive number")
    return value


def whole(text: str, what: str) -> int:
    """The whole number in a cell, from 0."""
    if not _WHOLE.fullmatch(text):
        raise InputError(f"{what} is {text!r}; give a whole number >= 0")
    return int(text.partition(".")[0])


def flag(text: str, what: str) -> bool | None:
    """The yes or no in a cell; None for an empty cell, which decides nothing."""
    if not text:
        return None
    if text.lower() not in _FLAGS:
        raise InputError(f"{what} is {text!r}; use yes or no")
    return _FLAGS[text.lower()]
