"""Surfaces (GIfTI, MNI `.obj`) and per-vertex maps in RAS mm."""

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from cytopipe import provenance
from cytopipe.files import InputError, atomic_write, reading, require
from cytopipe.formats.text import read_text, whole


@dataclass(frozen=True)
class Surface:
    """A triangle mesh: vertices (n, 3) in RAS mm, faces (m, 3) whose normals point outwards."""

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]

    @property
    def is_empty(self) -> bool:
        """Whether this stands for a hemisphere that the brain lacks."""
        return not len(self.vertices) and not len(self.faces)


# NIFTI_XFORM_SCANNER_ANAT and ALIGNED_ANAT; a matrix to Talairach's or another template's space is
# for display
_OWN_SPACES = (1, 2)
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


def read(path: Path, hemisphere: str = "") -> Surface:
    """Read a surface, `.gii`, `.gii.gz` or the text form of MNI's `.obj`.

    Parameters
    ----------
    hemisphere : "L" or "R" if the surface must be of this one.

    Raises
    ------
    InputError
        If the file is missing, says that it is the other hemisphere, contains vertices without
        triangles, or a corner of a triangle is not a vertex. A surface without either is that of a
        hemisphere which a brain lacks.
    """
    require(path, "check the path in the config")
    surface = _read_obj(path) if path.suffix == ".obj" else _read_gifti(path, hemisphere)
    faces, count = surface.faces, len(surface.vertices)
    if surface.is_empty:
        return surface
    if not len(faces) or faces.min() < 0 or faces.max() >= count:
        corners = f"corners {faces.min()} to {faces.max()}" if len(faces) else "no triangles"
        raise InputError(f"{path}: {count} vertices and {corners}; write the surface again")
    if not np.isfinite(surface.vertices).all():
        raise InputError(f"{path}: contains NaN vertices; export it again")
    return surface


def _read_gifti(path: Path, hemisphere: str) -> Surface:
    with reading(path, "GIfTI surface"):
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
        # nibabel keeps the last matrix of an array
        if any(array.count(b"<MatrixData") > 1 for array in content.split(b"<DataArray")):
            raise ValueError("it has several matrices; keep one")
        image = nib.GiftiImage.from_bytes(content)
        [points] = image.get_arrays_from_intent("NIFTI_INTENT_POINTSET")
        [triangles] = image.get_arrays_from_intent("NIFTI_INTENT_TRIANGLE")
        vertices = points.data.astype(np.float64)
        faces = triangles.data.astype(np.int32)
        if not np.array_equal(faces, triangles.data):
            raise ValueError("corners of its triangles are not whole numbers")
        if vertices.shape[1:] != (3,) or faces.shape[1:] != (3,):
            raise ValueError(f"its arrays have the shapes {vertices.shape} and {faces.shape}")
        matrix = np.eye(4) if points.coordsys is None else np.array(points.coordsys.xform)
        if np.allclose(matrix, np.eye(4), rtol=0, atol=1e-6):
            matrix = np.eye(4)
        target = 0 if points.coordsys is None else int(points.coordsys.xformspace)
        centre = [float(points.meta.get(f"VolGeomC_{axis}", 0)) for axis in "RAS"]
        is_unknown = points.coordsys is None or int(points.coordsys.dataspace) == 0
        primary = {meta.get("AnatomicalStructurePrimary") for meta in (points.meta, image.meta)}
    if hemisphere and any(
        _STRUCTURE[other] in primary for other in _STRUCTURE if other != hemisphere
    ):
        raise InputError(
            f"{path}: is to be hemisphere {hemisphere}, but its AnatomicalStructurePrimary is "
            f"{', '.join(filter(None, primary))}; exchange the files, or correct what it says"
        )
    if not np.array_equal(matrix, np.eye(4)):
        if target not in _OWN_SPACES or not np.linalg.det(matrix[:3, :3]) > 0:
            raise InputError(
                f"{path}: its matrix leads to another space than that of the brain's own volume; "
                "save it in that space, without a matrix"
            )
        vertices = vertices @ matrix[:3, :3].T + matrix[:3, 3]
    elif is_unknown and any(centre):
        raise InputError(
            f"{path}: is in FreeSurfer's own coordinates, {centre} mm from those of the volume; "
            "convert it with mris_convert --to-scanner"
        )
    return Surface(vertices, faces)


def _read_obj(path: Path) -> Surface:
    """Read polygons as MNI's tools and BigBrain write them (bic_obj, not Wavefront's `.obj`).

    The file contains `P`, 5 properties of the surface, n, n vertices, n normals, m, the kind of
    colours (0 one for all, 1 per polygon, 2 per vertex), colours of 4 numbers, m ends of polygons,
    and the corners.
    """
    remedy = "write it as text with triangles (`P` first; Wavefront is another), or as .surf.gii"
    try:
        words = read_text(path, remedy).replace("_", "?").split()  # numpy reads 0_5 as 5
        if words[0] != "P":
            raise ValueError("it does not begin with P")
        count = whole(words[6], "the number of vertices")
        at = 7 + 6 * count
        triangles = whole(words[at], "the number of triangles")
        kind = whole(words[at + 1], "the kind of colours")
        at += 2 + 4 * {0: 1, 1: triangles, 2: count}[kind]
        if len(words) < at + 4 * triangles:
            raise ValueError(f"it ends before its {triangles} triangles")
        ends = np.array(words[at : at + triangles], np.int64)
        if not np.array_equal(ends, 3 * np.arange(1, triangles + 1)):
            raise ValueError("its polygons are not all triangles")
        at += triangles
        return Surface(
            np.array(words[7 : 7 + 3 * count], np.float64).reshape(count, 3),
            np.array(words[at : at + 3 * triangles], np.int32).reshape(triangles, 3),
        )
    except (ValueError, IndexError, KeyError, OverflowError) as error:
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
    """Read the first per-vertex map of a GIfTI file.

    Raises
    ------
    InputError
        If the file is missing or is not such a map.
    """
    require(path, "check the path in the config")
    with reading(path, "GIfTI map"):
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
