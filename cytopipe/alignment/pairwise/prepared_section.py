"""A section prepared for the alignment: stain and texture inside the tissue, 0 outside."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytopipe.files import InputError
from cytopipe.formats.images import open_pyramid, read_labels
from cytopipe.formats.tables import SegmentationRow
from cytopipe.numerics import geometry
from cytopipe.numerics.geometry import Floats
from cytopipe.study.sections import Section

# depths that the cortex is divided into: each of six layers, of unequal thickness, spans one
_LAYERS = 10
# Gray matter thicker than the first, in pixels of the texture, is not cortex. Its pixels, and those
# of white matter, are grouped by their distance from the border, up to the second. Chosen: human
# cortex is at most 5 mm thick, 20 pixels of 256 um
_THICKEST_PX = 24
_DEEPEST_PX = 6


@dataclass(frozen=True, eq=False)  # compared by identity, so results can be cached by section
class PreparedSection:
    """A usable section at the working resolution, as scanned or flipped left to right.

    Attributes
    ----------
    image, labels : (rows, columns) at `spacing_um`; see `normalise`; 0 background, 1 gray, 2 white.
    texture : at `texture_um`, see `texture_of`.
    mirrored : as confirmed by a person, or None.
    is_flipped : the columns of all arrays are reversed, and the frame is that of `geometry.mirror`.
    """

    row: SegmentationRow
    image: NDArray[np.float32]
    labels: NDArray[np.uint8]
    texture: NDArray[np.float32]
    spacing_um: float
    texture_um: float
    mirrored: bool | None = None
    is_flipped: bool = False

    @cached_property
    def flipped(self) -> "PreparedSection":
        """The section flipped left to right."""
        return replace(
            self,
            image=np.ascontiguousarray(self.image[:, ::-1]),
            labels=np.ascontiguousarray(self.labels[:, ::-1]),
            texture=np.ascontiguousarray(self.texture[:, ::-1]),
            is_flipped=not self.is_flipped,
        )

    @property
    def mask(self) -> NDArray[np.bool_]:
        return self.labels > 0

    @property
    def tissue_mm2(self) -> float:
        return float(np.count_nonzero(self.labels)) * (self.spacing_um / 1000) ** 2

    @property
    def frame(self) -> Floats:
        """(3, 3) matrix from pixels (column, row) of image and labels to um of the section."""
        return self._frame(self.spacing_um, self.labels.shape[1])

    @property
    def texture_frame(self) -> Floats:
        """(3, 3) matrix from pixels of the texture to um of the section."""
        return self._frame(self.texture_um, self.texture.shape[1])

    def _frame(self, spacing_um: float, columns: int) -> Floats:
        first = np.array([columns - 1.0 if self.is_flipped else 0.0, 0.0])
        first = geometry.pixels_to_section(first, spacing_um, self.row.full_spacing_um)
        if self.is_flipped:
            first = geometry.mirror(first, self.row.width_um)
        return np.array([[spacing_um, 0, first[0]], [0, spacing_um, first[1]], [0, 0, 1]])


def read_section(
    section: Section, image: Path, row: SegmentationRow, labels_path: Path, spacing_um: float
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The gray values of a section and its labels, both as scanned, on one grid of `spacing_um`.

    Raises InputError if there are no labels, although `row` says that there are.
    """
    with open_pyramid(image, section.spacing_um) as pyramid:
        pixels = pyramid.to_8_bit(pyramid.read_at(spacing_um))
    labels = read_labels(labels_path, row.page)
    if not labels.any():
        raise InputError(
            f"{labels_path}: page {row.page} has no tissue but section {row.section} has status "
            "ok; rerun the segmentation"
        )
    return pixels, geometry.resample_labels(
        labels, row.spacing_um, pixels.shape, spacing_um, row.full_spacing_um
    )


def prepare_section(
    row: SegmentationRow,
    pixels: NDArray[Any],
    labels: NDArray[np.uint8],
    spacing_um: float,
    texture_um: float,
    mirrored: bool | None = None,
) -> PreparedSection:
    """Normalise the stain of a section and compute its texture."""
    image = normalise(pixels, labels > 0)
    texture = texture_of(image, labels, texture_um / spacing_um)
    return PreparedSection(row, image, labels, texture, spacing_um, texture_um, mirrored)


