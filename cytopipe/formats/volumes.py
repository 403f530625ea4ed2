"""NIfTI volumes in RAS mm."""

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from cytopipe import provenance
from cytopipe.files import InputError, atomic_write
from cytopipe.formats import nifti
from cytopipe.numerics.geometry import Floats


@dataclass(frozen=True)
class Volume:
    """An array with its position in space.

    Attributes
    ----------
    data : (i, j, k) array; axes run to R, A, S for volumes written by cytopipe.
    affine : (4, 4) from voxel indices to RAS mm of the voxel's centre.
    """

    data: NDArray[Any]
    affine: Floats

    @property
    def voxel_mm(self) -> Floats:
        """Edge lengths of a voxel."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))

    def to_mm(self, indices: NDArray[Any]) -> Floats:
        """RAS mm of (..., 3) voxel indices."""
        return np.asarray(indices, np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_indices(self, points_mm: NDArray[Any]) -> Floats:
        """Fractional voxel indices of (..., 3) points in RAS mm."""
        inverse = np.linalg.inv(self.affine)
        return np.asarray(points_mm, np.float64) @ inverse[:3, :3].T + inverse[:3, 3]


def labels_at(volume: Volume, points_mm: NDArray[Any]) -> NDArray[np.int64]:
    """Label of the voxel nearest to (n, 3) points in RAS mm; 0 outside the volume and at NaN."""
    # shifted off the ties between voxels, which rounding errors would decide
    nearest = np.floor(volume.to_indices(points_mm) + 0.5 + 1e-6)
    index = np.nan_to_num(nearest, nan=-1).astype(np.int64)
    inside = ((index >= 0) & (index < np.array(volume.data.shape))).all(axis=1)
    labels = np.zeros(len(index), np.int64)
    labels[inside] = volume.data[tuple(index[inside].T)]
    return labels


def regular_affine(voxel_mm: float, origin_mm: Floats) -> Floats:
    """Affine of an isotropic RAS grid whose voxel (0, 0, 0) is centred at `origin_mm`."""
    affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    affine[:3, 3] = origin_mm
    return affine


def write(volume: Volume, path: Path, description: str = "") -> None:
    """Write `.nii.gz` (equal volumes give equal bytes) or `.nii`.

    Parameters
    ----------
    description : for the field of this name in the header, up to 79 characters of ASCII.
    """
    image = nib.Nifti1Image(volume.data, volume.affine)
    image.header["descrip"] = description
    image.header.set_xyzt_units("mm")
    image.set_sform(volume.affine, code=2)
    image.set_qform(volume.affine, code=2)
    if text := provenance.line():
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", text.encode()))
    content = image.to_bytes()
    if path.suffix == ".gz":
        # level 1 is fast; without a time stamp the bytes depend only on the content
        content = gzip.compress(content, compresslevel=1, mtime=0)
    with atomic_write(path) as beside:
        beside.write_bytes(content)


def read_tissue(path: Path) -> Volume:
    """Read a volume of tissue labels, uint8: 0 background, 1 gray, 2 white matter.

    Raises
    ------
    InputError
        As `read`; and if it contains any other value.
    """
    volume = read(path)
    labels = _rounded(volume.data)
    if labels is None or not np.isin(labels, (0, 1, 2)).all():
        raise InputError(
            f"{path}: of shape {volume.data.shape} with values {volume.data.min():g} to "
            f"{volume.data.max():g}; a tissue volume contains only 0 (background), 1 (gray) and 2 "
            "(white matter)"
        )
    return Volume(labels.astype(np.uint8), volume.affine)


def read_labels(path: Path) -> Volume:
    """Read a volume of labels: whole numbers from 0, of any type in the file.

    Raises
    ------
    InputError
        As `read`; and if a value is not such a number.
    """
    volume = read(path)
    labels = _rounded(volume.data)
    if labels is None:
        raise InputError(
            f"{path}: labels are whole numbers from 0, but its values reach from "
            f"{volume.data.min():g} to {volume.data.max():g} or lie between them; resample labels "
            "by the nearest voxel"
        )
    return Volume(labels, volume.affine)


def _rounded(data: NDArray[Any]) -> NDArray[np.integer[Any]] | None:
    """Data as labels; other programs store them as floating point. None if they are not labels."""
    if data.min() >= 0 and data.max() <= np.iinfo(np.int32).max:
        if data.dtype.kind != "f":
            return data
        labels = np.rint(data)
        # fractions are probabilities or interpolated labels
        if np.allclose(labels, data, rtol=0, atol=1e-3):
            return labels.astype(np.int32)
    return None


def read(path: Path) -> Volume:
    """Read a three-dimensional NIfTI file, with its axes reoriented to those closest to R, A, S.

    Raises
    ------
    InputError
        As `nifti.read_array`; and if it has more than three dimensions.
    """
    data, grid = nifti.read_array(path)
    if len(grid.shape) != 3:
        raise InputError(
            f"{path}: of shape {grid.shape}, but a volume is three-dimensional; choose one, or "
            "save them as one label map"
        )
    return _reoriented(data.reshape(grid.shape, order="F"), grid.affine)


def read_maps(path: Path) -> Volume:
    """Read a four-dimensional NIfTI file, (i, j, k, maps), reoriented as by `read`.

    Raises
    ------
    InputError
        As `nifti.read_array`; and if it does not have four dimensions.
    """
    data, grid = nifti.read_array(path)
    if data.ndim != 4:
        raise InputError(f"{path}: has the shape {data.shape}; give 4D, one map per area")
    return _reoriented(data, grid.affine)


def _reoriented(data: NDArray[Any], affine: Floats) -> Volume:
    turn = nib.io_orientation(affine)
    turned = affine @ nib.orientations.inv_ornt_aff(turn, data.shape[:3])
    return Volume(nib.apply_orientation(data, turn), turned)
