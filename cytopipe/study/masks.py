"""Masks that a person draws: NIfTI, or a segmentation of 3D Slicer (.seg.nrrd).

A segmentation consists of named segments. They are cropped to what is drawn; segments that overlap
are in several layers. The file is in LPS mm, as in ITK; everything that this module returns is RAS.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytopipe.files import InputError, reading, require
from cytopipe.formats import volumes
from cytopipe.formats.itk_images import check_image
from cytopipe.formats.text import whole
from cytopipe.formats.volumes import Volume, labels_at

SUFFIXES = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd")
_SEGMENT = re.compile(r"Segment([0-9]{1,4})_(?:ID|Name|Layer|LabelValue)$")
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
        If the file is missing, damaged, has another format or several channels, does not say where
        left and right are, or holds what is not a label; if a segment lacks its value or layer, or
        a value is drawn that belongs to no segment.
    """
    require(path, "check the path")
    if path.name.endswith((".nii", ".nii.gz")):
        return [_whole(path, volumes.read(path))]
    if path.name.endswith(".nrrd"):
        return _read_segments(path)
    raise InputError(f"{path}: unknown format of a mask; {_AS_LABELS}")


def _whole(path: Path, volume: Volume) -> Segment:
    data = volume.data
    if not np.isfinite(data).all():
        raise InputError(f"{path}: holds NaN or infinity; save it as whole numbers, 0 for outside")
    # a single value is a mask, whatever the value; several fractions are no decision
    values = data[data != 0]
    is_one = values.size and (values == values[0]).all()
    if data.min() < 0 or not (is_one or np.array_equal(values, np.rint(values))):
        raise InputError(
            f"{path}: holds values from {data.min():g} to {data.max():g}, which are probabilities, "
            "distances or interpolated; save it as whole numbers, 0 for outside"
        )
    drawn = Volume((data != 0).astype(np.uint8), volume.affine)
    return Segment(path.name.split(".")[0], drawn, 1)


def _read_segments(path: Path) -> list[Segment]:
    import SimpleITK as sitk  # noqa: N813, its usual name

    check_image(path)
    with reading(path, "NRRD file"):
        image = sitk.ReadImage(str(path))
        # (k, j, i), and the layers last
        data = np.asarray(sitk.GetArrayFromImage(image))
        texts = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    if image.GetDimension() != 3:
        raise InputError(f"{path}: has {image.GetDimension()} dimensions; {_AS_LABELS}")
    stored = data[..., None] if data.ndim == 3 else data
    affine = _ras_affine(image)
    layers = [Volume(stored[..., n].T, affine) for n in range(stored.shape[-1])]
    # the numbers may have gaps
    numbers = sorted({int(key[1]) for text in texts if (key := _SEGMENT.match(text))})
    segments = [_segment(path, texts, number, layers) for number in numbers]
    if not segments and len(layers) > 1:
        raise InputError(f"{path}: has {len(layers)} channels and names no segments; {_AS_LABELS}")
    if not segments:
        return [_whole(path, layers[0])]
    for layer in layers:
        own = [segment.value for segment in segments if segment.labels is layer]
        if others := sorted(set(np.unique(layer.data).tolist()) - {0, *own}):
            raise InputError(
                f"{path}: the value {others[0]:g} is drawn but belongs to no segment; "
                "save the segmentation again"
            )
    return segments


def _segment(path: Path, texts: dict[str, str], number: int, layers: list[Volume]) -> Segment:
    def whole_number(name: str, usual: int) -> int:
        text = texts.get(f"Segment{number}_{name}", str(usual))
        return whole(text, f"{path}: {name} of segment {number}")

    # 3D Slicer before 4.11 writes one layer per segment, without its number
    layer = whole_number("Layer", number if len(layers) > 1 else 0)
    if layer >= len(layers):
        raise InputError(
            f"{path}: segment {number} is in layer {layer}, which is missing; "
            "save the segmentation again"
        )
    names = (texts.get(f"Segment{number}_{name}") for name in ("Name", "ID"))
    name = next(filter(None, names), f"segment {number}")
    return Segment(name, layers[layer], whole_number("LabelValue", 1))


def _ras_affine(image: Any) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