def normalise(image: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Stain as 40 to 255 inside the tissue, 0 outside.

    The median of the tissue becomes 110 and its distance from the median of the background 70, so
    sections with pale and strong stain, on bright and dark slides, look alike.
    """
    gray = image.astype(np.float32)
    tissue = float(np.median(gray[mask]))
    background = float(np.median(gray[~mask])) if not mask.all() else tissue
    contrast = background - tissue
    if contrast == 0:
        contrast = max(float(gray[mask].std()), 1.0)
    stain = 110 + 70 * (tissue - gray) / contrast
    return np.asarray(np.where(mask, np.clip(stain, 40, 255), 0), np.float32)


def texture_of(
    image: NDArray[np.float32], labels: NDArray[np.uint8], factor: float
) -> NDArray[np.float32]:
    """The stain without the anatomy: vessels, grain, groups of cells.

    Outlines and layers differ between sections that are perfectly aligned (by about 0.4 mm per mm
    between them) and mislead a registration: neighbours of a folded brain agree best with a shift
    that follows its layers, always to the same side, and the stack bends. Vessels and grain run
    through. Therefore the mean of the pixels at the same depth (`_depths`) within about 4 pixels of
    the result is subtracted, and the rim of each class, where the two mix, is left out. Gray and
    white matter count alike, because what is left of the layers has more contrast than the grain.

    `factor` is the pixel size of the texture over that of the image, at least 1. The result is 0
    outside the tissue and has a standard deviation of 1 in each class.
    """
    shape = (max(round(labels.shape[0] / factor), 1), max(round(labels.shape[1] / factor), 1))
    # pixel centres as in `geometry.pixels_to_section`
    shrink = np.array([[1 / factor, 0, 0.5 / factor - 0.5], [0, 1 / factor, 0.5 / factor - 0.5]])
    if factor > 1:
        image = cv2.GaussianBlur(image, (0, 0), factor / 2)
    image = cv2.warpAffine(image, shrink, shape[::-1], flags=cv2.INTER_LINEAR)
    labels = cv2.warpAffine(labels, shrink, shape[::-1], flags=cv2.INTER_NEAREST)
    depths = _depths(labels)
    texture = np.zeros(shape, np.float32)
    for kind in (1, 2):
        inside = ndimage.binary_erosion(labels == kind)
        for depth in np.unique(depths[inside]):
            here = (inside & (depths == depth)).astype(np.float32)
            amount = cv2.GaussianBlur(here, (0, 0), 4)
            mean = cv2.GaussianBlur(image * here, (0, 0), 4) / np.maximum(amount, 1e-6)
            texture += (image - mean) * here
        spread = float(texture[inside].std()) if inside.any() else 0.0
        if spread > 0:
            texture[inside] /= spread
    # clipped, so that a fold or a bubble does not outweigh everything else
    return np.asarray(np.clip(texture, -4, 4), np.float32)


def _depths(labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """A number for each pixel: those of one class with equal numbers lie at the same depth.

    In the cortex, the depth is the share of the way from the surface to white matter, because
    layers are as thick as the cortex is. Elsewhere it is the distance from the border of the class.
    """
    from_surface, from_white, from_gray = (
        cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
        # OpenCV's infinity, where there is no border, must not be added to anything
        .clip(max=max(labels.shape) * 2)
        for mask in (labels > 0, labels != 2, labels != 1)
    )
    thickness = from_surface + from_white
    share = from_surface / np.maximum(thickness, 1e-6)
    in_cortex = (labels == 1) & (thickness < _THICKEST_PX)
    to_border = np.where(labels == 2, from_gray, from_surface)
    layers = np.minimum(share * _LAYERS, _LAYERS - 1).astype(np.int64)
    return np.where(
        in_cortex, layers, _LAYERS + np.minimum(to_border, _DEEPEST_PX).astype(np.int64)
    )
