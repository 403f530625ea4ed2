"""Points pushed onto the middle of the cortex that the section itself shows.

The mid-surface was smoothed and cleaned in 3D, so its cut is not always in the middle. Two targets:

skeleton   (CytoNet 3.2) Laplacian fields between the morphological skeleton of the gray matter (1)
           and its pial and white boundaries (0); points climb to the skeleton. The paper does not
           say which skeleton; this one is Guo and Hall's.
laplacian  the 0.5 level of the Laplacian between background (0) and white matter (1): the
           definition of the mid-surface, in the plane.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytopipe.numerics.components import Mask, touching
from cytopipe.numerics.geometry import Floats
from cytopipe.numerics.laplace2d import LIMIT, REACHED, interpolate, solve_laplace, walk
from cytopipe.numerics.neighbours import beside, count, nearest
from cytopipe.numerics.thinning import thin

GRAY, WHITE = 1, 2
# tissue that a person has excluded: its border is neither pial nor white, and insulates
EXCLUDED = 3


@dataclass(frozen=True)
class Refined:
    """Outcome of the refinement of n points.

    Attributes
    ----------
    points_px : (n, 2) column, row; in gray matter unless it was out of reach.
    depth : (n,) Laplacian depth in the plane, 0 pial to 1 white; NaN outside gray matter and in
        pieces of gray matter that do not touch both.
    reached : (n,) whether the point lies on the target, or has moved as far as it may. Other points
        have no gray matter in reach, lie in a piece without a midline, or would move too far; they
        stay where they entered gray matter.
    """

    points_px: Floats
    depth: Floats
    reached: Mask


def refine(
    labels: NDArray[np.uint8],
    points_px: Floats,
    target: Literal["laplacian", "skeleton"],
    max_move_px: float,
    keep_moved: bool = False,
) -> Refined:
    """Move points onto the midline of the gray matter of a section.

    A point outside gray matter first moves to its nearest pixel. No point moves by more than
    `max_move_px` in all, and no point leaves gray matter.

    Parameters
    ----------
    labels : (rows, columns) 0 background, 1 gray, 2 white, 3 excluded.
    points_px : (n, 2) column, row.
    keep_moved : whether a point that has moved by `max_move_px` stays there, as in the paper.
    """
    corner, labels = _cropped(labels, max_move_px)
    gray = labels == GRAY
    depth = depth_field(labels)
    points, moved_px, entered = enter(gray, points_px - corner, max_move_px)
    if target == "skeleton":
        skeleton = thin(gray)
        values = np.where(skeleton, 1.0, np.where(gray | (labels == EXCLUDED), np.nan, 0.0))
        field, level, usable = solve_laplace(gray & ~skeleton, values, skeleton), 1.0, gray
    else:
        # the crown of a gyrus, cut tangentially, shows no white matter: no depth is defined there
        field, level, usable = depth, 0.5, gray & ~np.isnan(depth)
    going = np.flatnonzero(entered)[_at(usable, points[entered])]
    ends, how = walk(field, gray, points[going], level, max_move_px - moved_px[going])
    reached = np.zeros(len(points), bool)
    kept = (how == REACHED) | (keep_moved & (how == LIMIT))
    reached[going] = kept
    # a walk that does not arrive has followed a sulcus that the segmentation closed: keep its start
    points[reached] = ends[kept]
    in_gray = _at(gray, points)
    depths = np.where(in_gray, interpolate(depth, points), np.nan)
    # adding the corner again would round
    stays = (points == points_px - corner).all(axis=1, keepdims=True)
    return Refined(np.where(stays, points_px, points + corner), depths, reached)


def depth_field(labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Laplacian depth of gray matter, 0 pial to 1 white; NaN away from pieces that touch both."""
    gray = labels == GRAY
    pial, white = (touching(gray, beside(labels, GRAY, side)) for side in (0, WHITE))
    values = np.where(gray | (labels == EXCLUDED), np.nan, labels == WHITE)
    return solve_laplace(pial & white, values, np.zeros_like(gray))


def enter(gray: Mask, points_px: Floats, max_move_px: float) -> tuple[Floats, Floats, Mask]:
    """Move points outside gray matter to the centre of its nearest pixel.

    Returns
    -------
    (n, 2) points, unchanged if no gray matter lies within `max_move_px`; (n,) distance moved; (n,)
    whether the point is in gray matter now.
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
    """Share of tissue (gray or white) in a square window around each point; 0 outside the image."""
    reach = max(0, round((window_px - 1) / 2))
    row, column, inside = _pixels(labels, points_px)
    return np.where(inside, count(labels > 0, row, column, reach) / (2 * reach + 1) ** 2, 0.0)


def _cropped(
    labels: NDArray[np.uint8], max_move_px: float
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """The part from which gray matter is in reach, after (column, row) of its first pixel."""
    boxes = ndimage.find_objects((labels == GRAY).astype(np.uint8))
    margin = int(np.ceil(max_move_px)) + 2
    rows, columns = (
        slice(max(0, side.start - margin), side.stop + margin)
        for side in (boxes[0] if boxes else (slice(0, 1), slice(0, 1)))
    )
    return np.array([columns.start, rows.start]), labels[rows, columns]


def _pixels(
    image: NDArray[np.generic], points_px: Floats
) -> tuple[NDArray[np.int64], NDArray[np.int64], Mask]:
    """Row and column of the pixels nearest to points, clipped to the image; whether inside."""
    nearest = np.floor(np.asarray(points_px, np.float64) + 0.5).astype(np.int64)
    row = np.clip(nearest[:, 1], 0, image.shape[0] - 1)
    column = np.clip(nearest[:, 0], 0, image.shape[1] - 1)
    return row, column, (row == nearest[:, 1]) & (column == nearest[:, 0])


def label_at(labels: NDArray[np.uint8], points_px: Floats) -> NDArray[np.uint8]:
    """Label of the pixel nearest to each point; 0 outside the image."""
    row, column, inside = _pixels(labels, points_px)
    return np.where(inside, labels[row, column], 0).astype(np.uint8)


def _at(mask: Mask, points_px: Floats) -> Mask:
    row, column, inside = _pixels(mask, points_px)
    return np.asarray(mask[row, column] & inside)
