"""GIfTI surfaces and per-vertex maps in RAS mm."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from cytopipe import provenance
from cytopipe.files import InputError, require, whole


@dataclass(frozen=True)
class Surface:
    """A triangle mesh: vertices (n, 3) in RAS mm, faces (m, 3) whose normals point outwards."""

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]


STRUCTURE = {"L": "CortexLeft", "R": "CortexRight"}


def _meta(hemisphere: str, **more: str) -> Any:
    return nib.gifti.GiftiMetaData(
        {"AnatomicalStructurePrimary": STRUCTURE[hemisphere], **more} if hemisphere else more
    )


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
    image = nib.gifti.GiftiImage(
        darrays=[points, triangles], meta=_meta(hemisphere, **provenance.entry())
    )
    with whole(path) as beside:
        beside.write_bytes(image.to_bytes())


def read(path: Path) -> Surface:
    """Read a surface, `.gii` or `.gii.gz`.

    Raises
    ------
    InputError
        If the file is missing or holds no point set with triangles.
    """
    require(path, "check the path in the config")
    try:
        image = nib.load(path)
        return Surface(
            image.agg_data("pointset").astype(np.float64),
            image.agg_data("triangle").astype(np.int32),
        )
    except (nib.filebasedimages.ImageFileError, ExpatError, AttributeError, OSError) as error:
        raise InputError(f"{path}: not a GIfTI surface ({error})") from error


def write_map(values: NDArray[Any], path: Path, hemisphere: str = "") -> None:
    """Write one value a vertex as `.shape.gii`."""
    array = nib.gifti.GiftiDataArray(
        np.asarray(values, np.float32),
        intent="NIFTI_INTENT_SHAPE",
        datatype="NIFTI_TYPE_FLOAT32",
    )
    image = nib.gifti.GiftiImage(darrays=[array], meta=_meta(hemisphere, **provenance.entry()))
    with whole(path) as beside:
        beside.write_bytes(image.to_bytes())


def read_map(path: Path) -> NDArray[np.float64]:
    """Read the first per-vertex map of a GIfTI file."""
    require(path, "check the path in the config")
    return np.asarray(nib.load(path).darrays[0].data, np.float64)
