"""Mean intensity profiles across the cortex: the classical baseline for the features of a network.

Intensity from the pial surface to the white matter, along the cortical normal in the plane of the
section, averaged along the cortex (the grey-level profiles of Schleicher et al. 1999).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from cytopipe import provenance
from cytopipe.features.arrays import new_array, sections_of, write_rows
from cytopipe.files import Output, atomic_write
from cytopipe.formats import tables
from cytopipe.formats.images import open_pyramid
from cytopipe.logs import progress
from cytopipe.numerics.geometry import Floats, Rigid, section_to_pixels
from cytopipe.study.config import Profiles
from cytopipe.study.sections import Section

# a section parallel to the cortex cuts it over an unlimited length: at most this many thicknesses,
# those of a cut at 60 degrees to the normal; chosen, not measured
MAX_OBLIQUE = 2.0


def normal_in_section(
    nx: Floats, ny: Floats, angle_rad: float, mirrored: bool
) -> tuple[Floats, Floats]:
    """Unit normals (n, 2) in the section frame, and the length (n,) of their in-plane part.

    Parameters
    ----------
    nx, ny : (n,) the first two components of unit normals in the stack frame.
    angle_rad, mirrored : of the section, as in StackRow: it is flipped left to right if
        mirrored, then rotated into the stack.
    """
    back = Rigid(-angle_rad, 0.0, 0.0, "stack", "unmirrored")
    normal = back(np.stack([nx, ny], axis=-1))
    if mirrored:
        normal[:, 0] *= -1
    length = np.hypot(normal[:, 0], normal[:, 1])
    return normal / np.maximum(length, 1e-9)[:, None], length


def profiles(
    image: NDArray[np.uint8],
    spacing_um: float,
    full_spacing_um: float,
    points_um: Floats,
    normals: Floats,
    above_um: Floats,
    below_um: Floats,
    params: Profiles,
) -> NDArray[np.float32]:
    """Mean intensities (n, samples), 0 to 1, from the pial surface to the white matter.

    Outside the image, the nearest border pixel counts.

    Parameters
    ----------
    image, spacing_um, full_spacing_um : a level of the section, its pixel size and that of level 0.
    points_um, normals : (n, 2) section frame; unit normals towards the pial surface.
    above_um, below_um : (n,) distances from the point to the pial surface and to the white matter.
    """
    along = np.linspace(0, 1, params.samples)
    depth_um = above_um[:, None] * (1 - along) - below_um[:, None] * along
    half_um = 500 * params.width_mm
    aside_um = np.linspace(-half_um, half_um, 1 + 2 * round(half_um / spacing_um))
    tangents = np.stack([-normals[:, 1], normals[:, 0]], axis=-1)
    positions_um = (
        points_um[:, None, None]
        + depth_um[:, :, None, None] * normals[:, None, None]
        + aside_um[:, None] * tangents[:, None, None]
    )
    pixels = section_to_pixels(positions_um, spacing_um, full_spacing_um)
    grid = torch.from_numpy(pixels / (np.array(image.shape[::-1]) - 1) * 2 - 1)
    plane = torch.from_numpy(image.astype(np.float64) / 255)[None, None]
    values = functional.grid_sample(
        plane, grid.flatten(1, 2)[None], padding_mode="border", align_corners=True
    )
    return values.reshape(positions_um.shape[:3]).mean(-1).float().numpy()


@provenance.recorded
def run_profiles(
    *,
    points: Path,
    stack: Path,
    sections: Sequence[Section],
    backbone: Output,
    rows: Output,
    params: Profiles,
) -> None:
    """Compute the profiles of every point of a brain, in place of the features of a network.

    A point without thickness, or whose normal is parallel to the cutting axis, has a row of NaN and
    the status `no_normal`.

    Parameters
    ----------
    points : points of the brain (PointRow).
    stack : alignment of the brain (StackRow), to rotate the normals into the sections.
    sections : of the brain; `image` is the pyramid that is read.
    backbone, rows : the .npy array (points, samples) and the table of its rows to write.
    """
    table = tables.read(tables.PointRow, points)
    places = {row.section: row for row in tables.read_rows(tables.StackRow, stack)}
    status = table.status.copy()
    with atomic_write(backbone) as beside:
        array = new_array(beside, (len(table), params.samples))
        groups = sections_of(table, sections)
        for section, members in progress(groups, len(groups), "profiles of sections"):
            here = table.iloc[members]
            normals, in_plane = normal_in_section(
                here.nx.to_numpy(),
                here.ny.to_numpy(),
                places[section.section].angle_rad,
                places[section.section].mirrored,
            )
            # in an oblique section, the cortex is longer than it is thick
            across_um = 1000 * here.thickness_mm.to_numpy() / np.maximum(in_plane, 1 / MAX_OBLIQUE)
            usable = np.isfinite(normals).all(1) & (in_plane > 1e-6) & np.isfinite(across_um)
            status.iloc[members[~usable]] = "no_normal"
            depth = here.depth.fillna(0.5).to_numpy()
            with open_pyramid(Path(section.image), section.spacing_um) as pyramid:
                level = pyramid.level_for(max(params.spacing_um, pyramid.full_spacing_um))
                array[members[usable]] = profiles(
                    pyramid.to_8_bit(pyramid.read_level(level)),
                    pyramid.levels[level].spacing_um,
                    pyramid.full_spacing_um,
                    here[["x_um", "y_um"]].to_numpy()[usable],
                    normals[usable],
                    (across_um * depth)[usable],
                    (across_um * (1 - depth))[usable],
                    params,
                )
        array.flush()
    write_rows(table.point_id, status, rows)
