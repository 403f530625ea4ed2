"""ITK's transforms, read from files: affine ones and displacement fields, in LPS mm.

A damaged HDF5 file can crash the process that reads it. Those that cytopipe wrote end with a digest
of their content. Others are read in a process of their own, which hands over plain arrays:
`python -m cytopipe.formats.itk_transforms FILE FOLDER`.
"""

import hashlib
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813, its customary name
from numpy.typing import NDArray

from cytopipe.files import InputError, reading
from cytopipe.formats.itk_images import check_image
from cytopipe.numerics.geometry import Floats

# between two human brains, fixed or shrunken; chosen, as a wrong unit gives 1000 times as much
FARTHEST_MM = 1000.0
_IMAGES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd")
_SEAL = b"\nsha256 of the above: "
_SEAL_BYTES = len(_SEAL) + hashlib.sha256().digest_size
_HDF5 = b"\x89HDF\r\n\x1a\n"
# limits of the process: what it takes without a file, and for each byte of the file. Chosen: ITK
# reads over 20 MB a second, and fields of float32, packed four times, grow to twenty times
_SECONDS, _SECONDS_PER_BYTE = 60, 1e-6
_BYTES, _BYTES_PER_BYTE = 8 << 30, 50


def read_parts(path: Path) -> list[sitk.Transform]:
    """The parts of a transform in the order of the file: each affine, or a displacement field.

    Raises
    ------
    InputError
        If the file is damaged or truncated, or contains another transform or infinite numbers.
    """
    if path.name.endswith(_IMAGES):
        check_image(path, is_field=True)
        with reading(path, "displacement field"):
            field = sitk.ReadImage(str(path), sitk.sitkVectorFloat64)
            parts = [sitk.DisplacementFieldTransform(field)]
    elif _can_crash(path):
        parts = _read_apart(path)
    else:
        with reading(path, "transform of ITK"):
            parts = _parts(sitk.ReadTransform(str(path)).Downcast())
    for part in parts:
        if not _is_known(part):
            raise _unknown(path, part.GetName(), part.GetDimension())
        if isinstance(part, sitk.DisplacementFieldTransform):
            numbers = sitk.GetArrayViewFromImage(part.GetDisplacementField())
            # where the transform is unknown there is NaN, which is not larger than anything
            valid = not (np.abs(numbers) > FARTHEST_MM).any() and not np.isnan(numbers).all()
        else:
            matrix, shift = matrix_of(part)
            valid = bool(np.isfinite([*matrix.ravel(), *shift]).all() and np.linalg.det(matrix))
        if not valid:
            raise InputError(
                f"{path}: holds undefined numbers, or displacements of more than {FARTHEST_MM:g} "
                "mm; write the transform again, in mm"
            )
    return parts


def sealed(content: bytes) -> bytes:
    """An HDF5 file and its digest. HDF5 passes over what follows the end that its header states."""
    return content + _SEAL + hashlib.sha256(content).digest()


def check_unchanged(path: Path) -> bool:
    """Compare a file with the digest at its end; False if it has none, as those of other programs.

    Raises
    ------
    InputError
        If the file has changed since it was written.
    """
    with reading(path, "file"):
        content = path.read_bytes()
    body, seal, digest = content[:-_SEAL_BYTES], *content[-_SEAL_BYTES:].partition(_SEAL)[1:]
    if seal and digest != hashlib.sha256(body).digest():
        raise InputError(f"{path}: has changed since it was written; make or copy it again")
    return bool(seal)


def _can_crash(path: Path) -> bool:
    """Whether a file is HDF5 without a digest; raises InputError if it has a wrong one."""
    return not check_unchanged(path) and _HDF5 in path.read_bytes()


def matrix_of(itk: sitk.Transform) -> tuple[Floats, Floats]:
    """(3, 3) matrix and (3,) shift of a linear transform, from what it does to points."""
    shift = np.array(itk.TransformPoint((0.0, 0.0, 0.0)))
    columns = [np.array(itk.TransformPoint(unit)) - shift for unit in np.eye(3).tolist()]
    return np.stack(columns, axis=1), shift


def _parts(itk: sitk.Transform) -> list[sitk.Transform]:
    if not isinstance(itk, sitk.CompositeTransform):
        return [itk]
    inner = [itk.GetNthTransform(i).Downcast() for i in range(itk.GetNumberOfTransforms())]
    return [part for transform in inner for part in _parts(transform)]


def _is_known(part: sitk.Transform) -> bool:
    is_field = isinstance(part, sitk.DisplacementFieldTransform)
    return part.GetDimension() == 3 and (part.IsLinear() or is_field)


def _unknown(path: Path, name: str, dimension: int) -> InputError:
    if dimension != 3:
        return InputError(f"{path}: is {dimension}-dimensional; 3 are needed")
    return InputError(f"{path}: contains a {name}; write it as a displacement field instead")


def _read_apart(path: Path) -> list[sitk.Transform]:
    """Read a file in another process, which writes the arrays of each part into a folder."""
    size = path.stat().st_size
    with tempfile.TemporaryDirectory() as folder, reading(path, "transform of ITK"):
        process = subprocess.run(
            [sys.executable, "-m", __name__, str(path.absolute()), folder],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS + _SECONDS_PER_BYTE * size,
            check=False,
        )
        if process.returncode:
            lines = process.stderr.strip().splitlines() or [""]
            raise ValueError(lines[-1] if process.returncode > 0 else "reading it crashes HDF5")
        parts = []
        for number in range(len(list(Path(folder).iterdir()))):
            with np.load(Path(folder, f"{number}.npz")) as arrays:
                if "name" in arrays:
                    raise _unknown(path, str(arrays["name"]), int(arrays["dimension"]))
                parts.append(_field(arrays) if "field" in arrays else _affine(arrays))
        return parts


def _field(arrays: Mapping[str, NDArray[np.float64]]) -> sitk.Transform:
    image = sitk.GetImageFromArray(arrays["field"], isVector=True)
    # size, origin, spacing, direction
    grid = arrays["grid"].tolist()
    image.SetOrigin(grid[3:6])
    image.SetSpacing(grid[6:9])
    image.SetDirection(grid[9:18])
    return sitk.DisplacementFieldTransform(image)


def _affine(arrays: Mapping[str, NDArray[np.float64]]) -> sitk.Transform:
    itk = sitk.AffineTransform(3)
    itk.SetMatrix(arrays["matrix"].ravel().tolist())
    itk.SetTranslation(arrays["shift"].tolist())
    return itk


def _write_parts(path: Path, folder: Path) -> None:
    most = _BYTES + _BYTES_PER_BYTE * path.stat().st_size
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number, part in enumerate(_parts(sitk.ReadTransform(str(path)).Downcast())):
        arrays: dict[str, Any] = {}
        if not _is_known(part):
            arrays = {"name": part.GetName(), "dimension": part.GetDimension()}
        elif isinstance(part, sitk.DisplacementFieldTransform):
            arrays["grid"] = np.array(part.GetFixedParameters())
            arrays["field"] = sitk.GetArrayViewFromImage(part.GetDisplacementField())
        else:
            arrays["matrix"], arrays["shift"] = matrix_of(part)
        np.savez(folder / f"{number}.npz", **arrays)


if __name__ == "__main__":
    _write_parts(Path(sys.argv[1]), Path(sys.argv[2]))
