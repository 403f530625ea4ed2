"""Format `openminds`: points as openMINDS SANDS (version 4) JSON-LD."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cytopipe.export import Params, readme
from cytopipe.export.csv import write_json, write_table
from cytopipe.files import atomic_write
from cytopipe.numerics.geometry import Floats
from cytopipe.study.results import BrainResults

_TYPES = "https://openminds.om-i.org/types/"
_INSTANCES = "https://openminds.om-i.org/instances/"
_CONTEXT = {"@vocab": "https://openminds.om-i.org/props/"}
_MILLIMETRE = {"@id": f"{_INSTANCES}unitOfMeasurement/millimeter"}
# name of a template to its space in the library of openMINDS
_KNOWN = {
    "colin27": "MNI-Colin27_1998",
    "icbm152_2009a": "MNI-ICBM152_nonlinear-2009a-asym",
    "icbm152_2009c": "MNI-ICBM152_nonlinear-2009c-asym",
}


def write(brains: Sequence[BrainResults], folder: Path, params: Params) -> None:
    """Write the coordinate spaces, and the usable points of each brain in stack and template."""
    spaces = {
        f"stack of {brain.name}": f"aligned sections of brain {brain.name}" for brain in brains
    }
    template = brains[0].template
    if template not in _KNOWN:
        spaces[f"template {template}"] = f"template {template}"
    graph = [_custom_space(name, about) for name, about in spaces.items()]
    write_json({"@context": _CONTEXT, "@graph": graph}, folder / "spaces.jsonld")
    for brain in brains:
        for space, name, positions_mm in (
            ("stack", f"stack of {brain.name}", brain.stack_mm),
            (template, f"template {template}", brain.template_mm),
        ):
            shown = brain.usable & np.isfinite(positions_mm).all(axis=1)
            path = folder / f"{brain.name}_points-{space}.jsonld"
            _write_points(_points(positions_mm[shown], space_id(name)), path)
            table = brain.points.loc[shown, ["point_id", "area"]]
            write_table(table, path.with_suffix(".tsv"), "\t", na="")
    readme.write("openminds", brains, folder)


def space_id(name: str) -> str:
    """The id of a known template in the library, or an id within the export."""
    known = _KNOWN.get(name.removeprefix("template "))
    if known is not None:
        return f"{_INSTANCES}commonCoordinateSpaceVersion/{known}"
    return "_:" + name.replace(" ", "-")


def _custom_space(name: str, about: str) -> dict[str, Any]:
    return {
        "@id": space_id(name),
        "@type": f"{_TYPES}CustomCoordinateSpace",
        "name": f"{about}, RAS mm",
        "anatomicalAxesOrientation": {"@id": f"{_INSTANCES}anatomicalAxesOrientation/RAS"},
        "axesOrigin": [_value(0.0)] * 3,
        "nativeUnit": _MILLIMETRE,
    }


def _points(positions_mm: Floats, space: str) -> Iterator[dict[str, Any]]:
    # to a micrometre, which is finer than any of the errors
    for position in np.round(positions_mm, 3).tolist():
        yield {
            "@type": f"{_TYPES}CoordinatePoint",
            "coordinateSpace": {"@id": space},
            "coordinates": [_value(coordinate) for coordinate in position],
        }


def _value(value: float) -> dict[str, Any]:
    return {"@type": f"{_TYPES}QuantitativeValue", "value": value, "unit": _MILLIMETRE}


def _write_points(points: Iterator[dict[str, Any]], path: Path) -> None:
    """Write a graph with one point per line."""
    lines = ",\n".join(json.dumps(point) for point in points)
    with atomic_write(path) as beside:
        beside.write_text(f'{{"@context": {json.dumps(_CONTEXT)}, "@graph": [\n{lines}\n]}}\n')
