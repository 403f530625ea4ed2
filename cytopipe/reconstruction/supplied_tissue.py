"""A tissue volume that a lab already has, in place of the stacked sections (BigBrain's, say)."""

from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cytopipe import logs
from cytopipe.files import InputError
from cytopipe.formats import volumes
from cytopipe.numerics import geometry
from cytopipe.numerics.geometry import Floats
from cytopipe.reconstruction.shapes import Placed

# pixels of the sections that are looked up in the volume, at most
PIXELS = 500_000
# below this share of the sections' tissue in it the volume lies elsewhere
LEAST_SHARE = 0.5
# gray and white matter are told apart as by chance at 0, as in the sections at 1; fsaverage5 has
# 0.86 in its place, 0.25 with rough sections, and still 0.1 to 0.3 where it is 10 mm off
LEAST_APART = 0.15
# runs of sections whose agreement is compared: of neighbours what is wrong is wrong alike
RUNS = 12
# chance of calling a place or hand better that is as good, and what counts as better at all
CHANCE, LEAST_GAIN = 0.01, 0.02
# how far a volume is moved to see whether it is off, of the cube root of its tissue: 3 mm of a
# human brain; in voxels at least
MOVED_SHARE, MOVED_VOXELS = 0.03, 2.0

AXES = ("left-right", "posterior-anterior", "inferior-superior")
TOWARDS = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))


@dataclass(frozen=True)
class Move:
    """Another place or hand of a volume.

    Attributes
    ----------
    flipped : axes along which it is flipped.
    about_mm : (3,) R, A, S, the point that keeps its place then.
    shift_mm : (3,) how far it is moved.
    """

    flipped: tuple[int, ...] = ()
    about_mm: Floats = field(default_factory=lambda: np.zeros(3))
    shift_mm: Floats = field(default_factory=lambda: np.zeros(3))

    def __str__(self) -> str:
        if self.flipped:
            return f"flipped {' and '.join(AXES[axis] for axis in self.flipped)}"
        axis = int(np.argmax(np.abs(self.shift_mm)))
        towards = TOWARDS[axis][int(self.shift_mm[axis] > 0)]
        return f"moved {abs(self.shift_mm[axis]):.2g} mm towards {towards}"


@dataclass(frozen=True)
class Samples:
    """Pixels of the sections.

    Attributes
    ----------
    points_mm : (n, 3) stack RAS mm.
    labels : (n,) 0, 1, 2.
    runs : (n,) which run of neighbouring sections they are of.
    """

    points_mm: Floats
    labels: NDArray[np.int64]
    runs: NDArray[np.int64]

    def counts(self, volume: volumes.Volume, move: Move) -> NDArray[np.int64]:
        """(runs, 3, 3) pixels by their label and that of the volume once moved so."""
        points = self.points_mm - move.shift_mm
        axes = list(move.flipped)
        points[:, axes] = 2 * move.about_mm[axes] - points[:, axes]
        cells = 9 * self.runs + 3 * self.labels + volumes.labels_at(volume, points)
        runs = int(self.runs.max()) + 1
        return np.bincount(cells, minlength=9 * runs).reshape(runs, 3, 3)


def read_given(path: Path, sections: list[Placed]) -> volumes.Volume:
    """Read the volume and hold it against the sections, which carry points into its frame.

    Parameters
    ----------
    path : labels 0 background, 1 gray, 2 white matter in stack RAS mm; isotropic voxels along the
        axes, of any size.
    sections : the brain's, placed in the stack, in the order of z.

    Returns
    -------
    The volume as it is, its axes towards R, A and S.

    Raises
    ------
    InputError
        If it holds other labels, its voxels are oblique or not isotropic, or it does not agree with
        the sections (`check_agreement`).
    """
    found = volumes.read_tissue(path)
    edges = found.voxel_mm
    oblique = np.abs(found.affine[:3, :3] - np.diag(edges)).max() > 1e-3 * edges.max()
    if oblique or np.ptp(edges) > 1e-3 * edges[0]:
        raise InputError(
            f"{path}: voxels of {' x '.join(f'{edge:g}' for edge in edges)} mm"
            f"{', oblique' if oblique else ''}; resample it to cubes along the axes of stack RAS mm"
        )
    check_agreement(path, found, samples_of(sections))
    return found


