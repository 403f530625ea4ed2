"""Points pushed onto the middle of the cortex that the section itself shows.

The mid-surface was smoothed and cleaned in 3D, so its cut is not always in the middle. Two targets:

skeleton   (CytoNet 3.2) Laplacian fields between the morphological skeleton of the gray matter (1)
           and its pial and white boundaries (0); points climb to the skeleton. The paper does not
           say which skeleton; this one is Guo and Hall's.
laplacian  the 0.5 level of the Laplacian between background (0) and white matter (1): the
           definition of the mid-surface, in the plane. The plane alone misleads where it cuts the
           cortex obliquely, and where two banks touch. So the depth is that of the volume, which
           knows both, plus the solution of Laplace's equation in the plane that corrects it to 0
           and 1 at the borders that the section shows, which are sharper. If the volume is right
           up to a smooth error, the sum solves the equation in 3D.
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
# tissue that a person has excluded, or a hole in the cortex: its border is neither pial nor white,
# and insulates
EXCLUDED = 3
# A piece of white matter whose border lies in the outer half of the cortex, by the volume, is pale
# layer I. Enclosed background that lies deeper than half way to the middle is a hole, not a sulcus.
# Both limits lie midway between what they tell apart.
MIDDLE, SHALLOW = 0.5, 0.25


@dataclass(frozen=True)
class Refined:
    """Outcome of the refinement of n points.

    Attributes
    ----------
    points_px : (n, 2) column, row; in gray matter unless it was out of reach.
    depth : (n,) depth, 0 pial to 1 white; NaN outside gray matter and where it is not defined
        (`depth_field`).
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
    volume_depth: NDArray[np.float32] | None = None,
) -> Refined:
    """Move points onto the midline of the gray matter of a section.

    A point outside gray matter first moves to its nearest pixel. No point moves by more than
    `max_move_px` in all, and no point leaves gray matter.

    Parameters
    ----------
    labels : (rows, columns) 0 background, 1 gray, 2 white, 3 excluded.
    points_px : (n, 2) column, row.
    keep_moved : whether a point that has moved by `max_move_px` stays there, as in the paper.
    volume_depth : (rows, columns) depth of the volume, for the target `laplacian`
        (`volume_depth.depth_of_page`).
    """
    where = _around_gray(labels, max_move_px)
    corner = np.array([where[1].start, where[0].start])
    labels = labels[where]
    if volume_depth is not None:
        volume_depth = volume_depth[where]
        labels = without_contradictions(labels, volume_depth)
    gray = labels == GRAY
    depth = depth_field(labels, volume_depth)
    points, moved_px, entered = enter(gray, points_px - corner, max_move_px)
    if target == "skeleton":
        skeleton = thin(gray)
        values = np.where(skeleton, 1.0, np.where(gray | (labels == EXCLUDED), np.nan, 0.0))
        field, level, usable = solve_laplace(gray & ~skeleton, values, skeleton), 1.0, gray
    else:
        # a crown cut tangentially shows no white matter: only a volume defines a depth there
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


def depth_field(
    labels: NDArray[np.uint8], volume_depth: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Depth of gray matter, 0 pial to 1 white.

    Parameters
    ----------
    volume_depth : (rows, columns) depth of the volume, with its tangents beyond the cortex. Without
        it, the Laplacian in the plane is all there is.

    Returns
    -------
    (rows, columns) NaN where there is no gray matter, or no depth in the volume; without a volume,
    in pieces of gray matter that do not touch both borders.
    """
    gray = labels == GRAY
    values = np.where(gray | (labels == EXCLUDED), np.nan, labels == WHITE)
    centred = np.zeros_like(gray)
    if volume_depth is None:
        pial, white = (touching(gray, beside(labels, GRAY, side)) for side in (0, WHITE))
        return solve_laplace(pial & white, values, centred)
    known = gray & np.isfinite(volume_depth)
    beyond = np.where(known, volume_depth, np.float32(0))
    total, count = np.zeros_like(beyond), np.zeros(gray.shape, np.uint8)
    for axis in (0, 1):
        for step in (-1, 1):
            total += np.roll(beyond, step, axis)
            count += np.roll(known, step, axis)
    # the border lies on the faces, midway between the pixels of gray matter and those beside them
    with np.errstate(invalid="ignore"):
        at_border = (volume_depth + total / count) / 2
    return volume_depth + solve_laplace(known, values - at_border, centred)


def without_contradictions(
    labels: NDArray[np.uint8], volume_depth: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Labels without pieces of white matter and holes that cannot be such, by the volume.

    White matter in the outer half of the cortex becomes gray. Enclosed background that does not
    belong to a sulcus gets EXCLUDED, so that its border insulates.
    """
    mended = labels.copy()
    for label, becomes in ((WHITE, GRAY), (0, EXCLUDED)):
        pieces, count = ndimage.label(labels == label)
        edge = beside(labels, label, GRAY) & np.isfinite(volume_depth)
        sizes = np.bincount(pieces[edge], None, count + 1)
        depths = np.bincount(pieces[edge], volume_depth[edge], count + 1) / np.maximum(sizes, 1)
        wrong = depths < MIDDLE if label == WHITE else depths > SHALLOW
        wrong &= sizes > 0
        if label == 0:
            border = np.concatenate([pieces[[0, -1]].ravel(), pieces[:, [0, -1]].ravel()])
            wrong[border] = False
        wrong[0] = False
        mended[wrong[pieces]] = becomes
    return mended


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


def _around_gray(labels: NDArray[np.uint8], max_move_px: float) -> tuple[slice, slice]:
    """The rows and columns from which gray matter is in reach."""
    boxes = ndimage.find_objects((labels == GRAY).astype(np.uint8))
    margin = int(np.ceil(max_move_px)) + 2
    rows, columns = (
        slice(max(0, side.start - margin), side.stop + margin)
        for side in (boxes[0] if boxes else (slice(0, 1), slice(0, 1)))
    )
    return rows, columns


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
