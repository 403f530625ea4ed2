"""The files beside a page. They are scripts, because a page on disk may not read data files.

A browser refuses fetch() between local files, but it runs a local script. Each script calls the
page's `put(name, value)`. Arrays are compressed; the page unpacks them.
"""

import base64
import gzip
import json
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import nibabel as nib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from plotly.offline import get_plotlyjs
from scipy import ndimage

from cytopipe.formats.surfaces import Surface
from cytopipe.formats.volumes import Volume
from cytopipe.numerics import meshes
from cytopipe.study.results import BrainResults

# voxels along the longest axis of a volume on the page; about 0.6 mm in a human brain
LONGEST = 320


def write_viewer_data(brain: BrainResults, surface_faces: int, folder: Path) -> None:
    """Write what the viewers of a brain's page load: volumes, surfaces, points, libraries."""
    hemispheres = {h: brain.surface(h) for h in brain.sides}
    maps = {
        "thickness": {h: brain.thickness(h) for h in brain.sides},
        "curvature": {h: brain.curvature(h) for h in brain.sides},
    }
    for name, values in (
        ("tissue", volume_text(brain.tissue, LONGEST)),
        ("template", volume_text(brain.template_tissue, LONGEST)),
        ("surface", surface_values(hemispheres, maps, surface_faces)),
        ("points", point_values(brain.points)),
    ):
        write_script(folder / f"{name}.js", name, values)
    write_niivue(folder / "niivue.js")
    (folder / "plotly.js").write_text(get_plotlyjs(), "utf-8")


def packed(array: NDArray[Any]) -> dict[str, Any]:
    """An array as the page's `unpack` reads it; equal arrays give equal text."""
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    content = gzip.compress(little.tobytes(), compresslevel=9, mtime=0)
    return {
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "gzip": base64.b64encode(content).decode(),
    }


def write_script(path: Path, name: str, value: Any) -> None:
    """Write a script that puts `value` on the page under `name`."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    path.write_text(f'put("{name}",{text});\n', encoding="utf-8")


def write_niivue(path: Path) -> None:
    """Write a script that puts niivue, the viewer of volumes and surfaces, on the page.

    The package ipyniivue carries niivue as the percent-encoded text of an ES module. A page on disk
    may not import a module, so its exports become the properties of an object.
    """
    package = metadata.distribution("ipyniivue")
    widget = Path(str(package.locate_file("ipyniivue/static/widget.js"))).read_text("utf-8")
    module = next(text for text in widget.split('"') if text.startswith("var%20"))
    body, exports = unquote(module).rsplit("export{", 1)
    names = [name.split(" as ") for name in exports.rstrip("};\n").split(",")]
    properties = ",".join(f"{name[-1]}:{name[0]}" for name in names)
    licence = package.read_text("licenses/LICENSE")
    script = f'put("niivue",(()=>{{"use strict";{body}return{{{properties}}}}})());'
    path.write_text(f"/*! niivue\n{licence}*/\n{script}\n", encoding="utf-8")


def volume_text(volume: Volume, longest: int) -> str:
    """Labels, cropped to the tissue, as base64 of a `.nii.gz` of at most `longest` voxels per axis.

    A larger volume is thinned to every nth voxel, which creates no label that was not there.
    """
    [box] = ndimage.find_objects((volume.data > 0).astype(np.uint8)) or [
        tuple(slice(0, size) for size in volume.data.shape)
    ]
    first = [max(side.start - 2, 0) for side in box]
    data = volume.data[tuple(slice(a, side.stop + 2) for a, side in zip(first, box, strict=True))]
    step = -(-max(data.shape) // longest)
    affine = volume.affine @ np.diag([step, step, step, 1.0])
    affine[:3, 3] = volume.to_mm(np.array(first))
    nifti = nib.Nifti1Image(data[::step, ::step, ::step].astype(np.uint8), affine).to_bytes()
    return base64.b64encode(gzip.compress(nifti, compresslevel=9, mtime=0)).decode()


def surface_values(
    surfaces: dict[str, Surface], maps: dict[str, dict[str, NDArray[Any]]], faces: int
) -> dict[str, Any]:
    """The hemispheres as meshes of about `faces` triangles in total, with their maps.

    Parameters
    ----------
    maps : name of the map to its values at the vertices of each hemisphere.

    Returns
    -------
    For each hemisphere its vertices in 0.01 mm, its faces, and its maps as float32.
    """
    values = {}
    total = sum(len(surface.faces) for surface in surfaces.values())
    for hemisphere, surface in sorted(surfaces.items()):
        share = faces * len(surface.faces) / total
        vertices, kept = meshes.decimate(surface.vertices, surface.faces, int(share))
        nearest = meshes.nearest_vertices(vertices, surface.vertices)
        values[hemisphere] = {
            "vertices": packed(np.rint(vertices * 100).astype(np.int32)),
            "faces": packed(kept.astype(np.int32)),
            "maps": {
                name: packed(np.asarray(of[hemisphere], np.float32)[nearest])
                for name, of in maps.items()
            },
        }
    return values


def point_values(points: pd.DataFrame) -> dict[str, Any]:
    """The points that have a coordinate, in 0.1 mm, with a code for each area."""
    located = points[points["x_mm"].notna()]
    names = ["", *sorted(set(located["area"]) - {""})]
    codes = {name: code for code, name in enumerate(names)}
    places = np.rint(located[["x_mm", "y_mm", "z_mm"]].to_numpy(np.float64) * 10)
    return {
        "places": packed(places.astype(np.int16)),
        "areas": packed(located["area"].map(codes).to_numpy(np.uint16)),
        "sides": packed((located["hemisphere"] == "R").to_numpy(np.uint8)),
        "sections": packed(located["section"].to_numpy(np.int32)),
        "refined": packed(np.nan_to_num(located["refined_um"].to_numpy(np.float32))),
        # -1: unknown
        "sigma": packed(located["sigma_mm"].fillna(-1).to_numpy(np.float32)),
        "names": names,
    }
