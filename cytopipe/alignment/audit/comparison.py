"""How similar two registered sections are, as scanned and with one of them mirrored.

A rigid and an affine registration, then a smooth flow, remove what differs between sections of the
same brain. What remains is structure of 1 to 4 pixels inside the tissue: layers, tracts, vessels,
tears. Without the flow the outline decides, and neither the order nor the handedness of a symmetric
brain can be determined (35 sections of a mouse brain, 0.25 mm apart). The halves are also compared
separately: hardly any brain is cut exactly across its midline, so one half of a section shows
slightly more of what lies ahead than the other.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from cytopipe.alignment.pairwise import coarse
from cytopipe.alignment.pairwise.image_registration import Picture, enhance_correlation, matrix
from cytopipe.alignment.pairwise.prepared_section import PreparedSection
from cytopipe.numerics.geometry import Floats

# all in pixels, all chosen, not measured: the two blurs between which structure is compared
_BANDS = ((0.5, 2.0), (0.7, 3.0), (1.0, 4.0))
_FLOW_BLUR_PX = 6.0  # keeps the flow smooth
_COARSE_PX = 4.0  # pixel size of the coarse search for rotation and shift
# motion and blur of the registrations that follow
_REGISTRATIONS = (
    (cv2.MOTION_EUCLIDEAN, 3.0),
    (cv2.MOTION_EUCLIDEAN, 1.5),
    (cv2.MOTION_AFFINE, 1.5),
)


class Comparison(NamedTuple):
    """Similarity of two sections, -1 to 1, as scanned and with the second one mirrored.

    `plain_left` and `mirrored_left` are the similarity in the left half of the first section's
    image less that in its right half.
    """

    plain: float
    mirrored: float
    plain_left: float
    mirrored_left: float

    def swapped(self) -> "Comparison":
        """The same with the second section as the first."""
        return self._replace(mirrored_left=-self.mirrored_left)


# compares two sections by their indices, the smaller one first
Compare = Callable[[int, int], Comparison]


def compare(one: PreparedSection, other: PreparedSection, max_rotation_rad: float) -> Comparison:
    """Compare two sections that are rotated against each other by up to `max_rotation_rad`.

    A similarity is the correlation of their structure, averaged over both directions of the flow.
    Unrelated sections have 0.1 to 0.3, because the flow makes them similar: values only rank.
    """
    plain, plain_left = _similarity(one, other, max_rotation_rad)
    mirrored, mirrored_left = _similarity(one, other.flipped, max_rotation_rad)
    return Comparison(plain, mirrored, plain_left, mirrored_left)


def _similarity(
    fixed: PreparedSection, moving: PreparedSection, max_rotation_rad: float
) -> tuple[float, float]:
    """Similarity of the whole sections, and in the left half of the fixed one less in its right."""
    registration = _register(fixed, moving, max_rotation_rad)[:2]
    one = _padded(fixed)
    size, flags = one[0].shape[::-1], cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    stain, mask = (cv2.warpAffine(p, registration, size, flags=flags) for p in _stain(moving))
    other = stain, mask
    left = _left(fixed, max_rotation_rad)
    ways = [_after_flow(one, other, left), _after_flow(other, one, left)]
    whole, in_left, in_right = (float(value) for value in np.mean(ways, axis=0))
    return whole, in_left - in_right


def _register(
    fixed: PreparedSection, moving: PreparedSection, max_rotation_rad: float
) -> NDArray[np.float32]:
    """(3, 3) affine map from pixels of the padded fixed section to pixels of the moving one."""
    coarse_um, step_rad = _COARSE_PX * fixed.spacing_um, np.radians(5.0)
    start, _ = coarse.search(fixed, moving, coarse_um, max_rotation_rad, step_rad)[0]
    pictures = _padded(fixed)[0], _stain(moving)[0]
    to_um = fixed.frame @ _unpadded(fixed)
    warp = np.linalg.inv(moving.frame) @ np.linalg.inv(matrix(start)) @ to_um
    for motion, sigma in _REGISTRATIONS:
        one, other = (cv2.GaussianBlur(picture, (0, 0), sigma) for picture in pictures)
        # 40 steps and a precision of 1e-5 are chosen, not measured
        refined = enhance_correlation(one, other, warp, motion, 40, 1e-5)
        if refined is None:
            break
        warp = refined
    return np.asarray(warp, np.float32)


# a section that looks odd is compared with all others, each as the fixed one; 0.1 MB per section
@lru_cache(maxsize=512)
def _left(section: PreparedSection, max_rotation_rad: float) -> NDArray[np.bool_]:
    """Which pixels of the padded section lie left of its midline, as the image shows it.

    The midline is the axis of the reflection that registers the section best with itself.
    """
    columns = section.labels.shape[1]
    unmirror = np.array([[-1, 0, columns - 1], [0, 1, 0], [0, 0, 1.0]])
    registration = _register(section, section.flipped, max_rotation_rad)
    onto = np.linalg.inv(_unpadded(section)) @ unmirror @ registration
    # in the nearest reflection [[cos 2t, sin 2t], [sin 2t, -cos 2t]], t is the axis' direction
    turn = 0.5 * np.arctan2(onto[0, 1] + onto[1, 0], onto[0, 0] - onto[1, 1])
    across = np.array([-np.sin(turn), np.cos(turn)])
    across *= 1 if across[0] > 0 else -1
    mask = _padded(section)[1]
    row, column = np.indices(mask.shape)
    total = float(mask.sum())
    centre = np.array([(column * mask).sum() / total, (row * mask).sum() / total, 1.0])
    # the axis lies halfway between a point and its reflection
    on_axis = 0.5 * (centre + onto @ centre)
    return np.asarray(
        (column - on_axis[0]) * across[0] + (row - on_axis[1]) * across[1] < 0, np.bool_
    )


def _stain(section: PreparedSection) -> tuple[Picture, Picture]:
    """Stain, with the same contrast in all sections, 0 outside and 0 to 6 inside; and the mask."""
    inside = section.image[section.mask]
    low, middle, high = np.percentile(inside, (16, 50, 84))
    stain = np.clip((section.image - middle) / max((high - low) / 2, 1.0), -3, 3) + 3
    stain = np.where(section.mask, stain, 0).astype(np.float32)
    return stain, section.mask.astype(np.float32)


def _margin(section: PreparedSection) -> int:
    """Pixels around the section for what the other section has beyond its frame."""
    return int(max(section.labels.shape)) // 5


def _unpadded(section: PreparedSection) -> Floats:
    """(3, 3) matrix from pixels of the padded section to those of the section."""
    margin = _margin(section)
    return np.array([[1, 0, -margin], [0, 1, -margin], [0, 0, 1.0]])


def _padded(section: PreparedSection) -> tuple[Picture, Picture]:
    """Stain and mask as scanned, with the margin."""
    stain, mask = (np.pad(picture, _margin(section)) for picture in _stain(section))
    return stain, mask


def _after_flow(
    fixed: tuple[Picture, Picture], moving: tuple[Picture, Picture], left: NDArray[np.bool_]
) -> Floats:
    """(3,): correlation in all tissue that both have, left of the midline, and right of it."""
    pixels = [
        np.clip(cv2.GaussianBlur(stain, (0, 0), 1.0) * 42, 0, 255).astype(np.uint8)
        for stain, _ in (fixed, moving)
    ]
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*pixels, None)
    flow = cv2.GaussianBlur(flow, (0, 0), _FLOW_BLUR_PX)
    row, column = np.indices(fixed[0].shape, np.float32)
    stain, mask = (
        cv2.remap(p, column + flow[..., 0], row + flow[..., 1], cv2.INTER_LINEAR) for p in moving
    )
    shared = fixed[1] * mask
    places = (shared, shared * left, shared * ~left)
    bands = [(_band(*fixed, *band), _band(stain, mask, *band)) for band in _BANDS]
    return np.mean([[_correlation(*band, place) for place in places] for band in bands], axis=0)


def _band(stain: Picture, mask: Picture, fine_px: float, coarse_px: float) -> Picture:
    """Difference of two blurs that use no values from outside the tissue."""

    def smooth(sigma: float) -> Picture:
        weight = np.maximum(cv2.GaussianBlur(mask, (0, 0), sigma), 1e-2)
        return np.asarray(cv2.GaussianBlur(stain * mask, (0, 0), sigma) / weight, np.float32)

    return smooth(fine_px) - smooth(coarse_px)


def _correlation(one: Picture, other: Picture, weight: Picture) -> float:
    total = float(weight.sum())
    if total == 0:
        return 0.0
    one = one - (one * weight).sum() / total
    other = other - (other * weight).sum() / total
    norm = np.sqrt((one * one * weight).sum() * (other * other * weight).sum())
    return float((one * other * weight).sum() / norm) if norm > 0 else 0.0
