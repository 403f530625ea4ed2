"""Errors of the mask of what is not cortex: subcortex, cerebellum, brain stem."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytopipe import logs, provenance
from cytopipe.files import InputError, Output
from cytopipe.formats import tables, volumes
from cytopipe.formats.volumes import Volume, labels_at
from cytopipe.numerics.geometry import Floats, Placement
from cytopipe.study import masks
from cytopipe.truth.ground_truth import TruthBrain, placements
from cytopipe.truth.section_errors import Samples
from cytopipe.truth.surface_errors import carry

# voxels of tissue that are compared; a bound of time, chosen
_VOXELS = 1_000_000
# how far a person's mask reaches beyond a structure, where there is no cortex: as far as its border
# can be seen. Chosen, not measured
_RIM_MM = 1.0


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


@provenance.recorded
def run_exclusion(*, brain: str, folder: Path, stack: Path, volume: Path, mask: Output) -> None:
    """Mark what is not cortex on a phantom's reconstruction, as a person would.

    Parameters
    ----------
    folder : the study's `truth`.
    stack : the brain's table (StackRow).
    volume : the reconstruction before anything is excluded, stack RAS mm.
    mask : written: 1 on the deep structures and up to 1 mm around them, but not on cortex.

    Raises
    ------
    InputError
        If the phantom consists of cortex alone.
    """
    truth = TruthBrain(folder, brain)
    true_mask = truth.exclusion
    if true_mask is None:
        raise InputError(
            f"{folder / brain}: this phantom has no deep structures and no exclusion.nii.gz; set "
            "study.missing_exclusion to go_on"
        )
    placed = placements(tables.read_rows(tables.StackRow, stack))
    whole = volumes.read_tissue(volume)
    marked: NDArray[np.bool_] = np.zeros(whole.data.shape, bool)
    cortex = np.zeros_like(marked)
    tissue = truth.volume("tissue")
    indices = np.argwhere(whole.data > 0)
    for start in range(0, len(indices), _VOXELS):
        part = indices[start : start + _VOXELS]
        true_mm = carry(whole.to_mm(part), truth, placed, to="truth")
        marked[tuple(part.T)] = labels_at(true_mask, true_mm) > 0
        cortex[tuple(part.T)] = labels_at(tissue, true_mm) == 1
    rounds = round(_RIM_MM / float(whole.voxel_mm[0]))
    if rounds:
        allowed = ~ndimage.binary_dilation(cortex & ~marked, iterations=rounds)
        marked |= ndimage.binary_dilation(marked, iterations=rounds) & allowed
    logs.info(f"{brain}: {100 * marked[whole.data > 0].mean():.0f} % of the tissue is not cortex")
    volumes.write(Volume(marked.astype(np.uint8), whole.affine), mask)
