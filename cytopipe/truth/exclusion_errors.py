"""Errors of the mask of what is not cortex: subcortex, cerebellum, brain stem."""

from pathlib import Path

import numpy as np

from cytopipe.formats.volumes import Volume, labels_at
from cytopipe.numerics.geometry import Floats, Placement
from cytopipe.study import masks
from cytopipe.truth.ground_truth import TruthBrain
from cytopipe.truth.section_errors import Samples
from cytopipe.truth.surface_errors import carry

# voxels of tissue that are compared; a bound of time, chosen
_VOXELS = 1_000_000


def exclusion_samples(
    truth: TruthBrain,
    placed: dict[int, Placement],
    whole: Volume,
    mask_paths: dict[str, Path],
) -> Samples:
    """Whether each voxel of the tissue is excluded, by a mask and in truth, for each mask.

    Parameters
    ----------
    placed : estimated placement of each section.
    whole : the reconstruction before anything is excluded, estimated stack RAS mm.
    mask_paths : masks in the estimated stack RAS mm, by the name of their samples.

    Returns
    -------
    (n, 2) for each mask; nothing if the true brain consists of cortex alone.
    """
    true_mask = truth.exclusion
    if true_mask is None or not mask_paths:
        return {}
    indices = np.argwhere(whole.data > 0)
    points_mm = whole.to_mm(indices[:: max(1, len(indices) // _VOXELS)])
    true = labels_at(true_mask, carry(points_mm, truth, placed, to="truth")) > 0
    samples = {}
    for name, path in mask_paths.items():
        held = [segment.holds(points_mm) for segment in masks.read_mask(path)]
        samples[name] = np.column_stack([np.any(held, axis=0), true]).astype(np.float64)
    return samples


def dice_of_columns(samples: Floats) -> float:
    """Dice coefficient of two columns of zeros and ones; 1 if both are empty."""
    total = float(samples.sum())
    return 2.0 * float(samples.prod(axis=1).sum()) / total if total else 1.0
