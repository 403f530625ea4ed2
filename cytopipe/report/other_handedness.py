"""The hand that was not chosen for a pair, laid as well as its outline allows.

The alignment tries each pair as scanned and mirrored, and keeps the transform of the better one. So
that a person can see what the other would have been, it is found here again from the outlines.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytopipe.numerics.geometry import Floats, Rigid, mirror

Mask = NDArray[np.bool_]
_STEP_RAD = np.radians(3)


@dataclass(frozen=True)
class Outline:
    """The tissue of a section as points.

    Attributes
    ----------
    points_um : (n, 2) centres of a regular grid's tissue pixels, frame of the section as scanned.
    width_um : of the section, as in `geometry.mirror`.
    spacing_um : of the grid.
    """

    points_um: Floats
    width_um: float
    spacing_um: float


def lay(fixed: Outline, moving: Outline, flipped: bool, most_rad: float) -> tuple[Rigid, float]:
    """The rotation, of at most `most_rad`, and shift of the largest overlap (Dice) of two outlines.

    Parameters
    ----------
    flipped : flip `moving` left to right first.

    Returns
    -------
    moving (flipped) to fixed as scanned, and the Dice of the two.
    """
    points_um = mirror(moving.points_um, moving.width_um) if flipped else moving.points_um
    spacing_um = max(fixed.spacing_um, moving.spacing_um)
    centre, target = points_um.mean(axis=0), fixed.points_um.mean(axis=0)
    reach = max(float(np.abs(p - p.mean(axis=0)).max()) for p in (points_um, fixed.points_um))
    size = 2 ** int(np.ceil(np.log2(4 * reach * 1.42 / spacing_um + 2)))
    still = np.conj(np.fft.rfft2(_raster(fixed.points_um - target, spacing_um, size)))
    best: tuple[float, Rigid] | None = None
    steps = int(most_rad / _STEP_RAD)
    for step in range(-steps, steps + 1):
        turn = Rigid(step * _STEP_RAD, 0.0, 0.0, "moving", "fixed")
        moved = _raster(turn(points_um - centre), spacing_um, size)
        common = np.fft.irfft2(np.fft.rfft2(moved) * still, (size, size))
        row, column = np.unravel_index(np.argmax(common), common.shape)
        overlap = float(common[row, column])
        if best is None or overlap > best[0]:
            # the peak tells how far `moved` lies beyond `fixed`, modulo the size
            beyond = (np.array([column, row]) + size // 2) % size - size // 2
            shift = target - beyond * spacing_um - turn(centre)
            best = (
                overlap,
                Rigid(turn.angle_rad, float(shift[0]), float(shift[1]), "moving", "fixed"),
            )
    assert best is not None
    areas = [
        float(np.count_nonzero(_raster(p - p.mean(axis=0), spacing_um, size)))
        for p in (points_um, fixed.points_um)
    ]
    return best[1], 2 * best[0] / sum(areas)


def _raster(points_um: Floats, spacing_um: float, size: int) -> NDArray[np.float64]:
    """Points about the origin as pixels of value 1 of an image with the origin in its middle."""
    image = np.zeros((size, size))
    at = np.rint(points_um / spacing_um).astype(int) + size // 2
    image[at[:, 1], at[:, 0]] = 1
    return image
