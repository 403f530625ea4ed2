"""How well sections were labelled, flipped, paired and stacked, against the truth."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytopipe.formats import images
from cytopipe.formats.tables import ACCEPTED, PairRow, SegmentationRow
from cytopipe.numerics.geometry import (
    Floats,
    Placement,
    Rigid,
    fit_rigid,
    pixels_to_section,
    resample_labels,
)
from cytopipe.truth.folder import TruthBrain

# the unit of the goals of pairs, whatever the resolution of the study
PAIR_PIXEL_UM = 256.0
# sections with less than this share of the largest section's tissue are poles
POLE_SHARE = 0.15
POLE_ERROR_PX = 3.0
_POINTS_A_SECTION = 400

Samples = dict[str, Floats]


def dice(labels: NDArray[np.uint8], truth: NDArray[np.uint8], value: int) -> float:
    """Twice the overlap over the sum of areas of one label; 1 where both have none."""
    found, true = labels == value, truth == value
    total = int(found.sum()) + int(true.sum())
    return 2.0 * int((found & true).sum()) / total if total else 1.0


def border_um(tissue: NDArray[np.uint8], spacing_um: float, full_spacing_um: float) -> Floats:
    """Section coordinates (n, 2) um of the tissue pixels that touch the background."""
    mask = tissue > 0
    rows, columns = np.nonzero(mask & ~ndimage.binary_erosion(mask))
    pixels = np.stack([columns, rows], axis=1).astype(np.float64)
    return pixels_to_section(pixels, spacing_um, full_spacing_um)


def tissue_um(tissue: NDArray[np.uint8], spacing_um: float, full_spacing_um: float) -> Floats:
    """Section coordinates of some tissue pixels in even steps, (at most 400, 2) um."""
    rows, columns = np.nonzero(tissue > 0)
    some = np.unique(np.linspace(0, len(rows) - 1, _POINTS_A_SECTION).astype(int))
    pixels = np.stack([columns[some], rows[some]], axis=1).astype(np.float64)
    return pixels_to_section(pixels, spacing_um, full_spacing_um)


def pair_error_um(
    points_um: Floats,
    moving: Placement,
    fixed: Placement,
    estimated: Placement,
) -> float:
    """Mean distance of where a pair's transform carries points and where they belong.

    Parameters
    ----------
    points_um : (n, 2) um, the moving section as scanned.
    moving, fixed : true placements of the two sections.
    estimated : the pair's flip and transform, the moving section as scanned to the fixed one
        as scanned.
    """
    truly = fixed.back(moving(points_um))
    return float(np.linalg.norm(estimated(points_um) - truly, axis=1).mean())


def label_samples(
    truth: TruthBrain, segmentation: Sequence[tuple[SegmentationRow, Path]]
) -> Samples:
    """Dice of gray and white matter of each good section; 0 where it was not labelled.

    Parameters
    ----------
    segmentation : of the brain's sections, each with its label file.
    """
    labels = {row.section: (row, path) for row, path in segmentation if row.is_usable}
    gray, white = [], []
    for section in truth.good():
        true = truth.page(section, "tissue")
        if section not in labels:
            gray.append(0.0)
            white.append(0.0)
            continue
        row, path = labels[section]
        found = resample_labels(
            images.read_labels(path, row.page),
            row.spacing_um,
            true.shape,
            truth.spacing_um,
            row.full_spacing_um,
        )
        gray.append(dice(found, true, 1))
        white.append(dice(found, true, 2))
    return {"dice_gray": np.array(gray), "dice_white": np.array(white)}


def mirror_samples(truth: TruthBrain, placed: dict[int, Placement]) -> Samples:
    """Whether flips were found, or invented, of sections with tissue.

    A mirrored section without a transform is one that was not found.
    """
    found, invented, unplaced = [], [], []
    for section in truth.with_tissue:
        if section not in placed:
            unplaced.append(section)
            if truth.placements[section].mirrored:
                found.append(False)
        elif truth.placements[section].mirrored:
            found.append(placed[section].mirrored)
        else:
            invented.append(placed[section].mirrored)
    return {
        "mirrored_found": np.array(found, np.float64),
        "mirrored_invented": np.array(invented, np.float64),
        "unplaced": np.ones(len(unplaced)),
    }


def pair_samples(truth: TruthBrain, pairs: Iterable[PairRow]) -> Samples:
    """Errors of accepted neighbouring pairs, in px of 256 um, and whether all were accepted.

    A pair is judged along the true border of its moving section: the mean distance of where its
    transform carries the border and where it belongs. Expected are all pairs of sections that
    follow one another (blank and missing ones left out) and show more than 15 % of the largest
    section's tissue; a pair with a smaller section is a pole pair.
    """
    smallest = POLE_SHARE * max(truth.tissue_px.values())
    errors, pole_errors = [], []
    accepted = set()
    for pair in pairs:
        if pair.distance != 1 or pair.status != ACCEPTED:
            continue
        fixed, moving = pair.sections
        accepted.add((min(fixed, moving), max(fixed, moving)))
        if not truth.tissue_px.get(moving) or fixed not in truth.placements:
            errors.append(np.inf)  # a transform was accepted where there is nothing to see
            continue
        assert pair.rigid is not None
        estimated = Placement(pair.mirrored, truth.placements[moving].width_um, pair.rigid)
        full_um = truth.full_spacing_um[moving]
        points = border_um(truth.page(moving, "tissue"), truth.spacing_um, full_um)
        error_um = pair_error_um(
            points, truth.placements[moving], truth.placements[fixed], estimated
        )
        error = error_um / PAIR_PIXEL_UM
        errors.append(error)
        if min(truth.tissue_px[moving], truth.tissue_px[fixed]) <= smallest:
            pole_errors.append(float(error > POLE_ERROR_PX))
    shown = truth.with_tissue
    expected = [
        (before, after) in accepted
        for before, after in pairwise(shown)
        if min(truth.tissue_px[before], truth.tissue_px[after]) > smallest
    ]
    return {
        "pair_error": np.array(errors),
        "pair_accepted": np.array(expected, np.float64),
        "pole_pair_wrong": np.array(pole_errors),
    }


@dataclass(frozen=True)
class Drift:
    """How the estimated stack differs from the true one after one rigid fit in the plane.

    Attributes
    ----------
    distance_mm : (n,) of tissue points, as many from each section.
    fit : estimated stack (x, y) um to true stack (x, y) um.
    """

    distance_mm: Floats
    fit: Rigid


def drift(truth: TruthBrain, placed: dict[int, Placement]) -> Drift:
    """Fit the estimated stack to the true one and measure what is left.

    Every section with tissue and a transform gives up to 400 tissue points, so that sections
    count about alike. z is known and needs no fit.
    """
    estimated, true = [], []
    for section in truth.with_tissue:
        if section in placed:
            full_um = truth.full_spacing_um[section]
            points = tissue_um(truth.page(section, "tissue"), truth.spacing_um, full_um)
            estimated.append(placed[section](points))
            true.append(truth.placements[section](points))
    if not estimated:
        return Drift(np.empty(0), Rigid(0.0, 0.0, 0.0, "stack", "true stack"))
    points, targets = np.concatenate(estimated), np.concatenate(true)
    fit = fit_rigid(points, targets, "stack", "true stack")
    return Drift(np.linalg.norm(fit(points) - targets, axis=1) / 1000, fit)
