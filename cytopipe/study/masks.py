"""Masks that a person draws: NIfTI, or a segmentation of 3D Slicer (.seg.nrrd).

A segmentation consists of named segments. They are cropped to what is drawn; segments that overlap
are in several layers. The file is in LPS mm, as in ITK; everything that this module returns is RAS.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from cytopipe.files import InputError, require
from cytopipe.formats.volumes import Volume, labels_at

SUFFIXES = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd")
_AS_LABELS = "save it as one label map (3D Slicer: export to a labelmap, or save as .seg.nrrd)"


@dataclass(frozen=True)
class Segment:
    """A named region: where `labels` is `value`, in RAS mm."""

    name: str
    labels: Volume
    value: int

    def holds(self, points_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether (n, 3) points in RAS mm lie inside, by the nearest voxel of its grid."""
        return np.asarray(labels_at(self.labels, points_mm) == self.value)


def read_mask(path: Path) -> list[Segment]:
    """The segments of a mask; a file without names is one segment of all voxels that are not 0.

    Raises
    ------
    InputError
        If the file is missing, damaged, has another format or several channels, or holds NaN.
    """
    require(path, "check the path")
    if path.name.endswith((".nii", ".nii.gz")):
        return [_whole(path, _read_nifti(path))]
    if path.name.endswith(".nrrd"):
        return _read_segments(path)
    raise InputError(f"{path}: unknown format of a mask; {_AS_LABELS}")


def _whole(path: Path, volume: Volume) -> Segment:
    if volume.data.dtype.fields or volume.data.ndim != 3:
        shape = "color" if volume.data.dtype.fields else f"of shape {volume.data.shape}"
        raise InputError(f"{path}: is {shape}, a mask is three-dimensional; {_AS_LABELS}")
    if not np.isfinite(volume.data).all():
        raise InputError(f"{path}: holds NaN or infinity; save it as whole numbers, 0 for outside")
    drawn = Volume((volume.data != 0).astype(np.uint8), volume.affine)
    return Segment(path.name.split(".")[0], drawn, 1)


def _read_nifti(path: Path) -> Volume:
    with _damage_named(path):
        image = nib.load(path)
        data = np.asanyarray(image.dataobj)
        affine = np.asarray(image.affine, np.float64)
    if not np.isfinite(affine).all() or np.linalg.det(affine[:3, :3]) == 0:
        raise InputError(f"{path}: its header has no valid position in space; export it again")
    if data.ndim == 4 and data.shape[3] == 1:
        data = data[..., 0]
    return Volume(data, affine)


def _read_segments(path: Path) -> list[Segment]:
    import SimpleITK as sitk  # noqa: N813, its usual name

    with _damage_named(path):
        image = sitk.ReadImage(str(path))
        # (k, j, i), and the layers last
        data = np.asarray(sitk.GetArrayFromImage(image))
    texts = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    if image.GetDimension() != 3:
        raise InputError(f"{path}: has {image.GetDimension()} dimensions; {_AS_LABELS}")
    layers = data[..., None] if data.ndim == 3 else data
    volumes = [Volume(layers[..., n].T, _ras_affine(image)) for n in range(layers.shape[-1])]
    segments: list[Segment] = []
    while (prefix := f"Segment{len(segments)}_") + "ID" in texts:
        number = len(segments)
        # 3D Slicer before 4.11 writes one layer per segment, without its number
        layer = int(texts.get(prefix + "Layer", number if len(volumes) > 1 else 0))
        value = int(texts.get(prefix + "LabelValue", 1))
        if not 0 <= layer < len(volumes):
            raise InputError(
                f"{path}: segment {number} is in layer {layer}, which is missing; "
                "save the segmentation again"
            )
        name = texts.get(prefix + "Name", texts[prefix + "ID"])
        segments.append(Segment(name, volumes[layer], value))
    if segments:
        return segments
    if len(volumes) > 1:
        raise InputError(f"{path}: has {len(volumes)} channels and names no segments; {_AS_LABELS}")
    return [_whole(path, volumes[0])]


def _ras_affine(image: Any) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Raise InputError for whatever the readers raise about a damaged file."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # each reader has its own error types
        message = (
            str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        )
        raise InputError(f"{path}: not readable ({message}); save or copy it again") from error
