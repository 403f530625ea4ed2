"""Errors of labels, handedness, pairs and the stack, compared with the ground truth."""

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
from cytopipe.truth.ground_truth import TruthBrain

# the unit of the goals of pairs, whatever the resolution of the study
PAIR_PIXEL_UM = 256.0
# sections with less than this share of the largest section's tissue are poles; a pair with a pole
# is wrong beyond this error. Chosen, not measured
POLE_SHARE = 0.15
POLE_ERROR_PX = 3.0
# so that all sections count about alike in the drift; a bound of time, chosen
_POINTS_PER_SECTION = 400

Samples = dict[str, Floats]


def dice(labels: NDArray[np.uint8], truth: NDArray[np.uint8], value: int) -> float:
    """Twice the overlap over the sum of areas of one label; 1 if neither has it."""
    own, true = labels == value, truth == value
    total = int(own.sum()) + int(true.sum())
    return 2.0 * int((own & true).sum()) / total if total else 1.0


def label_samples(
    truth: TruthBrain, segmentation: Sequence[tuple[SegmentationRow, Path]]
) -> Samples:
    """Dice of gray and white matter of each good section; 0 if it was not labelled.

    Parameters
    ----------
    segmentation : rows of the brain's sections, each with its label file.
    """
    labelled = {row.section: (row, path) for row, path in segmentation if row.is_usable}
    scores = []
    for section in truth.good():
        if section not in labelled:
            scores.append((0.0, 0.0))
            continue
        true = truth.page(section, "tissue")
        row, path = labelled[section]
        labels = resample_labels(
            images.read_labels(path, row.page),
            row.spacing_um,
            true.shape,
            truth.spacing_um,
            row.full_spacing_um,
        )
        scores.append((dice(labels, true, 1), dice(labels, true, 2)))
    gray, white = np.array(scores).reshape(-1, 2).T
    return {"dice_gray": gray, "dice_white": white}


def mirror_samples(truth: TruthBrain, placed: dict[int, Placement]) -> Samples:
    """Whether mirrored sections with tissue were detected, and others falsely called mirrored.

    A mirrored section without a transform counts as not detected.
    """
    mirrored = [n for n in truth.with_tissue if truth.placements[n].mirrored]
    others = [n for n in truth.with_tissue if n in placed and n not in mirrored]
    detected = [n in placed and placed[n].mirrored for n in mirrored]
    unplaced = [n for n in truth.with_tissue if n not in placed]
    return {
        "mirrored_found": np.array(detected, np.float64),
        "mirrored_invented": np.array([placed[n].mirrored for n in others], np.float64),
        "unplaced": np.ones(len(unplaced)),
    }


def pair_samples(truth: TruthBrain, pairs: Iterable[PairRow]) -> Samples:
    """Errors of accepted neighbouring pairs, in px of 256 um, and whether all were accepted.

    The error of a pair is the mean distance between where its transform carries the true border of
    its moving section and where that belongs. Every pair of consecutive sections (blank and missing
    ones skipped) with more than 15 % of the largest section's tissue should be accepted; a pair
    with a smaller section is a pole pair.
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
            errors.append(np.inf)  # accepted without tissue to match
            continue
        assert pair.rigid is not None
        true = truth.placements[moving]
        border_um = _border_um(truth, moving)
        estimated = Placement(pair.mirrored, true.width_um, pair.rigid)(border_um)
        off_um = estimated - truth.placements[fixed].back(true(border_um))
        error = float(np.linalg.norm(off_um, axis=1).mean()) / PAIR_PIXEL_UM
        errors.append(error)
        if min(truth.tissue_px[moving], truth.tissue_px[fixed]) <= smallest:
            pole_errors.append(float(error > POLE_ERROR_PX))
    expected = [
        (before, after) in accepted
        for before, after in pairwise(truth.with_tissue)
        if min(truth.tissue_px[before], truth.tissue_px[after]) > smallest
    ]
    return {
        "pair_error": np.array(errors),
        "pair_accepted": np.array(expected, np.float64),
        "pole_pair_wrong": np.array(pole_errors),
    }


def _border_um(truth: TruthBrain, section: int) -> Floats:
    """Section coordinates (n, 2) um of the tissue pixels that touch the background."""
    mask = truth.page(section, "tissue") > 0
    pixels = np.argwhere(mask & ~ndimage.binary_erosion(mask))[:, ::-1].astype(np.float64, "C")
    return pixels_to_section(pixels, truth.spacing_um, truth.full_spacing_um[section])


@dataclass(frozen=True)
class Drift:
    """How the estimated stack differs from the true one after one rigid fit in the plane.

    Attributes
    ----------
    distance_mm : (n,) of tissue points.
    fit : estimated stack (x, y) um to true stack (x, y) um.
    """

    distance_mm: Floats
    fit: Rigid


def drift(truth: TruthBrain, placed: dict[int, Placement]) -> Drift:
    """Fit the estimated stack to the true one and measure the remaining distances.

    Every placed section with tissue contributes up to 400 tissue points. z is known and needs no
    fit.
    """
    estimated, true = [], []
    for section in truth.with_tissue:
        if section in placed:
            pixels = np.argwhere(truth.page(section, "tissue") > 0)[:, ::-1]
            some = np.unique(np.linspace(0, len(pixels) - 1, _POINTS_PER_SECTION).astype(int))
            pixels = pixels[some].astype(np.float64, "C")
            full_um = truth.full_spacing_um[section]
            points = pixels_to_section(pixels, truth.spacing_um, full_um)
            estimated.append(placed[section](points))
            true.append(truth.placements[section](points))
    if not estimated:
        return Drift(np.empty(0), Rigid(0.0, 0.0, 0.0, "stack", "true stack"))
    points, targets = np.concatenate(estimated), np.concatenate(true)
    fit = fit_rigid(points, targets, "stack", "true stack")
    return Drift(np.linalg.norm(fit(points) - targets, axis=1) / 1000, fit)
