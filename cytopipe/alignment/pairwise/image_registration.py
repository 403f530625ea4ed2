"""Rigid registration of whole pictures: over all shifts, then to a fraction of a pixel."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from cytopipe.alignment.pairwise.prepared_section import PreparedSection, oriented
from cytopipe.numerics.geometry import Floats, Rigid

Picture = NDArray[np.float32]


@dataclass(frozen=True)
class Peak:
    """The best transform of a search, and how far its correlation stands out.

    `height` is in standard deviations of the correlation over all shifts at that rotation;
    pictures that share nothing reach 4 to 6 (measured on the phantom).
    """

    rigid: Rigid
    height: float


def search_texture(
    fixed: PreparedSection,
    moving: PreparedSection,
    flipped: bool,
    around: Rigid,
    within_rad: float,
    reach_um: float,
) -> Peak:
    """Correlate the textures over all shifts up to `reach_um` and rotations up to `within_rad`.

    At twice the texture's pixel; first in steps of a degree, then in between. `around` gives the
    middle of the search, about the centre of the moving tissue.
    """
    pixel_um = 2 * fixed.texture_um
    target, source = (
        cv2.GaussianBlur(oriented(view.texture, flip), (0, 0), 1.0)
        for view, flip in ((fixed, False), (moving, flipped))
    )
    shrink = np.diag([1 / pixel_um, 1 / pixel_um, 1.0])
    to_um = moving.texture_frame(flipped)
    rows, columns = np.nonzero(oriented(moving.mask, flipped))
    middle = (moving.frame(flipped) @ [columns.mean(), rows.mean(), 1])[:2]
    reach = int(np.ceil(reach_um / pixel_um))
    edge = max(max(v.height_um, v.width_um) for v in (fixed, moving))
    # room for the shift, so that the correlation does not wrap around
    size = int(fft.next_fast_len(int(edge / pixel_um) + reach + 2, real=True))
    placed = cv2.warpAffine(target, (shrink @ fixed.texture_frame(False))[:2], (size, size))
    target_fft = fft.rfft2(placed)

    def at(turn_rad: float) -> Peak:
        turn = Rigid(around.angle_rad + turn_rad, 0.0, 0.0, "moving", "fixed")
        x, y = around(middle) - turn(middle)
        start = Rigid(turn.angle_rad, float(x), float(y), "moving", "fixed")
        turned = cv2.warpAffine(source, (shrink @ matrix(start) @ to_um)[:2], (size, size))
        surface = fft.irfft2(target_fft * np.conj(fft.rfft2(turned)), (size, size))
        near = np.roll(surface, (reach, reach), (0, 1))[: 2 * reach + 1, : 2 * reach + 1]
        best = np.unravel_index(int(np.argmax(near)), near.shape)
        spread = float(near.std())
        height = float(near[best] - near.mean()) / spread if spread > 0 else 0.0
        row, column = int(best[0]) - reach, int(best[1]) - reach
        x, y = x + column * pixel_um, y + row * pixel_um
        return Peak(Rigid(turn.angle_rad, float(x), float(y), "moving", "fixed"), height)

    count = int(np.degrees(within_rad))
    turns = [np.radians(degrees) for degrees in range(-count, count + 1)]
    peaks = [at(turn) for turn in turns]
    best = max(range(len(peaks)), key=lambda i: peaks[i].height)
    finer = [at(turns[best] + np.radians(d)) for d in (-0.5, 0.5)]
    return max([peaks[best], *finer], key=lambda peak: peak.height)


def refine_texture(
    fixed: PreparedSection, moving: PreparedSection, flipped: bool, start: Rigid
) -> Rigid | None:
    """The transform near `start` at which the textures correlate best, or None without one."""
    return _climb(
        cv2.GaussianBlur(fixed.texture, (0, 0), 1.0),
        fixed.texture_frame(False),
        cv2.GaussianBlur(oriented(moving.texture, flipped), (0, 0), 1.0),
        moving.texture_frame(flipped),
        start,
    )


def refine_outline(
    fixed: PreparedSection, moving: PreparedSection, flipped: bool, start: Rigid, blur_um: float
) -> Rigid | None:
    """The transform near `start` at which the blurred labels (0, gray 1, white 2) correlate best.

    `blur_um`, a standard deviation, is the reach of the search; pixels are half as large.
    """
    pixel_um = max(blur_um / 2, fixed.spacing_um)
    pictures = []
    for view, flip in ((fixed, False), (moving, flipped)):
        labels = oriented(view.labels, flip).astype(np.float32)
        smooth = cv2.GaussianBlur(labels, (0, 0), blur_um / view.spacing_um)
        to_pixels = np.diag([1 / pixel_um, 1 / pixel_um, 1.0]) @ view.frame(flip)
        extent = np.array([view.width_um, view.height_um]) / pixel_um
        size = (int(extent[0]) + 2, int(extent[1]) + 2)
        pictures.append(cv2.warpAffine(smooth, to_pixels[:2], size))
    to_um = np.diag([pixel_um, pixel_um, 1.0])
    return _climb(pictures[0], to_um, pictures[1], to_um, start)


def overlap(fixed: PreparedSection, moving: PreparedSection, flipped: bool, rigid: Rigid) -> float:
    """Dice of the two tissue masks, the (flipped) moving one carried over by `rigid`."""
    to_fixed = np.linalg.inv(fixed.frame(False)) @ matrix(rigid) @ moving.frame(flipped)
    size = (fixed.labels.shape[1], fixed.labels.shape[0])
    source = oriented(moving.mask, flipped).astype(np.uint8)
    carried = cv2.warpAffine(source, to_fixed[:2], size, flags=cv2.INTER_NEAREST) > 0
    both = np.count_nonzero(carried & fixed.mask)
    # the moving mask's own area, also where it leaves the fixed image
    areas = np.count_nonzero(fixed.mask) + np.count_nonzero(moving.mask)
    return 2.0 * both / areas if areas else 0.0


def matrix(rigid: Rigid) -> Floats:
    """(3, 3) homogeneous matrix."""
    whole = np.eye(3)
    whole[:2, :2] = rigid.rotation
    whole[:2, 2] = rigid.x_um, rigid.y_um
    return whole


def _climb(
    target: Picture, target_frame: Floats, source: Picture, source_frame: Floats, start: Rigid
) -> Rigid | None:
    """Enhanced correlation coefficient (Evangelidis and Psarakis 2008), Euclidean motion.

    The frames are matrices from pixels to um. None where the correlation does not grow.
    """
    # ECC's matrix takes pixels of the template (fixed) to pixels of the input (moving)
    warp = np.linalg.inv(source_frame) @ np.linalg.inv(matrix(start)) @ target_frame
    try:
        _, found = cv2.findTransformECC(
            target,
            source,
            warp[:2].astype(np.float32),
            cv2.MOTION_EUCLIDEAN,
            (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 60, 1e-7),
            None,
            1,
        )
    except cv2.error:  # OpenCV's way to say so
        return None
    whole = np.eye(3)
    whole[:2] = found
    climbed = target_frame @ np.linalg.inv(whole) @ np.linalg.inv(source_frame)
    angle = float(np.arctan2(climbed[1, 0], climbed[0, 0]))
    return Rigid(angle, float(climbed[0, 2]), float(climbed[1, 2]), "moving", "fixed")
