"""`python -m cytopipe provenance`: show how a file was made, and whether files have changed."""

import html
import json
import re
import sys
from pathlib import Path
from typing import Any

from cytopipe import provenance
from cytopipe.commands.study_parser import study_parser
from cytopipe.files import InputError, reading, require
from cytopipe.provenance import KEY

SUFFIXES = (
    *(".gii", ".h5", ".html", ".nii", ".npz", ".parquet", ".pt", ".safetensors", ".tif", ".tsv"),
    ".yaml",
)
_COMMENT_CODE = 6  # of a NIfTI extension


def run(arguments: list[str]) -> int:
    """Print how a file was made, or compare results with the digests that their jobs kept.

    A record contains stage, versions, params and inputs. With --verify, every file that differs
    from what its job wrote is named, and every input that changed after it was used. The exit
    status is then 1.
    """
    parser = study_parser("provenance", run)
    parser.add_argument("--json", action="store_true", help="print the record as JSON")
    parser.add_argument(
        "--verify", action="store_true", help="compare files with their digests; all by default"
    )
    parser.add_argument("names", nargs="*", metavar="FILE", help="with --verify also a brain")
    options = parser.parse_args(arguments)
    if options.verify:
        # it imports this module
        from cytopipe.commands.verification import verify

        return verify(options.study, options.names)
    if len(options.names) != 1:
        parser.error("name one file, or use --verify")
    path = require(Path(options.names[0]), "give the path of a file that cytopipe wrote")
    holder = holder_of(path)
    if holder != path:
        print(f"{path}: read from {holder}, which the same job wrote", file=sys.stderr)
    record = read(holder)
    print(json.dumps(record, sort_keys=True) if options.json else described(record))
    return 0


def holder_of(path: Path) -> Path:
    """The file with the provenance of a file: itself, or one that the same job wrote."""
    if path.suffix == ".npy":
        return path.with_name(f"{path.stem.removesuffix('-projected')}.parquet")
    if path.name == "README.md":
        return path.with_name("weights.safetensors")
    return path


def read(path: Path) -> dict[str, Any]:
    """The provenance of a file: see docs/provenance.md.

    Raises
    ------
    InputError
        If the file is missing, unreadable, or has none.
    """
    require(path, "run the stage that writes it")
    record = find(path)
    if record is None:
        raise InputError(
            f"{path}: has no provenance; it was not made by a stage of cytopipe, or by an early "
            "version: delete it and run the stage again"
        )
    return record


def suffix_of(path: Path) -> str:
    """The suffix that tells a format: `.nii` for `.nii.gz`."""
    return path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix


def find(path: Path) -> dict[str, Any] | None:
    """The provenance of a file, or None; raises InputError if it cannot be read."""
    suffix = suffix_of(path)
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: has no provenance; cytopipe writes it into {' '.join(SUFFIXES)}")
    with reading(path, f"{suffix} file"):
        text = _text_in(path, suffix)
        record = json.loads(text) if text else None
    return record if isinstance(record, dict) else None


def described(record: dict[str, Any]) -> str:
    """A record as readable text."""
    lines = [
        f"stage     {record['stage']}, version {record['version']}",
        f"cytopipe  {record['cytopipe']}",
        f"command   python -m cytopipe {record['command']}",
    ]
    for part in ("params", "arguments", "inputs"):
        lines += [part, *_indented(record[part])]
    return "\n".join(lines)


def _indented(value: dict[str, Any] | list[Any], depth: int = 1) -> list[str]:
    lines = []
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        start = "  " * depth + (f"{key}: " if isinstance(value, dict) else "- ")
        if isinstance(item, dict) and "path" in item:
            digest = f"  sha256 {item['sha256']}" if "sha256" in item else ""
            size = f"  {item['bytes']} bytes" if "bytes" in item else ""
            lines.append(start + item["path"] + digest + size)
        elif isinstance(item, dict | list) and any(
            isinstance(inner, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ):
            lines += [start.rstrip(), *_indented(item, depth + 1)]
        else:
            lines.append(start + (item if isinstance(item, str) else json.dumps(item)))
    return lines


def _text_in(path: Path, suffix: str) -> str | None:
    """The provenance in a file, as JSON. Libraries are imported for the formats that need them."""
    if suffix == ".parquet":
        import pyarrow.parquet as pq

        return ((pq.read_schema(path).metadata or {}).get(KEY.encode()) or b"").decode()
    if suffix in (".nii", ".gii"):
        import nibabel as nib

        image = nib.load(path)
        if suffix == ".gii":
            return image.meta.get(KEY)
        comments = (e.text for e in image.header.extensions if e.get_code() == _COMMENT_CODE)
        return next(filter(None, map(provenance.from_line, comments)), None)
    if suffix == ".tif":
        import tifffile

        with tifffile.TiffFile(path) as tif:
            return provenance.from_line(tif.pages[0].software)
    if suffix == ".h5":
        import h5py

        with h5py.File(path) as file:
            return file[KEY][0].decode() if KEY in file else None
    if suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, "np") as file:
            return (file.metadata() or {}).get(KEY)
    if suffix == ".pt":
        from cytopipe.learning import checkpoints

        return checkpoints.load(path).get(KEY)
    if suffix == ".npz":
        import numpy as np

        with np.load(path) as arrays:
            return str(arrays[KEY]) if KEY in arrays else None
    if suffix == ".html":
        tag = re.search(f'<meta name="{KEY}" content="([^"]*)">', path.read_text())
        return html.unescape(tag[1]) if tag else None
    lines = (line.removeprefix("# ") for line in path.read_text().splitlines())
    return next(filter(None, map(provenance.from_line, lines)), None)
