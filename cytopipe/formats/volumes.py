"""NIfTI volumes in RAS mm."""

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from cytopipe import provenance
from cytopipe.files import InputError, atomic_write, require
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


def write(volume: Volume, path: Path) -> None:
    """Write `.nii.gz` (equal volumes give equal bytes) or `.nii`."""
    image = nib.Nifti1Image(volume.data, volume.affine)
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
        If it is not three-dimensional or contains any other value.
    """
    volume = read(path)
    labels = np.rint(volume.data)  # other programs store labels as floating point
    # fractions are probabilities or interpolated labels
    whole_numbers = np.allclose(labels, volume.data, rtol=0, atol=1e-3)
    if labels.ndim != 3 or not whole_numbers or not np.isin(labels, (0, 1, 2)).all():
        raise InputError(
            f"{path}: of shape {volume.data.shape} with values {volume.data.min():g} to "
            f"{volume.data.max():g}; a tissue volume is three-dimensional and contains only 0 "
            "(background), 1 (gray) and 2 (white matter)"
        )
    return Volume(labels.astype(np.uint8), volume.affine)


def read(path: Path) -> Volume:
    """Read a NIfTI file, with its axes reoriented to those closest to R, A, S.

    Raises
    ------
    InputError
        If the file is missing or is not a NIfTI file.
    """
    require(path, "check the path in the config")
    try:
        image = nib.as_closest_canonical(nib.load(path))
        return Volume(np.asanyarray(image.dataobj), np.asarray(image.affine, np.float64))
    except (nib.filebasedimages.ImageFileError, OSError, EOFError) as error:
        raise InputError(f"{path}: not a readable NIfTI file ({error})") from error
