"""Scans of a BIDS microscopy data set, https://bids-specification.readthedocs.io (microscopy).

    sub-01/[ses-1/]micr/sub-01_[ses-1_]sample-0420_stain-nissl_[chunk-01_]BF.ome.tif (and .json)

The section's number is the last run of digits in the label of `sample`; of `chunk` where all files
are of one sample. Pixel size and section thickness stand in the sidecar, or in one further up.
"""

import json
import math
import re
from pathlib import Path
from typing import Any

from cytopipe.files import InputError, require
from cytopipe.formats.units import length_um
from cytopipe.study.scans import SUFFIXES, Scan, stem

SUFFIX = "BF"  # brightfield


def subject_of(folder: Path, brain: str) -> tuple[Path, Path]:
    """The data set's root and the subject's folder.

    Parameters
    ----------
    folder : the data set, or the folder of one of its subjects.

    Raises
    ------
    InputError
        If it is neither, or if several subjects could be the brain.
    """
    require(folder, "give the BIDS data set, or the folder of a subject of it")
    if folder.absolute().name.startswith("sub-"):
        return folder.absolute().parent, folder.absolute()
    subjects = sorted(path for path in folder.glob("sub-*") if path.is_dir())
    named = [path for path in subjects if path.name == f"sub-{brain}"]
    if not subjects:
        raise InputError(f"{folder}: has no folder sub-*; give the root of a BIDS data set")
    if len(subjects) > 1 and not named:
        names = ", ".join(path.name for path in subjects[:10])
        raise InputError(
            f"{folder}: has {len(subjects)} subjects ({names}) and none is sub-{brain}; "
            f"give the folder of one, as in --bids {subjects[0]}"
        )
    return folder, (named or subjects)[0]


def scans_of(folder: Path, brain: str) -> list[Scan]:
    """Brightfield images of a subject, with section number, pixel size and thickness.

    Raises
    ------
    InputError
        If there are none, a name has no number, or a sidecar cannot be read or gives no length.
    """
    root, subject = subject_of(folder, brain)
    paths = sorted(
        path
        for path in [*subject.glob("micr/*"), *subject.glob("ses-*/micr/*")]
        if path.name.lower().endswith(SUFFIXES) and stem(path).endswith(f"_{SUFFIX}")
    )
    if not paths:
        raise InputError(
            f"{subject}: has no micr/*_sample-*_{SUFFIX}.ome.tif (or .ome.btf, .ome.zarr, .tif, "
            ".png); name the images as BIDS does, or give --images"
        )
    entities = {path: entities_of(path) for path in paths}
    samples = {found.get("sample", "") for found in entities.values()}
    key = "chunk" if len(samples) == 1 and len(paths) > 1 else "sample"
    scans = []
    for path, found in entities.items():
        numbers = re.findall(r"\d+", found.get(key, ""))
        if not numbers:
            raise InputError(
                f"{path}: {key}-{found.get(key, '')} has no section number; rename the file, or "
                "give --table with columns section, image"
            )
        values, sources = sidecar(path, root)
        unit = str(values.get("PixelSizeUnits", ""))
        said_by = " and ".join(source.name for source in sources)
        scans.append(
            Scan(
                path,
                int(numbers[-1]),
                _square_um(values.get("PixelSize"), unit, path, said_by),
                _length(values.get("SliceThickness"), unit, path, said_by),
                said_by,
            )
        )
    return scans


def entities_of(path: Path) -> dict[str, str]:
    """Labels by entity: sub, ses, sample, stain, ..."""
    pairs = [part.partition("-") for part in stem(path).split("_")]
    return {key: label for key, dash, label in pairs if dash}


def sidecar(path: Path, root: Path) -> tuple[dict[str, Any], list[Path]]:
    """What the .json files that apply to an image say, and these files.

    They are beside the image or in a folder above it, named by some of its entities; what is nearer
    to it counts (the inheritance principle).
    """
    own = set(stem(path).split("_"))
    folders = [folder for folder in reversed(path.parents) if folder.is_relative_to(root)]
    values: dict[str, Any] = {}
    sources = []
    for folder in folders:
        fitting = [
            found
            for found in folder.glob(f"*{SUFFIX}.json")
            if set(found.name.removesuffix(".json").split("_")) <= own
        ]
        for found in sorted(fitting, key=lambda found: (found.name.count("_"), found.name)):
            values |= _read(found)
            sources.append(found)
    return values, sources


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as JSON ({error}); correct it") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no fields; a sidecar is a JSON object, as in {{...}}")
    return content


def _square_um(value: Any, unit: str, path: Path, said_by: str) -> float | None:
    if value is None:
        return None
    values = value if isinstance(value, list) else [value]
    sizes = [_length(size, unit, path, said_by, "PixelSize") for size in values[:2]]
    if not sizes or None in sizes:
        raise InputError(f"{path.name}: PixelSize is {value!r} in {said_by}; give [x, y]")
    x, y = sizes[0], sizes[-1]
    assert x is not None and y is not None
    if abs(x / y - 1) > 0.01:
        raise InputError(
            f"{path.name}: PixelSize is {value!r} in {said_by}; pixels must be square: "
            "correct it, or resample the image"
        )
    return x


def _length(
    value: Any, unit: str, path: Path, said_by: str, name: str = "SliceThickness"
) -> float | None:
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    found = length_um(float(value), unit) if number else math.nan
    if not 0 < found < math.inf:
        raise InputError(
            f"{path.name}: {name} is {value!r} {unit or 'without PixelSizeUnits'} in {said_by}; "
            "give positive numbers, and PixelSizeUnits of mm, um or nm"
        )
    return found
