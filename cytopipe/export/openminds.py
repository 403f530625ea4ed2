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
# templates by name to the spaces that openMINDS has in its library
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
        for space, name, places_mm in (
            ("stack", f"stack of {brain.name}", brain.stack_mm),
            (template, f"template {template}", brain.template_mm),
        ):
            shown = brain.usable & np.isfinite(places_mm).all(axis=1)
            path = folder / f"{brain.name}_points-{space}.jsonld"
            _write_points(_points(places_mm[shown], space_id(name)), path)
            which = brain.points.loc[shown, ["point_id", "area"]]
            write_table(which, path.with_suffix(".tsv"), "\t", na="")
    readme.write("openminds", brains, folder)


def space_id(name: str) -> str:
    """The library's id of a known template, or one within the export."""
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


def _points(places_mm: Floats, space: str) -> Iterator[dict[str, Any]]:
    # a micrometre is finer than any of the errors
    for place in np.round(places_mm, 3).tolist():
        yield {
            "@type": f"{_TYPES}CoordinatePoint",
            "coordinateSpace": {"@id": space},
            "coordinates": [_value(coordinate) for coordinate in place],
        }


def _value(value: float) -> dict[str, Any]:
    return {"@type": f"{_TYPES}QuantitativeValue", "value": value, "unit": _MILLIMETRE}


def _write_points(points: Iterator[dict[str, Any]], path: Path) -> None:
    """Write a graph, a point a line."""
    lines = ",\n".join(json.dumps(point) for point in points)
    with atomic_write(path) as beside:
        beside.write_text(f'{{"@context": {json.dumps(_CONTEXT)}, "@graph": [\n{lines}\n]}}\n')
