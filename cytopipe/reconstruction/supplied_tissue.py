"""A tissue volume that a lab already has (such as BigBrain's), in place of the stacked sections."""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats

from cytopipe import logs
from cytopipe.files import InputError
from cytopipe.formats import volumes
from cytopipe.numerics.geometry import Floats
from cytopipe.reconstruction.shapes import PlacedSection, tissue_box

# at most this many pixels of the sections are compared, to limit the time; chosen, not measured
PIXELS = 500_000
# a volume that covers less of the sections' tissue than this lies elsewhere; chosen, not measured
LEAST_SHARE = 0.5
# agreement of gray and white matter, 0 by chance, 1 if equal. fsaverage5 has 0.86 in its place,
# 0.25 with rough sections, and still 0.1 to 0.3 where it is 10 mm off
LEAST_SEPARATION = 0.15
# agreement is compared by runs of sections, since neighbours share their errors; chosen
RUNS = 12
# chance of preferring a move that is not better, and the smallest gain that counts; chosen
CHANCE, LEAST_GAIN = 0.01, 0.02
# step by which a volume is moved to see whether it fits better: a share of the cube root of its
# tissue (3 mm for a human brain), and at least this many voxels; chosen
MOVED_SHARE, MOVED_VOXELS = 0.03, 2.0

AXES = (
    ("left-right", "left", "right"),
    ("posterior-anterior", "posterior", "anterior"),
    ("inferior-superior", "inferior", "superior"),
)


@dataclass(frozen=True)
class SectionPixels:
    """Pixels of the sections: (n, 3) stack RAS mm, (n,) labels and (n,) runs of sections."""

    points_mm: Floats
    labels: NDArray[np.int64]
    runs: NDArray[np.int64]

    def counts(
        self, volume: volumes.Volume, sign: Floats | float = 1.0, offset_mm: Floats | float = 0.0
    ) -> NDArray[np.int64]:
        """(runs, 3, 3) numbers of pixels by label and by the volume's label at `sign` x +
        `offset_mm`.
        """
        there = volumes.labels_at(volume, sign * self.points_mm + offset_mm)
        cells = 9 * self.runs + 3 * self.labels + there
        runs = int(self.runs.max()) + 1
        return np.bincount(cells, minlength=9 * runs).reshape(runs, 3, 3)


def read_supplied_tissue(path: Path, sections: list[PlacedSection]) -> volumes.Volume:
    """Read the volume and compare it with the sections, whose points are carried into its frame.

    Parameters
    ----------
    path : labels 0 background, 1 gray, 2 white matter in stack RAS mm; isotropic voxels of any
        size, along the axes.
    sections : those of the brain, in the order of z.

    Raises
    ------
    InputError
        If it holds other labels, its voxels are oblique or not isotropic, or it does not agree with
        the sections (`check_agreement`).
    """
    volume = volumes.read_tissue(path)
    edges = volume.voxel_mm
    oblique = np.abs(volume.affine[:3, :3] - np.diag(edges)).max() > 1e-3 * edges.max()
    if oblique or np.ptp(edges) > 1e-3 * edges[0]:
        raise InputError(
            f"{path}: voxels of {' x '.join(f'{edge:g}' for edge in edges)} mm"
            f"{', oblique' if oblique else ''}; resample it to cubes along the axes of stack RAS mm"
        )
    check_agreement(path, volume, pixels_of(sections))
    return volume


def check_agreement(path: Path, volume: volumes.Volume, pixels: SectionPixels) -> None:
    """Log how well the volume at `path` agrees with the sections.

    Raises
    ------
    InputError
        If less than half of the sections' tissue lies on its tissue; if it lacks gray or white
        matter that the sections have, or exchanges the two; if it agrees clearly better
        (`clearly_better`) once flipped or moved a little; or if its gray and white matter are
        almost unrelated to theirs.
    """
    counts = pixels.counts(volume)
    share = float(counts[:, 1:, 1:].sum() / max(counts[:, 1:].sum(), 1))
    where = "it must be in stack RAS mm, to which the sections' transforms lead (docs/new-brain.md)"
    if share < LEAST_SHARE:
        raise InputError(
            f"{path}: only {share:.0%} of the sections' tissue lies on tissue of this volume; "
            f"{where}"
        )
    for label, name in ((1, "gray"), (2, "white")):
        shown = float(counts[:, label].sum() / counts[:, 1:].sum())
        if shown and not (volume.data == label).any():
            raise InputError(
                f"{path}: has no {name} matter (label {label}), but {shown:.0%} of the sections' "
                "tissue is; write 1 for gray and 2 for white matter"
            )
    separation = gray_white_agreement(counts)
    values = f"{separation:.2f} (0 is chance, 1 is equal)"
    if separation < -LEAST_SEPARATION:
        raise InputError(
            f"{path}: its gray and white matter agree with the sections' at {values}; "
            "write 1 for gray and 2 for white matter"
        )
    unmoved = agreement(counts)
    if better := better_move(volume, pixels, unmoved):
        move, value = better
        raise InputError(
            f"{path}: agrees better with the sections' labels {move} ({value:.2f}) than as it "
            f"is ({np.nanmean(unmoved):.2f}; 0 is chance, 1 is equal); correct its data or affine"
            f"{', or study.image_right,' if AXES[0][0] in move else ''}: {where}"
        )
    if separation < LEAST_SEPARATION:
        raise InputError(
            f"{path}: its gray and white matter agree with the sections' at {values}, but "
            f"{LEAST_SEPARATION} is required; check where it lies: {where}"
        )
    logs.info(
        f"{path.name}: supplied, {share:.0%} of the sections' tissue lies on its tissue; its "
        f"labels agree with theirs at {np.nanmean(unmoved):.2f}, gray and white matter alone at "
        f"{values}"
    )