def check_agreement(path: Path, volume: volumes.Volume, samples: Samples) -> None:
    """Say how well a volume agrees with the sections.

    Parameters
    ----------
    path : of the volume, for the message.

    Raises
    ------
    InputError
        If half the sections' tissue or more lies on its background; if it lacks gray or white
        matter, which the sections have, or has them exchanged; if it agrees clearly better
        (`clearly_better`) once flipped along axes or moved a little; or if its gray and white
        matter are next to unrelated to theirs.
    """
    counts = samples.counts(volume, Move())
    share = float(counts[:, 1:, 1:].sum() / max(counts[:, 1:].sum(), 1))
    where = "it is to be in stack RAS mm, where the sections' transforms lead (docs/new-brain.md)"
    if share < LEAST_SHARE:
        raise InputError(
            f"{path}: only {share:.0%} of the sections' tissue lies on tissue of this volume; "
            f"{where}"
        )
    for label, name in ((1, "gray"), (2, "white")):
        shown = float(counts[:, label].sum() / counts[:, 1:].sum())
        if shown and not (volume.data == label).any():
            raise InputError(
                f"{path}: has no {name} matter (label {label}), which {shown:.0%} of the sections' "
                "tissue is; write 1 for gray and 2 for white matter"
            )
    apart = told_apart(counts)
    if apart < -LEAST_APART:
        raise InputError(
            f"{path}: its gray and white matter agree with the sections' at {apart:.2f} (0 is "
            "chance, 1 the same); write 1 for gray and 2 for white matter"
        )
    as_it_is = agreement(counts)
    if better := better_move(volume, samples, as_it_is):
        move, value = better
        left_right = 0 in move.flipped
        raise InputError(
            f"{path}: agrees better with the sections' labels {move} ({value:.2f}) than as it is "
            f"({np.nanmean(as_it_is):.2f}; 0 is chance, 1 the same); correct its data or affine"
            f"{', or study.image_right,' if left_right else ''}: {where}"
        )
    if apart < LEAST_APART:
        raise InputError(
            f"{path}: its gray and white matter agree with the sections' at {apart:.2f} (0 is "
            f"chance, 1 the same), {LEAST_APART} or more is wanted; look at its place: {where}"
        )
    logs.info(
        f"{path.name}: ready-made, {share:.0%} of the sections' tissue lies on its tissue; its "
        f"labels agree with theirs at {np.nanmean(as_it_is):.2f}, gray and white matter alone at "
        f"{apart:.2f} (0 is chance, 1 the same)"
    )


def better_move(
    volume: volumes.Volume, samples: Samples, as_it_is: Floats
) -> tuple[Move, float] | None:
    """The move after which a volume agrees best, where that is clearly better, and how well.

    Tried are flips along one to three axes, about the middle of the tissue and about that of the
    grid, and a step to either side along each axis.
    """
    middles = middle_mm(volume), volume.to_mm((np.array(volume.data.shape) - 1) / 2)
    flips = [
        Move(axes, about)
        for count in (1, 2, 3)
        for axes in combinations(range(3), count)
        for about in middles
    ]
    volume_mm3 = np.count_nonzero(volume.data) * float(np.prod(volume.voxel_mm))
    step_mm = max(MOVED_SHARE * volume_mm3 ** (1 / 3), MOVED_VOXELS * volume.voxel_mm[0])
    shifts = [Move(shift_mm=sign * step_mm * axis) for axis in np.eye(3) for sign in (-1, 1)]
    found = []
    for move in flips + shifts:
        moved = agreement(samples.counts(volume, move))
        if clearly_better(moved - as_it_is):
            found.append((move, float(np.nanmean(moved))))
    return max(found, key=lambda it: it[1], default=None)


def clearly_better(gains: Floats) -> bool:
    """Whether gains of the runs are above 0 by more than they differ (Student's t, one-sided).

    At least `LEAST_GAIN`: below that the grid of voxels decides.
    """
    gains = gains[np.isfinite(gains)]
    if len(gains) < 2:
        return False
    error = float(gains.std(ddof=1)) / len(gains) ** 0.5
    return float(gains.mean()) > max(LEAST_GAIN, stats.t.ppf(1 - CHANCE, len(gains) - 1) * error)


def agreement(counts: NDArray[np.int64]) -> Floats:
    """How well labels agree in each run: 0 as by chance, 1 the same (Youden's J of all classes).

    From the share of each class that the sections show which the volume has right; the mean is
    1 / classes of a volume that knows nothing of the sections, whatever it holds.

    Parameters
    ----------
    counts : (runs, 3, 3), `Samples.counts`.

    Returns
    -------
    (runs,) NaN where the sections show a single class.
    """
    pixels = counts.sum(2)
    classes = (pixels > 0).sum(1)
    right = np.einsum("rcc->rc", counts) / np.maximum(pixels, 1)
    mean = right.sum(1) / np.maximum(classes, 1)
    return np.where(classes > 1, (classes * mean - 1) / np.maximum(classes - 1, 1), np.nan)


def told_apart(counts: NDArray[np.int64]) -> float:
    """The same of gray and white matter alone, where both show tissue; 1 without a class."""
    tissue = counts[:, 1:, 1:].sum(0)
    if not tissue.sum(1).all():
        return 1.0
    return float(np.diagonal(tissue / tissue.sum(1, keepdims=True)).sum() - 1)


def middle_mm(volume: volumes.Volume) -> Floats:
    """The middle of the box around the tissue, RAS mm."""
    ends = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        planes = np.flatnonzero(volume.data.any(axis=others))
        ends.append((planes[0] + planes[-1]) / 2)
    return volume.to_mm(np.array(ends))


def samples_of(sections: list[Placed]) -> Samples:
    """Every so many pixels of the boxes around the sections' tissue, `PIXELS` in all at most."""
    each = max(1, PIXELS // len(sections))
    runs = min(RUNS, len(sections))
    points, labels, of_run = [], [], []
    for number, section in enumerate(sections):
        page = section.read()
        rows, columns = (np.flatnonzero(page.any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            continue
        box = page[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        step = int(np.ceil((box.size / each) ** 0.5))
        sampled = box[::step, ::step]
        row, column = (grid.ravel() * step for grid in np.indices(sampled.shape))
        pixels = np.column_stack([columns[0] + column, rows[0] + row]).astype(np.float64)
        z = np.full((len(pixels), 1), section.z_um)
        stack = np.hstack([section.pixels_to_stack(pixels), z])
        points.append(geometry.stack_to_ras(stack, section.image_right))
        labels.append(sampled.ravel().astype(np.int64))
        of_run.append(np.full(len(pixels), number * runs // len(sections)))
    return Samples(np.concatenate(points), np.concatenate(labels), np.concatenate(of_run))
