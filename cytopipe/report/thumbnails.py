"""Thumbnails of the sections, with outlines and midline points drawn on top."""

import base64
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor
from skimage import measure

from cytopipe.numerics.geometry import Floats, mirror, pixels_to_section, section_to_pixels

# the palette of Okabe and Ito (2008), which colour-blind readers can distinguish
BLUE, SKY, GREEN = "#0072B2", "#56B4E9", "#009E73"
ORANGE, VERMILLION, PURPLE, YELLOW = "#E69F00", "#D55E00", "#CC79A7", "#F0E442"
PIAL, WHITE, POINT = SKY, YELLOW, VERMILLION

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Grid:
    """The pixel grid of a thumbnail.

    Attributes
    ----------
    spacing_um, full_spacing_um : pixel size of the thumbnail and of level 0 of the scan.
    mirrored_width_um : width of the scan if it is shown flipped, else None.
    """

    spacing_um: float
    full_spacing_um: float
    mirrored_width_um: float | None

    def __call__(self, points_um: Floats) -> Floats:
        """(n, 2) column and row in the thumbnail of points (n, 2) um of the section as scanned."""
        if self.mirrored_width_um is not None:
            points_um = mirror(points_um, self.mirrored_width_um)
        return section_to_pixels(points_um, self.spacing_um, self.full_spacing_um)


def boundaries_um(
    labels: NDArray[np.uint8], at_least: int, spacing_um: float, full_spacing_um: float
) -> list[Floats]:
    """Outlines (n, 2) um of the region with labels of `at_least` (1 tissue, 2 white matter)."""
    # a border of background closes the outlines at the edge of the image
    mask = np.pad(labels >= at_least, 1)
    lines = measure.find_contours(mask.astype(np.float32), 0.5)
    return [
        pixels_to_section(line[:, ::-1] - 1, spacing_um, full_spacing_um)
        for line in lines
        if len(line) > 8
    ]


def draw(
    image: NDArray[Any],
    grid: Grid,
    tissue_um: list[Floats],
    white_um: list[Floats],
    points_um: Floats,
) -> Picture:
    """An RGB thumbnail: the section, outlines of tissue and white matter, midline points.

    Parameters
    ----------
    image : 8-bit gray, as scanned, at the spacing of `grid`; flipped here if the grid is mirrored.
    tissue_um, white_um, points_um : frame of the section as scanned.
    """
    if grid.mirrored_width_um is not None:
        image = np.ascontiguousarray(image[:, ::-1])
    picture = np.repeat(image[:, :, None], 3, axis=2)
    for lines, colour in ((tissue_um, PIAL), (white_um, WHITE)):
        corners = [np.rint(grid(line) * 16).astype(np.int32) for line in lines]
        cv2.polylines(picture, corners, False, ImageColor.getrgb(colour), 1, cv2.LINE_AA, shift=4)
    for x, y in np.rint(grid(points_um) * 16).astype(int):
        cv2.circle(
            picture, (int(x), int(y)), 18, ImageColor.getrgb(POINT), -1, cv2.LINE_AA, shift=4
        )
    return picture


def jpeg(picture: Picture, quality: int) -> bytes:
    """An RGB or gray picture as a JPEG file."""
    swapped = picture[:, :, ::-1] if picture.ndim == 3 else picture  # OpenCV writes BGR
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    _, content = cv2.imencode(".jpg", np.ascontiguousarray(swapped), options)
    return content.tobytes()


def jpeg_uri(picture: Picture, quality: int) -> str:
    """An RGB or gray picture as a data URI of a JPEG."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg(picture, quality)).decode()}"
