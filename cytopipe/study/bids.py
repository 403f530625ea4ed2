"""Scans of a BIDS microscopy data set, https://bids-specification.readthedocs.io (microscopy).

    sub-01/[ses-1/]micr/sub-01_[ses-1_]sample-0420_stain-nissl_[chunk-01_]BF.ome.tif (and .json)

The section number is the last run of digits in the label of `sample`, or of `chunk` if all files
have the same sample. Pixel size and section thickness are in the sidecar, or in one further up.
"""

import math
import re
from pathlib import Path
from typing import Any

from cytopipe.files import InputError, require
from cytopipe.formats.text import read_json
from cytopipe.formats.units import length_um
from cytopipe.study.scans import SUFFIXES, Scan, stem

SUFFIX = "BF"  # brightfield


def subject_of(folder: Path, brain: str) -> tuple[Path, Path]:
    """The root of a data set, and the folder of the subject that is the brain.

    Parameters
    ----------
    folder : the data set, or the folder of one of its subjects.

    Raises
    ------
    InputError
        If it is neither, or if it has several subjects and none has the name of the brain.
    """
    require(folder, "give the BIDS data set, or the folder of one of its subjects")
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
        If there are none, a name has no number, or a sidecar is not readable or has a wrong length.
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
    samples = {labels.get("sample", "") for labels in entities.values()}
    key = "chunk" if len(samples) == 1 and len(paths) > 1 else "sample"
    scans = []
    for path, labels in entities.items():
        numbers = re.findall(r"\d+", labels.get(key, ""))
        if not numbers:
            raise InputError(
                f"{path}: {key}-{labels.get(key, '')} has no section number; rename the file, or "
                "give --table with columns section, image"
            )
        values, sources = sidecar(path, root)
        unit = str(values.get("PixelSizeUnits", ""))
        source = " and ".join(file.name for file in sources)
        scans.append(
            Scan(
                path,
                int(numbers[-1]),
                _square_um(values.get("PixelSize"), unit, path, source),
                # always in um, whatever PixelSizeUnits says (BIDS, sidecar of microscopy)
                _length(values.get("SliceThickness"), "um", path, source),
                source,
            )
        )
    return scans


def entities_of(path: Path) -> dict[str, str]:
    """Labels by entity: sub, ses, sample, stain, ..."""
    pairs = [part.partition("-") for part in stem(path).split("_")]
    return {key: label for key, dash, label in pairs if dash}


def sidecar(path: Path, root: Path) -> tuple[dict[str, Any], list[Path]]:
    """The fields of the .json files that apply to an image, and these files.

    They are beside the image or in a folder above it, and their names consist of some of its
    entities. The nearest one wins (the inheritance principle of BIDS).
    """
    own = set(stem(path).split("_"))
    folders = [folder for folder in reversed(path.parents) if folder.is_relative_to(root)]
    values: dict[str, Any] = {}
    sources = []
    for folder in folders:
        fitting = [
            file
            for file in folder.glob(f"*{SUFFIX}.json")
            if set(file.name.removesuffix(".json").split("_")) <= own
        ]
        for file in sorted(fitting, key=lambda file: (file.name.count("_"), file.name)):
            values |= _read(file)
            sources.append(file)
    return values, sources


def _read(path: Path) -> dict[str, Any]:
    content = read_json(path, "correct it")
    if not isinstance(content, dict):
        raise InputError(f"{path}: is not a JSON object {{...}}; correct it")
    return content


def _square_um(value: Any, unit: str, path: Path, source: str) -> float | None:
    if value is None:
        return None
    values = value if isinstance(value, list) else [value]
    sizes = [_length(size, unit, path, source, "PixelSize") for size in values[:2]]
    if not sizes or None in sizes:
        raise InputError(f"{path.name}: PixelSize is {value!r} in {source}; give [x, y]")
    x, y = sizes[0], sizes[-1]
    assert x is not None and y is not None
    if abs(x / y - 1) > 0.01:
        raise InputError(
            f"{path.name}: PixelSize is {value!r} in {source}; pixels must be square: "
            "correct it, or resample the image"
        )
    return x


def _length(
    value: Any, unit: str, path: Path, source: str, name: str = "SliceThickness"
) -> float | None:
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # an integer of JSON may exceed all floating-point numbers
    value_um = length_um(float(value), unit) if is_number and abs(value) < 1e300 else math.nan
    if not 0 < value_um < math.inf:
        raise InputError(
            f"{path.name}: {name} is {value!r:.40} {unit or 'without PixelSizeUnits'} in {source}; "
            "give positive numbers, and PixelSizeUnits of mm, um or nm (SliceThickness is in um)"
        )
    return value_um
