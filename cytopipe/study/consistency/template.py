"""The template's name against its files."""

import gzip
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cytopipe.files import reading
from cytopipe.study.findings import ERROR, WARNING, Finding

FILES = ("tissue", "atlas", "areas", "exclusion")
# begins the description in the header of a template that cytopipe made; its name follows
RECORD = "cytopipe template "
# NIfTI-1 and 2: the first number of the header, and where the description of 80 bytes starts
_DESCRIPTION_AT = {348: 148, 540: 240}
# What names, files and descriptions call a space, and a version of it. "mni" alone says nothing,
# since Colin 27 and ICBM 152 are both in a space of that name
_SPACES = {
    "Colin 27": r"colin|\bch2(bet)?\b",
    "ICBM 152": r"icbm|mni_?152",
    "BigBrain": r"big_?brain",
    "fsaverage": r"fsaverage",
    "phantom": r"phantom",
    "Allen CCF": r"allen|ccf",
    "Waxholm": r"waxholm|\bwhs",
}
_VERSIONS = {f"2009{letter}": rf"(20)?09{letter}" for letter in "abc"}


def check_files(study: Path, config: Mapping[str, Any]) -> list[Finding]:
    """An error for each file of the template that is missing."""
    return [
        Finding(
            ERROR,
            "template",
            f"{config['template'][key]}: not found",
            f"correct template.{key} in config/config.yaml, or make it with `cytopipe template`",
        )
        for key in FILES
        if config["template"][key] is not None and not (study / config["template"][key]).exists()
    ]


def check_name(study: Path, config: Mapping[str, Any]) -> list[Finding]:
    """An error if the template was made under another name; a warning if its files tell another.

    A file without a record, such as one that other programs made, is compared by its path and the
    description in its header. What cannot be read is left to the readers.
    """
    name = config["template"]["name"]
    findings = []
    for key in FILES:
        path = config["template"][key]
        if path is None:
            continue
        description = description_of(study / path)
        recorded = description.removeprefix(RECORD)
        if recorded != description:
            if recorded != name:
                text = f"{path} was made as {recorded}, but template.name is {name}"
                remedy = f"set template.name to {recorded}, or name the file of {name}"
                findings.append(Finding(ERROR, "template", text, remedy))
            continue
        for known in (_SPACES, _VERSIONS):
            ours, theirs = _told(name, known), _told(f"{path} {description}", known)
            if ours and theirs and not ours & theirs:
                text = f"{path} seems to be of {', '.join(sorted(theirs))}"
                if description:
                    text += f" (description: {description!r})"
                text += f", but template.name is {name}"
                remedy = "correct template.name, or name the file of that space"
                findings.append(Finding(WARNING, "template", text, remedy))
                break
    return findings


def description_of(path: Path) -> str:
    """The description in the header of a NIfTI file; "" if there is none, or no such file.

    Read here, without nibabel, since every dry run asks for it.
    """
    if not path.name.endswith((".nii", ".nii.gz")):
        return ""
    try:
        with reading(path, "NIfTI file"), path.open("rb") as file:
            is_packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            header = (gzip.GzipFile(fileobj=file) if is_packed else file).read(540)
    except ValueError:
        return ""
    sizes = {int.from_bytes(header[:4], order) for order in ("little", "big")}
    start = next((at for size, at in _DESCRIPTION_AT.items() if size in sizes), len(header))
    return header[start : start + 80].split(b"\0")[0].decode("latin-1").strip()


def _told(text: str, known: Mapping[str, str]) -> set[str]:
    # \b does not end a word at an underscore
    plain = text.lower().replace("_", " ")
    return {
        name
        for name, pattern in known.items()
        if re.search(pattern, text.lower()) or re.search(pattern, plain)
    }
