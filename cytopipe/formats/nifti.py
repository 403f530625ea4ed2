"""NIfTI files, read with nibabel: the whole file, and its position in RAS mm.

nibabel alone stops before the checksum of gzip, takes any header's numbers for mm, and guesses left
and right where the header does not say them.
"""

import gzip
import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from cytopipe.files import InputError, reading, require
from cytopipe.numerics.geometry import Floats

# the spatial unit of a header (xyzt_units) in mm; 0 is unknown, by which programs mean mm
_UNIT_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 1e-3}
# longest edge of a volume; chosen, as a wrong unit makes a brain 1000 times larger or smaller
_EDGE_MM = (1.0, 1000.0)
# deflate packs at most 258 bytes into 2 bits (RFC 1951)
DENSEST = 1032
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Grid:
    """The voxels of a file as it stores them.

    Attributes
    ----------
    shape : without trailing axes of one voxel, but at least three.
    affine : (4, 4) from voxel indices to RAS mm.
    unit_mm : unit of the header, to which the affine is converted already.
    """

    shape: tuple[int, ...]
    affine: Floats
    unit_mm: float


def read_grid(path: Path, remedy: str = "check the path in the config") -> Grid:
    """Read size and position, without the voxels.

    Parameters
    ----------
    remedy : for a missing file.

    Raises
    ------
    InputError
        If the file is missing, is not NIfTI, or is shorter or longer than its header declares; if
        the header has no position, two that contradict each other, an unknown unit, or one that
        does not fit a brain.
    """
    with _opened(path, remedy) as (image, _):
        return _grid(path, image)


def read_array(
    path: Path, remedy: str = "check the path in the config"
) -> tuple[NDArray[Any], Grid]:
    """Read the voxels, scaled as the header says, and their position.

    Raises
    ------
    InputError
        As `read_grid`; and if the voxels are colors or complex numbers, or the file is damaged.
    """
    with _opened(path, remedy) as (image, rest):
        grid = _grid(path, image)
        dtype = image.get_data_dtype()
        if dtype.kind not in "iuf":
            what = "color" if dtype.fields else f"of type {dtype}"
            raise InputError(f"{path}: is {what}; save it with one number per voxel")
        data = np.asanyarray(image.dataobj)
        rest()
        return data, grid


def check_whole(path: Path, is_field: bool = False) -> Grid:
    """Check, for readers that do not, that a file is complete and undamaged.

    Parameters
    ----------
    is_field : the file holds displacements.

    Raises
    ------
    InputError
        As `read_array`; and if a field holds positions, as SPM's do (`y_*.nii`).
    """
    with _opened(path, "check the path in the config") as (image, rest):
        grid = _grid(path, image)
        if is_field and image.header["intent_name"].item() == b"Mapping":
            raise InputError(
                f"{path}: holds positions, as SPM writes them, not displacements; subtract the "
                "position of each voxel, or export the field for ITK"
            )
        rest()
        return grid


@contextmanager
def _opened(path: Path, remedy: str) -> Iterator[tuple[Any, Any]]:
    """The image, its voxels not yet read, and a function that reads the file to its end."""
    require(path, remedy)
    with reading(path, "NIfTI file"), path.open("rb") as file:
        is_packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stream: Any = gzip.GzipFile(fileobj=file) if is_packed else file
        start = stream.read(540)
        kinds = (nib.Nifti2Image, nib.Nifti1Image)
        kind = next((k for k in kinds if k.header_class.may_contain_header(start)), None)
        if kind is None or b"n+" not in (start[344:346], start[4:6]):
            raise ValueError("it does not begin like one, .nii or .nii.gz")
        stream.seek(0)
        raw = kind.header_class.from_fileobj(stream, check=False)
        codes = int(raw["sform_code"]), int(raw["qform_code"])
        # nibabel would mend these silently
        if not all(0 <= code <= 5 for code in codes):
            raise ValueError(f"sform_code and qform_code are {codes[0]} and {codes[1]}")
        if not codes[0] and not (raw["pixdim"][1:4] > 0).all():
            raise ValueError(f"its voxel size is {raw['pixdim'][1:4].tolist()}")
        stream.seek(0)
        # not mapped into memory: a file that is cut off later would kill the process
        image = kind.from_file_map({"image": nib.FileHolder(fileobj=stream)}, mmap=False)
        shape, size = image.header.get_data_shape(), path.stat().st_size
        if not 3 <= len(shape) <= 5 or min(shape) < 1:
            raise ValueError(f"its shape is {shape}")
        start_bytes = int(image.dataobj.offset)
        declared = start_bytes + math.prod(map(int, shape)) * image.get_data_dtype().itemsize
        if declared > size * DENSEST if is_packed else declared != size:
            raise ValueError(f"its header declares {declared} bytes, the file holds {size}")

        def rest() -> None:
            held = stream.tell()
            while block := stream.read(_BLOCK):
                held += len(block)
            if held != declared:
                raise ValueError(f"its header declares {declared} bytes, the file holds {held}")

        yield image, rest


