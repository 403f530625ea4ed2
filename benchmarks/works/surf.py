"""Alignment: interest points of a section and how useful they are (`alignment.pairwise.surf`)."""

import cv2
import numpy as np
from mahotas.features import surf as mahotas_surf
from numpy.typing import NDArray
from scanned import scan
from side_by_side import Work, settings

from cytopipe.alignment.pairwise import coarse, surf
from cytopipe.alignment.pairwise.prepared_section import prepare_section
from cytopipe.alignment.pairwise.ransac import rigid_consensus
from cytopipe.alignment.pairwise.surf_features import Features, features_of, match
from cytopipe.formats.tables import SegmentationRow
from cytopipe.study.config import Alignment

SPACING_UM = 128  # of the working images
TURN_RAD = np.deg2rad(20)
Image = NDArray[np.float32]
Floats = NDArray[np.float64]
Found = tuple[Floats, NDArray[np.float32]]


def images(seed: int) -> tuple[Image, NDArray[np.uint8]]:
    """A section and its tissue at the spacing at which sections are aligned."""
    image, labels = scan(seed)
    half = (image.shape[1] // 2, image.shape[0] // 2)
    return (
        cv2.resize(image, half, interpolation=cv2.INTER_AREA).astype(np.float32),
        cv2.resize((labels > 0).astype(np.uint8), half, interpolation=cv2.INTER_NEAREST),
    )


def turned(image: Image) -> tuple[Image, Floats]:
    """The image turned about its centre, and the matrix."""
    rows, columns = image.shape
    matrix = cv2.getRotationMatrix2D((columns / 2, rows / 2), np.rad2deg(TURN_RAD), 1.0)
    size = (columns, rows)
    border = float(np.median(image[0]))
    return cv2.warpAffine(image, matrix, size, flags=cv2.INTER_CUBIC, borderValue=border), matrix


def ours(image: Image, params: Alignment) -> Found:
    """Points (x, y, scale, score, sign) and descriptors."""
    points = surf.detect(image, params.octaves, params.max_features)
    return points, surf.describe(image, points)


def theirs(image: Image, params: Alignment) -> Found:
    """The same of mahotas: its rows are y, x, scale, score, sign, angle, descriptor."""
    rows = mahotas_surf.surf(
        image.astype(np.float64),
        params.octaves,
        6,
        1,
        threshold=1.0,
        max_points=params.max_features,
    )
    return rows[:, [1, 0, 2, 3, 4]], rows[:, 6:].astype(np.float32)


def agreeing(one: Features, other: Features, true: Floats, params: Alignment) -> int:
    """Matches that the consensus keeps and the known turn (2 x 3, um) confirms."""
    pairs = match(one, other, params.max_ratio)
    fixed, moving = one.points_um[pairs[:, 0]], other.points_um[pairs[:, 1]]
    _, kept = rigid_consensus(
        moving, fixed, 0.0, np.pi, params.inlier_um, params.trials, params.seed
    )
    off = np.linalg.norm(fixed @ true[:, :2].T + true[:, 2] - moving, axis=1)
    return int(np.count_nonzero(kept & (off < params.inlier_um)))


def at_20_degrees(params: Alignment) -> tuple[int, int]:
    """Inliers of two neighbouring sections: of the alignment as it is, and of mahotas.

    Ours turns the moving section by a coarse search first; mahotas describes each point in its own
    direction. Both match and agree by the same code.
    """
    (first, tissue), (second, _) = images(1), images(2)
    second, matrix = turned(second)
    moved = cv2.warpAffine(tissue, matrix, tissue.shape[::-1], flags=cv2.INTER_NEAREST)
    true = np.column_stack([matrix[:, :2], matrix[:, 2] * SPACING_UM])
    rows, columns = first.shape
    size_um = ((columns - 1) * SPACING_UM, (rows - 1) * SPACING_UM, SPACING_UM)
    unknown = (float("nan"),) * 7
    section = SegmentationRow(
        "B01", 0, 0, *size_um, SPACING_UM, float("nan"), "", "bright", *unknown, "", "ok"
    )
    fixed, moving = (
        prepare_section(section, image, mask, SPACING_UM, SPACING_UM)
        for image, mask in ((first, tissue), (second, moved))
    )
    step = np.radians(params.rotation_step_deg)
    max_rotation = np.radians(params.max_rotation_deg)
    start, _ = coarse.search(fixed, moving, params.coarse_um, max_rotation, step)[0]
    ours_of = [
        features_of(section, turn, params)
        for section, turn in ((fixed, 0.0), (moving, start.angle_rad))
    ]
    # inside the tissue, as ours
    theirs_of = []
    for image, mask in ((fixed.image, tissue), (moving.image, moved)):
        points, descriptors = theirs(image, params)
        column, row = np.rint(points[:, :2]).astype(int).T
        inside = mask[row, column] > 0
        points, descriptors = points[inside], descriptors[inside]
        theirs_of.append(
            Features(points[:, :2] * SPACING_UM, points[:, 2], points[:, 4], descriptors)
        )
    return agreeing(*ours_of, true, params), agreeing(*theirs_of, true, params)


def works() -> list[Work]:
    """Detection and description of one section; inliers of two neighbours, 20 degrees apart."""
    params = Alignment(**settings("alignment"))
    first, _ = images(1)
    counted, peer = at_20_degrees(params)

    def same(mine: Found, yours: Found) -> str:
        apart = np.linalg.norm(yours[0][:150, None, :2] - mine[0][None, :, :2], axis=2)
        share = float((apart.min(1) < 4).mean())
        assert share > 0.8, f"only {share:.0%} of mahotas' 150 strongest points are found"
        assert counted >= 5 * peer, f"at 20 degrees {counted} inliers against {peer}, not 5 times"
        return (
            f"{share:.0%} of mahotas' strongest points; at 20 degrees {counted} inliers against "
            f"{peer} (goal: 5 times)"
        )

    return [
        Work(
            "SURF of a section, detect and describe",
            f"{first.shape[0]} x {first.shape[1]} px, at most {params.max_features} points",
            "mahotas",
            ours=lambda: ours(first, params),
            theirs=lambda: theirs(first, params),
            same=same,
            goal=3,
        )
    ]
