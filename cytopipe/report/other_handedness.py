"""The handedness that the alignment rejected for a pair, aligned by the outlines alone.

The alignment tries each pair as scanned and with one section mirrored, and keeps the transform of
the better one. The page shows both, so the other transform is estimated here.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cytopipe.numerics.geometry import Floats, Rigid, mirror

# step of the search; chosen, not measured: fine enough to compare two pictures by eye
_STEP_RAD = np.radians(3)


@dataclass(frozen=True)
class Outline:
    """The tissue of a section as points.

    Attributes
    ----------
    points_um : (n, 2) centres of the tissue pixels of a grid, frame of the section as scanned.
    width_um : width of the section, as in `geometry.mirror`.
    spacing_um : pixel size of the grid.
    """

    points_um: Floats
    width_um: float
    spacing_um: float


def align_outlines(
    fixed: Outline, moving: Outline, flipped: bool, max_rotation_rad: float
) -> tuple[Rigid, float]:
    """The rotation and shift that maximise the overlap (Dice) of two outlines.

    Parameters
    ----------
    flipped : flip `moving` left to right first.

    Returns
    -------
    The transform from `moving` (flipped) to `fixed` as scanned, and the Dice coefficient.
    """
    points_um = mirror(moving.points_um, moving.width_um) if flipped else moving.points_um
    spacing_um = max(fixed.spacing_um, moving.spacing_um)
    centre, target = points_um.mean(axis=0), fixed.points_um.mean(axis=0)
    radius = max(float(np.abs(p - p.mean(axis=0)).max()) for p in (points_um, fixed.points_um))
    size = 2 ** int(np.ceil(np.log2(4 * radius * 1.42 / spacing_um + 2)))
    fixed_image = _raster(fixed.points_um - target, spacing_um, size)
    fixed_spectrum = np.conj(np.fft.rfft2(fixed_image))
    fits = []
    steps = int(max_rotation_rad / _STEP_RAD)
    for step in range(-steps, steps + 1):
        rotation = Rigid(step * _STEP_RAD, 0.0, 0.0, "moving", "fixed")
        moved = _raster(rotation(points_um - centre), spacing_um, size)
        correlation = np.fft.irfft2(np.fft.rfft2(moved) * fixed_spectrum, (size, size))
        row, column = np.unravel_index(np.argmax(correlation), correlation.shape)
        # the place of the peak is the shift from `fixed` to `moved`, modulo the size
        offset_px = (np.array([column, row]) + size // 2) % size - size // 2
        x_um, y_um = target - offset_px * spacing_um - rotation(centre)
        rigid = replace(rotation, x_um=float(x_um), y_um=float(y_um))
        fits.append((float(correlation[row, column]), rigid))
    overlap, rigid = max(fits, key=lambda fit: fit[0])
    area = fixed_image.sum() + _raster(points_um - centre, spacing_um, size).sum()
    return rigid, 2 * overlap / float(area)


def _raster(points_um: Floats, spacing_um: float, size: int) -> NDArray[np.float64]:
    """An image, with the origin in its middle, that is 1 at the points."""
    image = np.zeros((size, size))
    at = np.rint(points_um / spacing_um).astype(int) + size // 2
    image[at[:, 1], at[:, 0]] = 1
    return image
