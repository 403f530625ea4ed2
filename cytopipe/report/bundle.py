"""The files beside a page: scripts that hand it data, since a page on disk may not read files.

A browser refuses fetch() between local files, but it runs a local script. Each file calls the
page's `put(name, value)`. Arrays are compressed; the page unpacks them.
"""

import base64
import gzip
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import cv2
import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from cytopipe.files import full_disk_named
from cytopipe.formats.surfaces import Surface
from cytopipe.formats.volumes import Volume
from cytopipe.numerics import meshes
from cytopipe.report.thumbnails import Picture


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path`; it replaces `path` when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{os.getpid()}-{path.name}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        with full_disk_named(path):
            yield beside
        if path.exists():
            shutil.rmtree(path)
        beside.rename(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def packed(array: NDArray[Any]) -> dict[str, Any]:
    """An array in the form that the page's `unpack` reads; equal arrays give equal text."""
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    content = gzip.compress(little.tobytes(), compresslevel=9, mtime=0)
    return {
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "gzip": base64.b64encode(content).decode(),
    }


def write_script(path: Path, name: str, value: Any) -> None:
    """Write a script that hands `value` to the page under `name`."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    path.write_text(f'put("{name}",{text});\n', encoding="utf-8")


def write_niivue(path: Path) -> None:
    """Write a script that hands niivue, the viewer of volumes and surfaces, to the page.

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


def write_jpeg(picture: Picture, path: Path, quality: int) -> None:
    """Write an RGB or gray picture as JPEG."""
    swapped = picture[:, :, ::-1] if picture.ndim == 3 else picture  # OpenCV writes BGR
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    _, content = cv2.imencode(".jpg", np.ascontiguousarray(swapped), options)
    path.write_bytes(content.tobytes())


def volume_text(volume: Volume, longest: int) -> str:
    """Labels around the tissue as base64 of a `.nii.gz`, at most `longest` voxels along an axis.

    A larger volume is thinned to every nth voxel, which invents no label.
    """
    inside = [np.flatnonzero((volume.data > 0).any(axis=tuple({0, 1, 2} - {a}))) for a in range(3)]
    first = [max(int(at[0]) - 2, 0) if len(at) else 0 for at in inside]
    last = [
        int(at[-1]) + 3 if len(at) else size
        for at, size in zip(inside, volume.data.shape, strict=True)
    ]
    data = volume.data[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
    step = -(-max(data.shape) // longest)
    affine = volume.affine @ np.diag([step, step, step, 1.0])
    affine[:3, 3] = volume.to_mm(np.array(first))
    nifti = nib.Nifti1Image(data[::step, ::step, ::step].astype(np.uint8), affine).to_bytes()
    return base64.b64encode(gzip.compress(nifti, compresslevel=9, mtime=0)).decode()


def surface_values(
    surfaces: dict[str, Surface], maps: dict[str, dict[str, NDArray[Any]]], faces: int
) -> dict[str, Any]:
    """The hemispheres as meshes of together at most some `faces` triangles, with their maps.

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
