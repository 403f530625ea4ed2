"""Format `nifti`: tissue, depth and areas as volumes in RAS mm, in stack and template."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cytopipe.export import Params, readme
from cytopipe.export.csv import write_table
from cytopipe.formats import volumes
from cytopipe.formats.volumes import Volume
from cytopipe.study.areas import NO_AREA, Areas, areas_of
from cytopipe.study.nearest_point import at_nearest, default_reach_mm, nearest_of_voxels
from cytopipe.study.results import BrainResults

# template voxels that are moved to the stack at once: bounds the memory
_VOXELS = 500_000


def write(brains: Sequence[BrainResults], folder: Path, params: Params) -> None:
    """Write the volumes of each brain and the table of areas."""
    areas = areas_of(brains)
    for brain in brains:
        in_stack = stack_volumes(brain, areas, params.reach_mm)
        in_template = to_template_grid(brain, in_stack)
        for space, kinds in (("stack", in_stack), (brain.template, in_template)):
            for kind, volume in kinds.items():
                name = f"{brain.name}_space-{space}_{kind}.nii.gz"
                volumes.write(volume, folder / brain.name / name)
    write_area_table(areas, folder / "areas.tsv")
    readme.write("nifti", brains, folder)


def write_area_table(areas: Areas, path: Path) -> None:
    """Write index, name and colour of each area, as in a _dseg.tsv of BIDS."""
    colours = ["#{:02x}{:02x}{:02x}".format(*rgb) for rgb in areas.colours.tolist()]
    frame = pd.DataFrame({"name": [NO_AREA, *areas.names], "color": ["#000000", *colours]})
    frame.insert(0, "index", np.arange(len(frame)))
    write_table(frame, path, "\t", na="n/a")


def stack_volumes(brain: BrainResults, areas: Areas, reach_mm: float | None) -> dict[str, Volume]:
    """Tissue, depth and areas on the grid of the reconstruction."""
    rows = nearest_of_voxels(brain, default_reach_mm(brain) if reach_mm is None else reach_mm)
    keys = areas.keys_of(brain.points["area"])
    labels = np.where(rows >= 0, keys[np.maximum(rows, 0)], 0).astype(np.int16)
    return {
        "tissue": brain.tissue,
        "depth": Volume(brain.depth.data.astype(np.float32), brain.depth.affine),
        "areas": Volume(labels, brain.tissue.affine),
    }


def to_template_grid(brain: BrainResults, in_stack: Mapping[str, Volume]) -> dict[str, Volume]:
    """Resample volumes of the stack on the grid of the template, by the nearest voxel.

    Each template voxel takes the value at its position in the stack. The transform moves points
    from stack to template, so its inverse is used.
    """
    grid = brain.template_tissue
    to_stack = brain.to_template.inverse()
    outside = {kind: np.nan if kind == "depth" else 0.0 for kind in in_stack}
    data = {
        kind: np.full(grid.data.shape, outside[kind], volume.data.dtype)
        for kind, volume in in_stack.items()
    }
    slices = max(1, _VOXELS // int(np.prod(grid.data.shape[1:])))
    for first in range(0, grid.data.shape[0], slices):
        slab = slice(first, first + slices)
        shape = grid.data[slab].shape
        index = np.moveaxis(np.indices(shape), 0, -1).reshape(-1, 3) + (first, 0, 0)
        stack_mm = to_stack(grid.to_mm(index))
        for kind, volume in in_stack.items():
            data[kind][slab] = at_nearest(volume, stack_mm, outside[kind]).reshape(shape)
    return {kind: Volume(values, grid.affine) for kind, values in data.items()}
