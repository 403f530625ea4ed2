"""Rigid registration of whole images: over all shifts, then to a fraction of a pixel."""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from cytopipe.alignment.pairwise.prepared_section import PreparedSection
from cytopipe.numerics.geometry import Floats, Rigid

Picture = NDArray[np.float32]


def search_texture(
    fixed: PreparedSection,
    moving: PreparedSection,
    around: Rigid,
    within_rad: float,
    reach_um: float,
) -> tuple[Rigid, float]:
    """Correlate the textures over all shifts up to `reach_um` and rotations up to `within_rad`.

    The search is centred on `around`. It rotates about the centre of the moving tissue, in steps of
    a degree, then by half a degree. Its pixels are twice those of the textures.

    Returns
    -------
    The best transform and the height of its peak, in standard deviations of the correlation over
    all shifts at its rotation. Folia or an outline that fit give peaks of 8 to 13, so that the
    height decides nothing (`parts` does).
    """
    pixel_um = 2 * fixed.texture_um
    target, source = (cv2.GaussianBlur(section.texture, (0, 0), 1.0) for section in (fixed, moving))
    shrink = np.diag([1 / pixel_um, 1 / pixel_um, 1.0])
    to_um = moving.texture_frame
    rows, columns = np.nonzero(moving.mask)
    middle = (moving.frame @ [columns.mean(), rows.mean(), 1])[:2]
    reach = int(np.ceil(reach_um / pixel_um))
    edge = max(max(s.row.height_um, s.row.width_um) for s in (fixed, moving))
    # room for the shift, so that the correlation does not wrap around
    size = int(fft.next_fast_len(int(edge / pixel_um) + reach + 2, real=True))
    placed = cv2.warpAffine(target, (shrink @ fixed.texture_frame)[:2], (size, size))
    target_fft = fft.rfft2(placed)

    def at(turn_rad: float) -> tuple[Rigid, float]:
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
        return Rigid(turn.angle_rad, float(x), float(y), "moving", "fixed"), height

    count = int(np.degrees(within_rad))
    turns = [np.radians(degrees) for degrees in range(-count, count + 1)]
    peaks = [at(turn) for turn in turns]
    best = max(range(len(peaks)), key=lambda i: peaks[i][1])
    finer = [at(turns[best] + np.radians(d)) for d in (-0.5, 0.5)]
    return max([peaks[best], *finer], key=lambda peak: peak[1])


def refine_texture(fixed: PreparedSection, moving: PreparedSection, start: Rigid) -> Rigid | None:
    """The transform near `start` at which the textures correlate best; None if it fails."""
    return _refine(
        cv2.GaussianBlur(fixed.texture, (0, 0), 1.0),
        fixed.texture_frame,
        cv2.GaussianBlur(moving.texture, (0, 0), 1.0),
        moving.texture_frame,
        start,
    )


def refine_outline(
    fixed: PreparedSection, moving: PreparedSection, start: Rigid, blur_um: float
) -> Rigid | None:
    """The transform near `start` at which the blurred labels correlate best; None if it fails.

    `blur_um`, a standard deviation, is the reach of the search; pixels are half as large.
    """
    pixel_um = max(blur_um / 2, fixed.spacing_um)
    pictures = []
    for section in (fixed, moving):
        labels = section.labels.astype(np.float32)
        smooth = cv2.GaussianBlur(labels, (0, 0), blur_um / section.spacing_um)
        to_pixels = np.diag([1 / pixel_um, 1 / pixel_um, 1.0]) @ section.frame
        extent = np.array([section.row.width_um, section.row.height_um]) / pixel_um
        size = (int(extent[0]) + 2, int(extent[1]) + 2)
        pictures.append(cv2.warpAffine(smooth, to_pixels[:2], size))
    to_um = np.diag([pixel_um, pixel_um, 1.0])
    return _refine(pictures[0], to_um, pictures[1], to_um, start)


def overlap(fixed: PreparedSection, moving: PreparedSection, rigid: Rigid) -> float:
    """Dice of the two tissue masks after `rigid` has moved the moving one."""
    to_fixed = np.linalg.inv(fixed.frame) @ matrix(rigid) @ moving.frame
    size = (fixed.labels.shape[1], fixed.labels.shape[0])
    source = moving.mask.astype(np.uint8)
    carried = cv2.warpAffine(source, to_fixed[:2], size, flags=cv2.INTER_NEAREST) > 0
    both = np.count_nonzero(carried & fixed.mask)
    # the whole moving mask counts, even where it leaves the fixed image
    areas = np.count_nonzero(fixed.mask) + np.count_nonzero(moving.mask)
    return 2.0 * both / areas if areas else 0.0


def matrix(rigid: Rigid) -> Floats:
    """(3, 3) homogeneous matrix."""
    homogeneous = np.eye(3)
    homogeneous[:2, :2] = rigid.rotation
    homogeneous[:2, 2] = rigid.x_um, rigid.y_um
    return homogeneous


def enhance_correlation(
    fixed: Picture, moving: Picture, start: Floats, motion: int, steps: int, precision: float
) -> Floats | None:
    """The matrix of highest correlation near `start`; None if the correlation does not grow.

    The method is that of Evangelidis and Psarakis (2008), the motion one of OpenCV's. The (3, 3)
    matrices take pixels of `fixed` to pixels of `moving`; any rotation is refined.
    """
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, steps, precision)
    # OpenCV reads the angle from a sine and would take 135 degrees for 45
    turned, turn = moving, np.eye(3)
    for _ in range(int(np.rint(np.arctan2(start[1, 0], start[0, 0]) / (np.pi / 2))) % 4):
        turn = turn @ np.array([[0, -1, turned.shape[1] - 1], [1, 0, 0], [0, 0, 1.0]])
        turned = np.rot90(turned)
    warp = (np.linalg.inv(turn) @ start)[:2].astype(np.float32)
    source = np.ascontiguousarray(turned)
    try:
        _, warp = cv2.findTransformECC(fixed, source, warp, motion, criteria, None, 1)
    except cv2.error:  # raised if the correlation does not grow
        return None
    return np.asarray(turn @ np.vstack([warp, [0.0, 0.0, 1.0]]))


def _refine(
    target: Picture, target_frame: Floats, source: Picture, source_frame: Floats, start: Rigid
) -> Rigid | None:
    """The rigid transform of highest correlation; frames are matrices from pixels to um."""
    to_source = np.linalg.inv(source_frame) @ np.linalg.inv(matrix(start)) @ target_frame
    pixels = enhance_correlation(target, source, to_source, cv2.MOTION_EUCLIDEAN, 60, 1e-7)
    if pixels is None:
        return None
    refined = target_frame @ np.linalg.inv(pixels) @ np.linalg.inv(source_frame)
    angle = float(np.arctan2(refined[1, 0], refined[0, 0]))
    return Rigid(angle, float(refined[0, 2]), float(refined[1, 2]), "moving", "fixed")
