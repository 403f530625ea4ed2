"""A section as the alignment sees it: stain and texture inside the tissue, nothing outside."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytopipe.formats.tables import SegmentationRow
from cytopipe.numerics import geometry
from cytopipe.numerics.geometry import Floats


@dataclass(frozen=True, eq=False)  # told apart by identity: what is derived of one can be kept
class PreparedSection:
    """A usable section at the working resolution.

    Attributes
    ----------
    brain, section : name of the brain and section number.
    image : (rows, columns) float32, 0 outside the tissue and 40 to 255 inside, strong stain high.
    labels : (rows, columns) uint8, 0 background, 1 gray, 2 white.
    texture : float32 at `texture_um`, see `texture_of`.
    spacing_um, texture_um, full_spacing_um : pixel size of image and labels, of the texture and
        of level 0.
    width_um, height_um : centre of first to centre of last column or row of level 0.
    mirrored : as confirmed by a person, or None.
    """

    brain: str
    section: int
    image: NDArray[np.float32]
    labels: NDArray[np.uint8]
    texture: NDArray[np.float32]
    spacing_um: float
    texture_um: float
    full_spacing_um: float
    width_um: float
    height_um: float
    mirrored: bool | None = None

    @property
    def mask(self) -> NDArray[np.bool_]:
        return self.labels > 0

    @property
    def tissue_mm2(self) -> float:
        return float(np.count_nonzero(self.labels)) * (self.spacing_um / 1000) ** 2

    def frame(self, flipped: bool) -> Floats:
        """(3, 3) matrix from pixels (column, row) of image and labels to um of the section.

        With `flipped` the arrays are taken with their columns reversed (`oriented`), and the frame
        is that of the section flipped by `geometry.mirror`.
        """
        return self._frame(flipped, self.spacing_um, self.labels.shape[1])

    def texture_frame(self, flipped: bool) -> Floats:
        """The same for pixels of the texture."""
        return self._frame(flipped, self.texture_um, self.texture.shape[1])

    def _frame(self, flipped: bool, spacing_um: float, columns: int) -> Floats:
        first = np.array([columns - 1.0 if flipped else 0.0, 0.0])
        first = geometry.pixels_to_section(first, spacing_um, self.full_spacing_um)
        if flipped:
            first = geometry.mirror(first, self.width_um)
        return np.array([[spacing_um, 0, first[0]], [0, spacing_um, first[1]], [0, 0, 1]])


def prepare_section(
    section: SegmentationRow,
    pixels: NDArray[Any],
    labels: NDArray[np.uint8],
    spacing_um: float,
    texture_um: float,
    mirrored: bool | None = None,
) -> PreparedSection:
    """A view of a section's image as scanned, with its labels on the same grid of `spacing_um`."""
    image = normalise(pixels, labels > 0)
    texture = texture_of(image, labels, texture_um / spacing_um)
    return PreparedSection(
        section.brain,
        section.section,
        image,
        np.asarray(labels, np.uint8),
        texture,
        spacing_um,
        texture_um,
        section.full_spacing_um,
        section.width_um,
        section.height_um,
        mirrored,
    )


def normalise(image: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Stain as 40 to 255 inside the tissue, 0 outside.

    The median of the tissue becomes 110 and its distance to the median of the background 70, so
    that sections of pale and strong stain, on bright and dark ground, look alike; dust, labels and
    the slide's edge outside the tissue vanish.
    """
    gray = image.astype(np.float32)
    tissue = float(np.median(gray[mask]))
    ground = float(np.median(gray[~mask])) if not mask.all() else tissue
    contrast = ground - tissue
    if contrast == 0:
        contrast = max(float(gray[mask].std()), 1.0)
    stain = 110 + 70 * (tissue - gray) / contrast
    return np.asarray(np.where(mask, np.clip(stain, 40, 255), 0), np.float32)


def texture_of(
    image: NDArray[np.float32], labels: NDArray[np.uint8], factor: float
) -> NDArray[np.float32]:
    """What is left of the stain without the anatomy: vessels, grain, groups of cells.

    The outlines of gray and white matter differ between sections that are perfectly aligned (by
    some 0.4 mm for each mm between them), and pull a registration away; vessels and grain run
    through. So the mean of each class around a pixel, over 4 pixels of the result, is taken off,
    and the rim of each class, where the two mix, is left out.

    Parameters
    ----------
    factor : pixels of the image a pixel of the texture, at least 1.

    Returns
    -------
    float32, 0 outside the tissue, standard deviation 1 inside.
    """
    shape = (max(round(labels.shape[0] / factor), 1), max(round(labels.shape[1] / factor), 1))
    # pixel centres as in `geometry.pixels_to_section`
    shrink = np.array([[1 / factor, 0, 0.5 / factor - 0.5], [0, 1 / factor, 0.5 / factor - 0.5]])
    if factor > 1:
        image = cv2.GaussianBlur(image, (0, 0), factor / 2)
    image = cv2.warpAffine(image, shrink, shape[::-1], flags=cv2.INTER_LINEAR)
    labels = cv2.warpAffine(labels, shrink, shape[::-1], flags=cv2.INTER_NEAREST)
    texture = np.zeros(shape, np.float32)
    for kind in (1, 2):
        inside = ndimage.binary_erosion(labels == kind).astype(np.float32)
        amount = cv2.GaussianBlur(inside, (0, 0), 4)
        mean = cv2.GaussianBlur(image * inside, (0, 0), 4) / np.maximum(amount, 1e-3)
        texture += (image - mean) * inside
    some = texture != 0
    spread = float(texture[some].std()) if some.any() else 0.0
    if spread == 0:
        return texture
    # a fold or a bubble must not outweigh all the rest
    return np.asarray(np.clip(texture / spread, -4, 4), np.float32)


def oriented(layer: NDArray[Any], flipped: bool) -> NDArray[Any]:
    """A layer with its columns reversed if `flipped`, contiguous."""
    return np.ascontiguousarray(layer[:, ::-1] if flipped else layer)