def better_move(
    volume: volumes.Volume, pixels: SectionPixels, unmoved: Floats
) -> tuple[str, float] | None:
    """The move after which a volume agrees best, and its agreement; None if none is clearly better.

    The moves are flips along one to three axes, about the middle of the tissue and about that of
    the grid, and a step in either direction along each axis.
    """
    boxes = ndimage.find_objects((volume.data > 0).astype(np.uint8), 1)
    tissue_middle = [(side.start + side.stop - 1) / 2 for side in boxes[0]]
    middles = np.array(tissue_middle), (np.array(volume.data.shape) - 1) / 2
    moves = []
    for count in (1, 2, 3):
        for axes in combinations(range(3), count):
            flipped = np.isin(range(3), axes)
            for middle_mm in map(volume.to_mm, middles):
                name = f"flipped {' and '.join(AXES[axis][0] for axis in axes)}"
                moves.append(
                    (name, np.where(flipped, -1.0, 1.0), np.where(flipped, 2 * middle_mm, 0))
                )
    volume_mm3 = np.count_nonzero(volume.data) * float(np.prod(volume.voxel_mm))
    step_mm = max(MOVED_SHARE * volume_mm3 ** (1 / 3), MOVED_VOXELS * volume.voxel_mm[0])
    for axis, (_, *directions) in enumerate(AXES):
        for sign, towards in zip((-1, 1), directions, strict=True):
            name = f"moved {step_mm:.2g} mm towards {towards}"
            moves.append((name, np.ones(3), -sign * step_mm * np.eye(3)[axis]))
    better = []
    for name, signs, offset_mm in moves:
        moved = agreement(pixels.counts(volume, signs, offset_mm))
        if clearly_better(moved - unmoved):
            better.append((name, float(np.nanmean(moved))))
    return max(better, key=lambda pair: pair[1], default=None)


def clearly_better(gains: Floats) -> bool:
    """Whether the gains of the runs are above 0, beyond their spread (Student's t, one-sided).

    The mean gain must reach `LEAST_GAIN`; smaller gains depend on the grid of voxels.
    """
    gains = gains[np.isfinite(gains)]
    if len(gains) < 2:
        return False
    error = float(gains.std(ddof=1)) / len(gains) ** 0.5
    return float(gains.mean()) > max(LEAST_GAIN, stats.t.ppf(1 - CHANCE, len(gains) - 1) * error)


def agreement(counts: NDArray[np.int64]) -> Floats:
    """How well labels agree in each run: 0 by chance, 1 if equal (Youden's J of all classes).

    It follows from the share of each class of the sections that the volume labels correctly; the
    mean share of a volume that is unrelated to the sections is 1 / classes, whatever it holds.

    Parameters
    ----------
    counts : (runs, 3, 3), `SectionPixels.counts`.

    Returns
    -------
    (runs,) NaN where the sections show a single class.
    """
    pixels = counts.sum(2)
    classes = (pixels > 0).sum(1)
    right = np.einsum("rcc->rc", counts) / np.maximum(pixels, 1)
    mean = right.sum(1) / np.maximum(classes, 1)
    return np.where(classes > 1, (classes * mean - 1) / np.maximum(classes - 1, 1), np.nan)


def gray_white_agreement(counts: NDArray[np.int64]) -> float:
    """Agreement of gray and white matter where both show tissue; 1 if a class is missing."""
    tissue = counts[:, 1:, 1:].sum(0)
    if not tissue.sum(1).all():
        return 1.0
    return float(np.diagonal(tissue / tissue.sum(1, keepdims=True)).sum() - 1)


def pixels_of(sections: list[PlacedSection]) -> SectionPixels:
    """Evenly spaced pixels of the boxes around the sections' tissue, at most `PIXELS` in all."""
    pixels_per_section = max(1, PIXELS // len(sections))
    runs = min(RUNS, len(sections))
    points, labels, of_run = [], [], []
    for number, section in enumerate(sections):
        page = section.read()
        if (box := tissue_box(page)) is None:
            continue
        step = int(np.ceil((page[box].size / pixels_per_section) ** 0.5))
        sampled = page[box][::step, ::step]
        row, column = (grid.ravel() * step for grid in np.indices(sampled.shape))
        pixels = np.column_stack([box[1].start + column, box[0].start + row]).astype(np.float64)
        points.append(section.pixels_to_ras(pixels))
        labels.append(sampled.ravel().astype(np.int64))
        of_run.append(np.full(len(pixels), number * runs // len(sections)))
    return SectionPixels(np.concatenate(points), np.concatenate(labels), np.concatenate(of_run))
