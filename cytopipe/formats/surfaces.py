"""Surfaces (GIfTI, MNI `.obj`) and per-vertex maps in RAS mm."""

import binascii
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from cytopipe import provenance
from cytopipe.files import InputError, atomic_write, require


@dataclass(frozen=True)
class Surface:
    """A triangle mesh: vertices (n, 3) in RAS mm, faces (m, 3) whose normals point outwards."""

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]

    @property
    def is_empty(self) -> bool:
        """Whether this stands for a hemisphere that the brain lacks."""
        return not len(self.vertices) and not len(self.faces)


_STRUCTURE = {"L": "CortexLeft", "R": "CortexRight"}


def write(
    surface: Surface, path: Path, hemisphere: str = "", secondary: str = "MidThickness"
) -> None:
    """Write a `.surf.gii`; `hemisphere` is "L", "R" or "" when not known."""
    points = nib.gifti.GiftiDataArray(
        surface.vertices.astype(np.float32),
        intent="NIFTI_INTENT_POINTSET",
        datatype="NIFTI_TYPE_FLOAT32",
        coordsys=nib.gifti.GiftiCoordSystem(dataspace=1, xformspace=1),
        meta=_meta(hemisphere, AnatomicalStructureSecondary=secondary, GeometricType="Anatomical"),
    )
    triangles = nib.gifti.GiftiDataArray(
        surface.faces.astype(np.int32),
        intent="NIFTI_INTENT_TRIANGLE",
        datatype="NIFTI_TYPE_INT32",
    )
    _write(path, hemisphere, [points, triangles])


# what nibabel raises for a file that is not GIfTI, is truncated or is damaged
_UNREADABLE = (
    nib.filebasedimages.ImageFileError,
    ExpatError,
    AttributeError,
    OSError,
    binascii.Error,
    zlib.error,
)


def read(path: Path) -> Surface:
    """Read a surface, `.gii`, `.gii.gz` or the text form of MNI's `.obj`.

    Raises
    ------
    InputError
        If the file is missing, contains vertices without triangles, or a corner of a triangle is
        not a vertex. A surface without either is that of a hemisphere which a brain lacks.
    """
    require(path, "check the path in the config")
    if path.suffix == ".obj":
        surface = _read_obj(path)
    else:
        try:
            image = nib.load(path)
            surface = Surface(
                image.agg_data("pointset").astype(np.float64),
                image.agg_data("triangle").astype(np.int32),
            )
        except _UNREADABLE as error:
            raise InputError(f"{path}: not a GIfTI surface ({error})") from error
    faces, count = surface.faces, len(surface.vertices)
    if surface.is_empty:
        return surface
    if not len(faces) or faces.min() < 0 or faces.max() >= count:
        corners = f"corners {faces.min()} to {faces.max()}" if len(faces) else "no triangles"
        raise InputError(f"{path}: {count} vertices and {corners}; write the surface again")
    return surface


def _read_obj(path: Path) -> Surface:
    """Read polygons as MNI's tools and BigBrain write them (bic_obj, not Wavefront's `.obj`).

    The file contains `P`, 5 properties of the surface, n, n vertices, n normals, m, the kind of
    colours (0 one for all, 1 per polygon, 2 per vertex), colours of 4 numbers, m ends of polygons,
    and the corners.
    """
    try:
        words = path.read_text(encoding="ascii").split()
    except UnicodeDecodeError:
        words = []
    remedy = "write it as text with triangles (`P` first; Wavefront is another), or as .surf.gii"
    try:
        if words[0] != "P":
            raise ValueError("it does not begin with P")
        count = int(words[6])
        at = 7 + 6 * count
        triangles, kind = int(words[at]), int(words[at + 1])
        at += 2 + 4 * {0: 1, 1: triangles, 2: count}[kind]
        ends = np.array(words[at : at + triangles], np.int64)
        if not np.array_equal(ends, 3 * np.arange(1, triangles + 1)):
            raise ValueError("its polygons are not all triangles")
        at += triangles
        return Surface(
            np.array(words[7 : 7 + 3 * count], np.float64).reshape(count, 3),
            np.array(words[at : at + 3 * triangles], np.int32).reshape(triangles, 3),
        )
    except (ValueError, IndexError, KeyError) as error:
        raise InputError(f"{path}: not a surface in MNI's .obj ({error}); {remedy}") from error


def write_map(values: NDArray[Any], path: Path, hemisphere: str = "", title: str = "") -> None:
    """Write one value per vertex as `.shape.gii`.

    Each map has its own file: nilearn reads several maps of one file as objects it cannot draw.
    """
    array = nib.gifti.GiftiDataArray(
        np.asarray(values, np.float32),
        intent="NIFTI_INTENT_SHAPE",
        datatype="NIFTI_TYPE_FLOAT32",
        meta=nib.gifti.GiftiMetaData({"Name": title} if title else {}),
    )
    _write(path, hemisphere, [array])


def write_labels(
    keys: NDArray[np.integer[Any]],
    names: Sequence[str],
    colours: NDArray[np.uint8],
    path: Path,
    hemisphere: str,
    title: str,
) -> None:
    """Write a `.label.gii`.

    Parameters
    ----------
    keys : (vertices,) key of each vertex; 0 has no name and no colour ("???", as in Workbench).
    names, colours : of the keys from 1; (len(names), 3) red, green, blue.
    """
    table = nib.gifti.GiftiLabelTable()
    rgba = [(0.0, 0.0, 0.0, 0.0), *((*colour, 1.0) for colour in (colours / 255).tolist())]
    for key, (name, colour) in enumerate(zip(["???", *names], rgba, strict=True)):
        label = nib.gifti.GiftiLabel(key, *colour)
        label.label = name
        table.labels.append(label)
    array = nib.gifti.GiftiDataArray(
        np.asarray(keys, np.int32),
        intent="NIFTI_INTENT_LABEL",
        datatype="NIFTI_TYPE_INT32",
        meta=nib.gifti.GiftiMetaData({"Name": title}),
    )
    _write(path, hemisphere, [array], table)


def read_map(path: Path) -> NDArray[np.float64]:
    """Read the first per-vertex map of a GIfTI file."""
    require(path, "check the path in the config")
    return np.asarray(nib.load(path).darrays[0].data, np.float64)


def _meta(hemisphere: str, **more: str) -> Any:
    return nib.gifti.GiftiMetaData(
        {"AnatomicalStructurePrimary": _STRUCTURE[hemisphere], **more} if hemisphere else more
    )


def _write(path: Path, hemisphere: str, arrays: list[Any], labels: Any = None) -> None:
    meta = _meta(hemisphere, **provenance.entry())
    image = nib.gifti.GiftiImage(darrays=arrays, labeltable=labels, meta=meta)
    with atomic_write(path) as beside:
        beside.write_bytes(image.to_bytes())
