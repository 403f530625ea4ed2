"""A tissue volume that a lab already has, in place of the stacked sections (BigBrain's, say)."""

from pathlib import Path

import numpy as np

from cytopipe import logs
from cytopipe.files import InputError
from cytopipe.formats import volumes
from cytopipe.numerics import geometry
from cytopipe.reconstruction.shapes import Placed

# pixels of the sections that are looked up in the volume, at most
PIXELS = 500_000
# below this share of the sections' tissue in it the volume lies elsewhere
LEAST_SHARE = 0.5


def read_given(path: Path, sections: list[Placed]) -> volumes.Volume:
    """Read the volume and hold it against the sections, which carry points into its frame.

    Parameters
    ----------
    path : labels 0 background, 1 gray, 2 white matter in stack RAS mm; isotropic voxels along the
        axes, of any size.
    sections : the brain's, placed in the stack.

    Returns
    -------
    The volume as it is, its axes towards R, A and S.

    Raises
    ------
    InputError
        If it holds other labels, its voxels are oblique or not isotropic, or half the sections'
        tissue or more lies on its background: it is in another frame.
    """
    found = volumes.read_tissue(path)
    edges = found.voxel_mm
    oblique = np.abs(found.affine[:3, :3] - np.diag(edges)).max() > 1e-3 * edges.max()
    if oblique or np.ptp(edges) > 1e-3 * edges[0]:
        raise InputError(
            f"{path}: voxels of {' x '.join(f'{edge:g}' for edge in edges)} mm"
            f"{', oblique' if oblique else ''}; resample it to cubes along the axes of stack RAS mm"
        )
    share = share_on_tissue(found, sections)
    if share < LEAST_SHARE:
        raise InputError(
            f"{path}: only {share:.0%} of the sections' tissue lies on tissue of this volume; it "
            "is to be in stack RAS mm, where the sections' transforms lead (docs/new-brain.md)"
        )
    logs.say(f"{path.name}: ready-made, {share:.0%} of the sections' tissue lies on its tissue")
    return found


def share_on_tissue(volume: volumes.Volume, sections: list[Placed]) -> float:
    """Of the sections' tissue pixels, a sample of which is looked up in the volume."""
    each = max(1, PIXELS // len(sections))
    hits = total = 0
    for section in sections:
        rows, columns = np.nonzero(section.read())
        step = max(1, len(rows) // each)
        pixels = np.column_stack([columns, rows])[::step].astype(np.float64)
        z = np.full((len(pixels), 1), section.z_um)
        stack = np.hstack([section.pixels_to_stack(pixels), z])
        labels = volumes.labels_at(volume, geometry.stack_to_ras(stack, section.image_right))
        hits, total = hits + int(np.count_nonzero(labels)), total + len(labels)
    return hits / max(total, 1)
