"""A brain-like slice with texture and known displacements, for the tests of the alignment."""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from table_rows import row

from cytopipe.alignment.pairwise.prepared_section import PreparedSection, prepare_section
from cytopipe.formats.tables import SegmentationRow
from cytopipe.numerics.geometry import Rigid
from cytopipe.study.config import Alignment

FULL_UM, SPACING_UM = 128.0, 256.0
ROWS, COLUMNS = 240, 280
WIDTH_UM, HEIGHT_UM = (2 * COLUMNS - 1) * FULL_UM, (2 * ROWS - 1) * FULL_UM
CORNERS_UM = np.array([[0, 0], [WIDTH_UM, 0], [0, HEIGHT_UM], [WIDTH_UM, HEIGHT_UM]])
PARAMS = Alignment(
    spacing_um=SPACING_UM,
    coarse_um=2048.0,
    max_rotation_deg=60.0,
    rotation_step_deg=5.0,
    octaves=4,
    max_features=800,
    max_ratio=0.85,
    inlier_um=512.0,
    trials=1000,
    min_inliers=10,
    refine="texture",
    texture_um=SPACING_UM,
    reach_um=10000.0,
    part_um=768.0,
    min_agreement=0.6,
    anatomy_ratio=0.4,
    drift_ratio=0.2,
    mirrored_share=0.05,
    min_confidence=0.99,
    min_overlap=0.5,
    min_tissue_share=0.15,
    neighbours=2,
    composition="graph",
    seed=1,
)


def brain_slice(seed: int, texture: float = 18.0) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """A lobed, asymmetric brain slice with texture of several sizes, and its labels.

    With the default texture, the gray values of gray and white matter overlap.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:ROWS, :COLUMNS]
    around = np.arctan2(y - ROWS / 2, x - COLUMNS / 2)
    radius = np.hypot((x - COLUMNS / 2) / (COLUMNS * 0.36), (y - ROWS / 2) / (ROWS * 0.30))
    edge = 1 + 0.08 * np.sin(3 * around + 1) + 0.05 * np.sin(7 * around)
    labels = np.where(radius < 0.8 * edge, 2, np.where(radius < edge, 1, 0)).astype(np.uint8)
    noise = rng.normal(size=labels.shape)
    structure = sum(ndimage.gaussian_filter(noise, s) * s for s in (1.5, 3, 6))
    structure = structure / np.std(structure)
    image = 230 - np.choose(labels, [0, 110, 70]) + np.where(labels > 0, texture * structure, 0)
    return np.clip(image, 0, 255).astype(np.float32), labels


def prepared(
    image: NDArray[np.float32], labels: NDArray[np.uint8], number: int, flag: bool | None = None
) -> PreparedSection:
    section = row(
        SegmentationRow, brain="B01", section=number, width_um=WIDTH_UM, height_um=HEIGHT_UM,
        full_spacing_um=FULL_UM,
    )  # fmt: skip
    return prepare_section(section, image, labels, SPACING_UM, SPACING_UM, flag)


def displaced(
    image: NDArray[np.float32], labels: NDArray[np.uint8], rigid: Rigid, flipped: bool
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The section that `rigid` (after a flip, if `flipped`) moves onto `image`."""
    blank = prepared(np.ones_like(image), np.ones_like(labels), 0)
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = rigid.rotation, (rigid.x_um, rigid.y_um)
    moving = blank.flipped if flipped else blank
    matrix = np.linalg.inv(blank.frame) @ matrix @ moving.frame
    size, slide = (COLUMNS, ROWS), 230.0
    back = cv2.WARP_INVERSE_MAP
    image = cv2.warpAffine(image, matrix[:2], size, flags=cv2.INTER_CUBIC | back, borderValue=slide)
    labels = cv2.warpAffine(labels, matrix[:2], size, flags=cv2.INTER_NEAREST | back)
    if flipped:
        image, labels = image[:, ::-1], labels[:, ::-1]
    return np.ascontiguousarray(image), np.ascontiguousarray(labels)


def about_centre(degrees: float, x_um: float, y_um: float) -> Rigid:
    turn = Rigid(np.radians(degrees), 0.0, 0.0, "moving", "fixed")
    centre = np.array([WIDTH_UM, HEIGHT_UM]) / 2
    x, y = centre - turn(centre) + (x_um, y_um)
    return replace(turn, x_um=float(x), y_um=float(y))


def worst_px(rigid: Rigid | None, true: Rigid) -> float:
    """The largest distance between two transforms at the corners of the image."""
    assert rigid is not None
    off = np.linalg.norm(rigid(CORNERS_UM) - true(CORNERS_UM), axis=1)
    return float(off.max() / SPACING_UM)
