"""A cortex of true size for the suite: labels 0 outside, 1 gray, 2 white, at any voxel size.

Made of the tissue maps of MNI152 that nilearn brings, shrunk to 0.8 as brains shrink in paraffin.
Gray matter reaches 2.5 mm from the white, so that it is a ribbon, sulci that touch included.
"""

import numpy as np
from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template
from numpy.typing import NDArray
from scipy import ndimage

SHRINKAGE = 0.8
THICKNESS_MM = 2.5

Floats = NDArray[np.float32]


def ribbon(voxel_mm: float) -> NDArray[np.uint8]:
    """(i, j, k) labels of the cortex of both hemispheres, in one piece with two voxels of frame."""
    labels = _labels(_margins(), SHRINKAGE / voxel_mm)
    pieces, _ = ndimage.label(labels > 0)
    labels[pieces != np.bincount(pieces.ravel())[1:].argmax() + 1] = 0
    return _framed(labels)


def section(spacing_um: float, share: float = 0.67) -> NDArray[np.uint8]:
    """(rows, columns) labels of a coronal section, `share` of the way from back to front."""
    margins = _margins()
    place = round(share * margins[0].shape[1])
    planes = [margin[:, place, :].T[::-1] for margin in margins]
    return _framed(_labels(planes, 1000 * SHRINKAGE / spacing_um))


def _margins() -> list[Floats]:
    """Share of white matter beyond the others, that of gray beyond none, mm to white matter."""
    gray = load_mni152_gm_template(resolution=1).get_fdata(dtype=np.float32)
    white = load_mni152_wm_template(resolution=1).get_fdata(dtype=np.float32)
    nothing = np.clip(1 - gray - white, 0, None)
    is_white = white - np.maximum(gray, nothing)
    distance = ndimage.distance_transform_edt(is_white <= 0) * SHRINKAGE
    return [is_white, gray - nothing, np.asarray(distance, np.float32)]


def _finer(values: Floats, factor: float) -> Floats:
    """Linear interpolation, `factor` samples for each there is along each axis."""
    for axis, size in enumerate(values.shape):
        places = np.arange(int((size - 1) * factor) + 1, dtype=np.float32) / np.float32(factor)
        before = np.minimum(places.astype(int), size - 2)
        share = (places - before).reshape([-1 if a == axis else 1 for a in range(values.ndim)])
        first = values.take(before, axis)
        values = values.take(before + 1, axis)
        values -= first
        values *= share
        values += first
    return values


def _labels(margins: list[Floats], factor: float) -> NDArray[np.uint8]:
    is_white, is_gray, distance_mm = margins
    labels = (_finer(is_gray, factor) > 0).view(np.uint8)
    labels[_finer(distance_mm, factor) > THICKNESS_MM] = 0
    labels[_finer(is_white, factor) > 0] = 2
    return labels


def _framed(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    box = ndimage.find_objects((labels > 0).astype(np.int8))[0]
    return np.pad(labels[box], 2)
