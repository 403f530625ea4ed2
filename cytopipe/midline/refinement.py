"""Points pushed onto the middle of the cortex as the section itself shows it.

The mid-surface went through smoothing and cleaning in 3D, so its cut is not always in the middle.
Two targets:

skeleton   (the paper, 3.2) Laplacian fields between the morphological skeleton of the gray matter
           (1) and its pial and white boundaries (0); points climb to the skeleton. Which of the
           skeletons the paper does not say; this one is Guo and Hall's.
laplacian  the 0.5 level of the Laplacian between the outer boundary (0) and the white matter (1),
           the definition of the mid-surface, in the plane.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cytopipe.numerics.components import touching
from cytopipe.numerics.geometry import Floats
from cytopipe.numerics.laplace2d import REACHED, Mask, interpolate, solve_laplace, walk
from cytopipe.numerics.thinning import thin
from cytopipe.numerics.windows import beside, count, nearest

Target = Literal["laplacian", "skeleton"]
GRAY, WHITE = 1, 2


@dataclass(frozen=True)
class Refined:
    """Outcome of the refinement of n points.

    Attributes
    ----------
    points_px : (n, 2) column, row; in gray matter unless it was too far away.
    depth : (n,) Laplacian depth in the plane, 0 pial to 1 white; NaN outside gray matter and in
        pieces of gray matter that touch only one of the two.
    reached : (n,) the point lies on the target. Other points had no gray matter in reach, lie in
        a piece without a midline, or would have used up their movement; they stay where they were
        (where they came into gray matter).
    """

    points_px: Floats
    depth: Floats
    reached: Mask


def refine(
    labels: NDArray[np.uint8], points_px: Floats, target: Target, max_move_px: float
) -> Refined:
    """Move points onto the midline of the gray matter of a section.

    A point outside gray matter first goes to the nearest pixel of it. No point moves by more than
    `max_move_px` in all, and none that is in gray matter leaves it.

    Parameters
    ----------
    labels : (rows, columns) 0 background, 1 gray, 2 white.
    points_px : (n, 2) column, row.
    """
    corner, labels = _cropped(labels, max_move_px)
    gray = labels == GRAY
    depth = depth_field(labels)
    points, moved_px, entered = enter(gray, points_px - corner, max_move_px)
    if target == "skeleton":
        field, level, usable = _skeleton_field(gray), 1.0, gray
    else:
        # a tangentially cut crown shows no white matter, and its field is 0 all over
        field, level, usable = depth, 0.5, gray & ~np.isnan(depth)
    going = np.flatnonzero(entered)[_at(usable, points[entered])]
    ends, how = walk(field, gray, points[going], level, max_move_px - moved_px[going])
    reached = np.zeros(len(points), bool)
    reached[going] = how == REACHED
    # a walk that does not arrive follows a sulcus closed by the segmentation: its start is better
    points[reached] = ends[how == REACHED]
    in_gray = _at(gray, points)
    depths = np.where(in_gray, interpolate(depth, points), np.nan)
    # a point that stays is given back to the last bit
    stays = (points == points_px - corner).all(axis=1, keepdims=True)
    return Refined(np.where(stays, points_px, points + corner), depths, reached)


def depth_field(labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Laplacian between background (0) and white matter (1) in the gray matter of a section.

    NaN in pieces of gray matter that do not touch both, and away from gray matter.
    """
    gray = labels == GRAY
    pial, white = (touching(gray, beside(labels, GRAY, side)) for side in (0, WHITE))
    values = np.where(gray, np.nan, labels == WHITE)
    return solve_laplace(pial & white, values, np.zeros_like(gray))


def enter(gray: Mask, points_px: Floats, max_move_px: float) -> tuple[Floats, Floats, Mask]:
    """Bring points outside gray matter to the centre of the nearest pixel of it.

    Returns
    -------
    (n, 2) points, those with no gray matter within `max_move_px` as they were; (n,) distance
    moved; (n,) whether the point is in gray matter now.
    """
    points = np.array(points_px, np.float64)
    moved = np.zeros(len(points))
    entered = _at(gray, points)
    row, column, _ = _pixels(gray, points)
    # a point is up to 0.71 from the centre of its pixel
    row, column = nearest(gray, row, column, max_move_px + 1)
    goal = np.column_stack([column, row]).astype(np.float64)
    distance = np.linalg.norm(goal - points, axis=1)
    move = ~entered & (row >= 0) & (distance <= max_move_px)
    points[move], moved[move] = goal[move], distance[move]
    return points, moved, entered | move


def tissue_share(labels: NDArray[np.uint8], points_px: Floats, window_px: float) -> Floats:
    """Share of tissue (gray or white) in a square window around each point.

    What lies outside the image is background. The window is that of an image patch, so that the
    share is of what a network would see.
    """
    reach = max(0, round((window_px - 1) / 2))
    row, column, inside = _pixels(labels, points_px)
    return np.where(inside, count(labels > 0, row, column, reach) / (2 * reach + 1) ** 2, 0.0)


def _cropped(
    labels: NDArray[np.uint8], max_move_px: float
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """The part of a section that holds gray matter and whatever may come into it.

    Returns
    -------
    (2,) column, row of its first pixel; the part of the labels.
    """
    spans = []
    for axis in (1, 0):
        found = np.flatnonzero((labels == GRAY).any(axis=axis))
        margin = int(np.ceil(max_move_px)) + 2
        first, last = (found[0], found[-1]) if len(found) else (0, 0)
        spans.append(slice(max(0, first - margin), last + margin + 1))
    return np.array([spans[1].start, spans[0].start]), labels[spans[0], spans[1]]


def _skeleton_field(gray: Mask) -> NDArray[np.float32]:
    skeleton = thin(gray)
    return solve_laplace(
        gray & ~skeleton, np.where(skeleton, 1.0, np.where(gray, np.nan, 0.0)), skeleton
    )


def _pixels(
    image: NDArray[np.generic], points_px: Floats
) -> tuple[NDArray[np.int64], NDArray[np.int64], Mask]:
    """Row and column of the pixels nearest to points, clipped to the image, and if inside."""
    nearest = np.floor(np.asarray(points_px, np.float64) + 0.5).astype(np.int64)
    row = np.clip(nearest[:, 1], 0, image.shape[0] - 1)
    column = np.clip(nearest[:, 0], 0, image.shape[1] - 1)
    return row, column, (row == nearest[:, 1]) & (column == nearest[:, 0])


def _at(mask: Mask, points_px: Floats) -> Mask:
    row, column, inside = _pixels(mask, points_px)
    return np.asarray(mask[row, column] & inside)
