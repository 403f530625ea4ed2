"""`python -m cytopipe provenance FILE`: what made a file."""

import argparse
import html
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cytopipe import provenance
from cytopipe.files import InputError, require


def run(arguments: list[str]) -> int:
    """Print what made a file: stage, versions, params and inputs, as the file itself says."""
    parser = argparse.ArgumentParser("cytopipe provenance", description=run.__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--json", action="store_true", help="as the file holds it")
    options = parser.parse_args(arguments)
    path = require(options.file, "give the path of a file that cytopipe wrote")
    holder = holder_of(path)
    if holder != path:
        print(
            f"{path}: its format has no place; this is of {holder}, of the same job",
            file=sys.stderr,
        )
    record = read(holder)
    print(json.dumps(record, sort_keys=True) if options.json else described(record))
    return 0


def holder_of(path: Path) -> Path:
    """The file that tells the provenance of one: itself, or that beside it of the same job."""
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
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if suffix not in _READERS:
        raise InputError(
            f"{path}: has no provenance; cytopipe writes it into {' '.join(sorted(_READERS))}"
        )
    try:
        text = _READERS[suffix](path)
        record = json.loads(text) if text else None
    except Exception as error:  # any library's own error type: named and passed on
        raise InputError(f"{path}: not readable as {suffix} ({error})") from error
    if not isinstance(record, dict):
        raise InputError(
            f"{path}: has no provenance; it was not made by a stage of cytopipe, or by an early "
            "version: delete it and run the stage again"
        )
    return record


def described(record: dict[str, Any]) -> str:
    """A record for a person to read."""
    lines = [
        f"stage     {record['stage']}, version {record['version']}",
        f"cytopipe  {record['cytopipe']}",
        f"command   python -m cytopipe {record['command']}",
    ]
    for part in ("params", "arguments", "inputs"):
        lines += [part, *_indented(record[part])]
    return "\n".join(lines)


def _items(value: dict[str, Any] | list[Any]) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(f"{key}: ", item) for key, item in value.items()]
    return [("- ", item) for item in value]


def _indented(value: dict[str, Any] | list[Any], depth: int = 1) -> list[str]:
    lines = []
    for name, item in _items(value):
        start = "  " * depth + name
        if isinstance(item, dict) and "path" in item:
            digest = f"  sha256 {item['sha256']}" if "sha256" in item else ""
            size = f"  {item['bytes']} bytes" if "bytes" in item else ""
            lines.append(start + item["path"] + digest + size)
        elif isinstance(item, dict | list) and any(
            isinstance(inner, dict | list) for _, inner in _items(item)
        ):
            lines += [start.rstrip(), *_indented(item, depth + 1)]
        else:
            lines.append(start + (item if isinstance(item, str) else json.dumps(item)))
    return lines


def _parquet(path: Path) -> str | None:
    import pyarrow.parquet as pq

    found = (pq.read_schema(path).metadata or {}).get(provenance.KEY.encode())
    return found.decode() if found else None


def _nifti(path: Path) -> str | None:
    import nibabel as nib

    for extension in nib.load(path).header.extensions:
        if extension.get_code() == 6:
            text = provenance.from_line(extension.text)
            if text:
                return text
    return None


def _gifti(path: Path) -> str | None:
    import nibabel as nib

    return nib.load(path).meta.get(provenance.KEY)


def _tiff(path: Path) -> str | None:
    import tifffile

    with tifffile.TiffFile(path) as tif:
        return provenance.from_line(tif.pages[0].software)


def _hdf5(path: Path) -> str | None:
    import h5py

    with h5py.File(path) as file:
        return file[provenance.KEY][0].decode() if provenance.KEY in file else None


def _safetensors(path: Path) -> str | None:
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        return (file.metadata() or {}).get(provenance.KEY)


def _torch(path: Path) -> str | None:
    from cytopipe.learning import checkpoints

    return checkpoints.load(path).get(provenance.KEY)


def _npz(path: Path) -> str | None:
    import numpy as np

    with np.load(path) as arrays:
        return str(arrays[provenance.KEY]) if provenance.KEY in arrays else None


def _comment(path: Path) -> str | None:
    lines = (line.removeprefix("# ") for line in path.read_text().splitlines())
    return next(filter(None, map(provenance.from_line, lines)), None)


def _html(path: Path) -> str | None:
    found = re.search(f'<meta name="{provenance.KEY}" content="([^"]*)">', path.read_text())
    return html.unescape(found[1]) if found else None


_READERS: dict[str, Callable[[Path], str | None]] = {
    ".parquet": _parquet,
    ".nii": _nifti,
    ".gii": _gifti,
    ".tif": _tiff,
    ".h5": _hdf5,
    ".safetensors": _safetensors,
    ".pt": _torch,
    ".npz": _npz,
    ".tsv": _comment,
    ".yaml": _comment,
    ".html": _html,
}
