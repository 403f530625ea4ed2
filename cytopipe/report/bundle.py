"""What lies beside a page: scripts that hand it data, since pages from a disk may not read files.

A browser refuses fetch() between local files, but runs a script from one. Each file calls the
page's `put(name, value)`. Arrays are compressed; the page unpacks them.
"""

import base64
import gzip
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cytopipe.files import full_disk_named
from cytopipe.formats.surfaces import Surface
from cytopipe.formats.volumes import Volume
from cytopipe.numerics import meshes
from cytopipe.report.thumbnails import Picture


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path`; put it in the place of `path` when the block succeeds."""
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
    """An array as the page's `unpack` takes it; the same array gives the same text."""
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    content = gzip.compress(little.tobytes(), compresslevel=9, mtime=0)
    return {
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "gzip": base64.b64encode(content).decode(),
    }


def write_script(path: Path, name: str, value: dict[str, Any]) -> None:
    """A script that hands `value` to the page under `name`."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    path.write_text(f'put("{name}",{text});\n', encoding="utf-8")


def write_jpeg(picture: Picture, path: Path, quality: int) -> None:
    """An RGB or gray picture as JPEG."""
    swapped = picture[:, :, ::-1] if picture.ndim == 3 else picture  # OpenCV writes BGR
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    _, content = cv2.imencode(".jpg", np.ascontiguousarray(swapped), options)
    path.write_bytes(content.tobytes())


def volume_values(volume: Volume, longest: int) -> dict[str, Any]:
    """Labels around the tissue for the page, thinned to at most `longest` voxels along an axis.

    Every nth voxel is kept, which makes up no label that is not there.
    """
    inside = [np.flatnonzero((volume.data > 0).any(axis=tuple({0, 1, 2} - {a}))) for a in range(3)]
    first = [max(int(at[0]) - 2, 0) if len(at) else 0 for at in inside]
    last = [
        int(at[-1]) + 3 if len(at) else size
        for at, size in zip(inside, volume.data.shape, strict=True)
    ]
    data = volume.data[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
    step = -(-max(data.shape) // longest)
    spacing = np.diagonal(volume.affine)[:3] * step
    return {
        "labels": packed(data[::step, ::step, ::step].astype(np.uint8)),
        "origin_mm": [float(x) for x in volume.to_mm(np.array(first))],
        "spacing_mm": [float(x) for x in spacing],
    }


def surface_values(
    surfaces: dict[str, Surface], maps: dict[str, dict[str, NDArray[Any]]], faces: int
) -> dict[str, Any]:
    """Both hemispheres in one mesh of at most some `faces` triangles, with their maps.

    Parameters
    ----------
    maps : name of the map to its values at the vertices of each hemisphere.

    Returns
    -------
    vertices in 0.01 mm, faces, the maps as float32, and how many faces are the left hemisphere's.
    """
    parts, values, first = [], {name: [] for name in maps}, 0  # type: ignore[var-annotated]
    total = sum(len(surface.faces) for surface in surfaces.values())
    triangles = []
    for hemisphere, surface in sorted(surfaces.items()):
        share = faces * len(surface.faces) / total
        vertices, kept = meshes.decimate(surface.vertices, surface.faces, int(share))
        nearest = meshes.nearest_vertices(vertices, surface.vertices)
        for name, of in maps.items():
            values[name].append(np.asarray(of[hemisphere], np.float32)[nearest])
        parts.append(vertices)
        triangles.append(kept + first)
        first += len(vertices)
    return {
        "vertices": packed(np.rint(np.concatenate(parts) * 100).astype(np.int32)),
        "faces": packed(np.concatenate(triangles).astype(np.int32)),
        "left_faces": len(triangles[0]),
        "maps": {name: packed(np.concatenate(of)) for name, of in values.items()},
    }
