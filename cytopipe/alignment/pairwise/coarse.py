"""Rotation and shift of a section pair to a few degrees and millimetres, from whole tissue.

SURF's descriptors lose most of their matches as the rotation between two images grows (measured
with mahotas: 57 inliers at 5 degrees, 15 at 20); so the moving section is turned beforehand.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from cytopipe.alignment.pairwise.prepared_section import PreparedSection, oriented
from cytopipe.numerics.geometry import Floats, Rigid


@dataclass(frozen=True)
class Coarse:
    """A coarse transform of the (flipped) moving section to the fixed one, with its score.

    `score` is the correlation of the two sections (1: identical), each a picture with tissue as
    its real and the stain's deviation inside the tissue as its imaginary part.
    """

    rigid: Rigid
    score: float


def search(
    fixed: PreparedSection,
    moving: PreparedSection,
    flipped: bool,
    coarse_um: float,
    max_rotation_rad: float,
    step_rad: float,
) -> Coarse:
    """The best of all rotations within +-`max_rotation_rad`, each with its best shift.

    The shift comes from a cross-correlation by FFT of the two sections laid centroid on centroid;
    the rotation is refined by a parabola through the best score and its neighbours.
    """
    target, target_centre_um = _picture(fixed, False, coarse_um)
    source, source_centre_um = _picture(moving, flipped, coarse_um)
    reach = max(np.hypot(*target.shape), np.hypot(*source.shape))
    # a quarter of the frame as room for the shift before the correlation wraps around
    edge = int(fft.next_fast_len(int(np.ceil(1.5 * reach))))
    target_fft = fft.fft2(_centred(target, target_centre_um / coarse_um, 0.0, edge))
    source_at = source_centre_um / coarse_um
    norm = np.linalg.norm(target) * np.linalg.norm(source)
    count = int(np.floor(max_rotation_rad / step_rad))
    angles = np.arange(-count, count + 1) * step_rad

    def score(angle: float) -> tuple[float, Floats]:
        turned = fft.fft2(_centred(source, source_at, angle, edge))
        correlation = fft.ifft2(target_fft * np.conj(turned)).real
        peak = np.unravel_index(int(np.argmax(correlation)), correlation.shape)
        shift = np.array([peak[1], peak[0]], np.float64)
        shift[shift > edge / 2] -= edge
        return float(correlation[peak] / norm), shift

    scores = np.array([score(float(angle))[0] for angle in angles])
    best = int(np.argmax(scores))
    angle = float(angles[best])
    if 0 < best < len(angles) - 1:
        before, here, after = scores[best - 1 : best + 2]
        bend = before - 2 * here + after
        if bend < 0:
            angle += float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) * step_rad
    value, shift = score(angle)
    turn = Rigid(angle, 0.0, 0.0, "moving", "fixed")
    x, y = target_centre_um + shift * coarse_um - turn(source_centre_um)
    return Coarse(Rigid(angle, float(x), float(y), "moving", "fixed"), value)


# both hands of a section and of the two before it: each is met in several pairs, and the blur of a
# section of 64 um to coarse pixels is half the cost of a pair
@lru_cache(maxsize=8)
def _picture(
    view: PreparedSection, flipped: bool, coarse_um: float
) -> tuple[NDArray[np.complex64], Floats]:
    """The section at coarse pixels of exactly `coarse_um`, and its tissue's centroid.

    The centroid is returned in um of the (flipped) section frame and lies in the picture at
    centroid / coarse_um (column, row): pixel (0, 0) sits at the frame's origin.
    """
    factor = coarse_um / view.spacing_um
    mask = view.mask.astype(np.float32)
    inside = view.image[view.mask]
    deviation = (view.image - inside.mean()) / max(float(inside.std()), 1e-6) * mask
    first = view.frame(flipped)[:2, 2]
    to_coarse = np.array(
        [[1 / factor, 0, first[0] / coarse_um], [0, 1 / factor, first[1] / coarse_um]]
    )
    size = (int(np.ceil(mask.shape[1] / factor)) + 2, int(np.ceil(mask.shape[0] / factor)) + 2)
    layers = []
    for layer in (mask, deviation):
        smooth = cv2.GaussianBlur(oriented(layer, flipped), (0, 0), factor / 2)
        layers.append(cv2.warpAffine(smooth, to_coarse, size, flags=cv2.INTER_LINEAR))
    tissue, stain = layers
    row, column = np.indices(tissue.shape)
    total = float(tissue.sum())
    centre = np.array([(column * tissue).sum() / total, (row * tissue).sum() / total])
    # half weight for the stain: the outline decides where sections carry no common structure
    return (tissue + 0.5j * stain).astype(np.complex64), centre * coarse_um


def _centred(
    picture: NDArray[np.complex64], centre: Floats, turn_rad: float, edge: int
) -> NDArray[np.complex64]:
    """The picture turned about `centre` (column, row), which comes to lie in the frame's middle."""
    c, s = np.cos(turn_rad), np.sin(turn_rad)
    turn = np.array([[c, -s], [s, c]])
    # an integer, so that an unturned picture is not blurred more than a turned one needs
    offset = edge // 2 - turn @ centre
    affine = np.concatenate([turn, offset[:, None]], axis=1)
    real = cv2.warpAffine(np.ascontiguousarray(picture.real), affine, (edge, edge))
    imaginary = cv2.warpAffine(np.ascontiguousarray(picture.imag), affine, (edge, edge))
    return np.asarray(real + 1j * imaginary, np.complex64)
