"""Midline: the points of a section pushed onto its midline (`cytopipe.midline.refinement`)."""

from typing import Literal

import cortex
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from side_by_side import Work
from skimage.morphology import thin

from cytopipe.midline.refinement import Refined, refine
from cytopipe.numerics.laplace2d import interpolate

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

SPACING_UM = 64
POINTS = 1000
MAX_MOVE_PX = 31.25  # 2 mm
STEP_PX = 0.2
MOST_ERROR = 1e-3  # of the depth, against the converged solution
# where the peer's error falls below MOST_ERROR, found by trying
TOLERANCE = 1e-5
STEPS = ((-1, 0), (1, 0), (0, -1), (0, 1))


def sweeps(unknown: Mask, known: Floats, centred: Mask, tolerance: float = TOLERANCE) -> Floats:
    """Red-black relaxation of the same equations on the indices of the unknowns, from 0.5."""
    unknown, known = np.pad(unknown, 1), np.pad(known, 1, constant_values=np.nan)
    weight = np.where(np.pad(centred, 1), 1, 2)
    rows, columns = np.nonzero(unknown)
    width = unknown.shape[1]
    weights = np.where(np.isnan(known), 0, weight).astype(np.float32).ravel()
    field = (weights * np.nan_to_num(known).ravel()).astype(np.float32)
    places = rows * width + columns
    field[places] = 0.5
    around = np.array([down * width + across for down, across in STEPS])
    beside = weights[places[:, None] + around]
    diagonal = (beside + unknown.ravel()[places[:, None] + around]).sum(1)
    strip = max(3.0, 6 * len(places) / max(1, (beside > 0).sum()))
    relaxation = np.float32(2 / (1 + np.sin(np.pi / strip)))
    colours = [
        (places[half], (1 / np.maximum(diagonal[half], 1)).astype(np.float32))
        for half in ((rows + columns) % 2 == colour for colour in range(2))
    ]
    largest = 1.0
    while largest > tolerance:
        largest = 0.0
        for at, inverse in colours:
            total = field[at - width] + field[at + width] + field[at - 1] + field[at + 1]
            change = total * inverse - field[at]
            field[at] += relaxation * change
            largest = max(largest, float(np.abs(change).max()))
    return np.where(unknown, field.reshape(unknown.shape), np.nan)[1:-1, 1:-1]


def with_borders(field: Floats, known: Floats, centred: Mask) -> NDArray[np.float32]:
    """The field and, one pixel beyond it, what puts the known values on the faces."""
    padded = np.pad(field, 1, constant_values=np.nan)
    around = np.stack([padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]])
    faces = (~np.isnan(around)).sum(0)
    mean = np.nan_to_num(around).sum(0) / np.maximum(faces, 1)
    beyond = np.where(centred, known, 2 * known - mean)
    return np.where(np.isnan(field) & (faces > 0), beyond, field).astype(np.float32)


def library_depth(labels: NDArray[np.uint8], tolerance: float = TOLERANCE) -> Floats:
    """Depth in the pieces of gray matter that touch both sides, by numpy and scipy."""
    gray = labels == 1
    pieces, count = ndimage.label(gray)
    both = np.ones(count + 1, bool)
    for side in (0, 2):
        touched = pieces[ndimage.binary_dilation(labels == side) & gray]
        both &= np.bincount(touched, minlength=count + 1) > 0
    both[0] = False
    known = np.where(gray, np.nan, labels == 2)
    centred = np.zeros_like(gray)
    return with_borders(sweeps(both[pieces], known, centred, tolerance), known, centred)


def library_skeleton(labels: NDArray[np.uint8]) -> Floats:
    """Laplacian between the skeleton of gray matter and its border."""
    gray = labels == 1
    skeleton = thin(gray)
    known = np.where(skeleton, 1.0, np.where(gray, np.nan, 0.0))
    return with_borders(sweeps(gray & ~skeleton, known, skeleton), known, skeleton)