def _grid(path: Path, image: Any) -> Grid:
    shape = tuple(int(n) for n in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    affine = _affine(path, image.header, shape)
    edge_mm = float((np.linalg.norm(affine[:3, :3], axis=0) * shape[:3]).max())
    if not _EDGE_MM[0] <= edge_mm <= _EDGE_MM[1]:
        raise InputError(
            f"{path}: its longest edge is {edge_mm:.3g} mm by its header, which is not the size of "
            "a brain; correct the voxel size, or the unit (xyzt_units)"
        )
    return Grid(shape, affine, _UNIT_MM[int(image.header["xyzt_units"]) & 7])


def _affine(path: Path, header: Any, shape: tuple[int, ...]) -> Floats:
    remedy = "export it again with its affine in RAS mm"
    codes = int(header["sform_code"]), int(header["qform_code"])
    if codes == (0, 0):
        raise InputError(
            f"{path}: its header has no position in space (sform_code and qform_code are 0), so "
            f"left and right are unknown; {remedy}"
        )
    unit = int(header["xyzt_units"]) & 7
    if unit not in _UNIT_MM:
        raise InputError(f"{path}: its header has the unknown unit {unit} (xyzt_units); {remedy}")
    forms = []
    for code, form in zip(codes, (header.get_sform, header.get_qform), strict=True):
        if not code:
            continue
        matrix = np.asarray(form(), np.float64)
        least = 1e-6 * np.linalg.norm(matrix[:3, :3], axis=0).prod()
        if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3])) <= least:
            raise InputError(f"{path}: its header has no valid position in space; {remedy}")
        matrix[:3] *= _UNIT_MM[unit]
        forms.append(matrix)
    if len(forms) == 2 and _contradict(header, forms[0], forms[1], shape):
        raise InputError(
            f"{path}: its header has two positions that contradict each other (sform and qform), "
            "so its place, or left and right, are unknown; delete the wrong one (set its code to 0)"
        )
    # as nibabel, SPM and FSL: the sform before the qform
    return forms[0]


def _contradict(header: Any, sform: Floats, qform: Floats, shape: tuple[int, ...]) -> bool:
    """Whether a side is exchanged; or, within one space, a corner is more than a voxel away."""
    turn = sform[:3, :3] @ np.linalg.inv(qform[:3, :3])
    if np.linalg.det(turn) <= 0 or (np.diag(turn) <= 0).any():
        return True
    # a qform cannot express shears
    closest = header.copy()
    closest.set_qform(sform)
    apart = closest.get_qform() - qform
    corners = np.array(list(itertools.product(*((0, n - 1) for n in shape[:3]))))
    distances_mm = np.linalg.norm(corners @ apart[:3, :3].T + apart[:3, 3], axis=1)
    voxel_mm = np.linalg.norm(sform[:3, :3], axis=0).max()
    is_one_space = int(header["sform_code"]) == int(header["qform_code"])
    return is_one_space and bool(distances_mm.max() > voxel_mm)