def library_walk(field: NDArray[np.float32], gray: Mask, points: Floats, target: float) -> Floats:
    """All points together along the gradient to a level of the field, by the midpoint rule."""
    filled = np.nan_to_num(field)
    along_y, along_x = np.gradient(filled)
    at = points.T[::-1].copy()

    def sample(image: Floats, where: Floats) -> Floats:
        return ndimage.map_coordinates(image, where, order=1, mode="nearest")

    value = sample(filled, at)
    uphill = np.where(value < target, 1.0, -1.0)
    going = np.ones(len(points), bool)
    for _ in range(int(MAX_MOVE_PX / STEP_PX)):
        slope = np.stack([sample(along_y, at), sample(along_x, at)])
        slope *= uphill / np.maximum(np.linalg.norm(slope, axis=0), 1e-6)
        ahead = at + STEP_PX / 2 * slope
        slope = np.stack([sample(along_y, ahead), sample(along_x, ahead)])
        slope *= uphill / np.maximum(np.linalg.norm(slope, axis=0), 1e-6)
        to = at + STEP_PX * slope
        after = sample(filled, to)
        going &= (after - value) * uphill > 0
        arrives = going & ((after - target) * uphill >= 0)
        share = np.where(arrives, (target - value) / np.where(arrives, after - value, 1), 1.0)
        at = np.where(going, at + share * (to - at), at)
        value = np.where(going, after, value)
        going &= ~arrives
        if not going.any():
            break
    return at[::-1].T


def library_refine(
    labels: NDArray[np.uint8], points: Floats, target: Literal["laplacian", "skeleton"]
) -> tuple[Floats, Floats]:
    """Points on the target and the depth field, by numpy, scipy and scikit-image."""
    gray = labels == 1
    nearest = ndimage.distance_transform_edt(~gray, return_distances=False, return_indices=True)
    column, row = np.floor(points + 0.5).astype(int).T
    goal = np.column_stack([nearest[1][row, column], nearest[0][row, column]])
    outside = ~gray[row, column]
    points = np.where(outside[:, None], goal, points)
    depth = library_depth(labels)
    field, level = (library_skeleton(labels), 1.0) if target == "skeleton" else (depth, 0.5)
    return library_walk(field, gray, points, level), depth


def works() -> list[Work]:
    """A section for each of the two targets."""
    labels = cortex.section(SPACING_UM)
    rows, columns = labels.shape
    random = np.random.default_rng(0)
    exact = library_depth(labels, TOLERANCE / 10)  # single precision allows no less
    middle = np.argwhere(np.abs(exact - 0.5) < 0.05)
    # the cut of the mid-surface lies some 0.4 mm beside the middle
    chosen = middle[random.choice(len(middle), POINTS, replace=False), ::-1]
    points = chosen + random.normal(0, 6, (POINTS, 2))

    def same(ours: Refined, theirs: tuple[Floats, Floats]) -> str:
        ends, field = theirs
        at = ours.reached
        mine = np.abs(interpolate(exact, ours.points_px[at]) - ours.depth[at]).max()
        yours = np.nanmax(np.abs(field - exact))
        assert mine < MOST_ERROR, f"error {mine:.2g}"
        assert yours < MOST_ERROR, f"error of the peer {yours:.2g}"
        apart = np.linalg.norm(ours.points_px[at] - ends[at], axis=1) * SPACING_UM
        typical, most = np.quantile(apart, [0.5, 0.95])
        assert most < SPACING_UM, f"a twentieth of the points are {most:.0f} um apart"
        apart_um = f"points {typical:.1f} um apart (95 %: {most:.1f})"
        return f"errors of depth {mine:.1g}, peer {yours:.1g}; {apart_um}"

    def work(target: Literal["laplacian", "skeleton"], fields: str) -> Work:
        return Work(
            f"midline refinement onto the {target}",
            f"{rows} x {columns} px, {(labels == 1).sum()} of gray, {POINTS} points",
            f"numpy, scipy, scikit-image ({fields})",
            ours=lambda: refine(labels, points, target, MAX_MOVE_PX),
            theirs=lambda: library_refine(labels, points, target),
            same=same,
            goal=15,
            repeats=3,
        )

    return [work("laplacian", "one field"), work("skeleton", "thinning, two fields")]
