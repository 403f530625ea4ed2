"""From the labels of one hemisphere to its closed mid-surface."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytopipe.formats.volumes import Volume
from cytopipe.numerics import meshes, topology
from cytopipe.numerics.geometry import Floats
from cytopipe.study.config import Midsurface

# the depth of the mid-surface: CytoNet section 3.2
MIDDLE = 0.5


@dataclass(frozen=True)
class HemisphereSurface:
    """A hemisphere's mid-surface in stack RAS mm and how it was made (see SurfaceRow)."""

    vertices: Floats
    faces: NDArray[np.int32]
    euler_before: int
    voxels_removed: int
    voxels_added: int
    status: str


def midsurface(depth: Volume, params: Midsurface) -> HemisphereSurface:
    """The surface at half depth: topology corrected on voxels, then cut out, smoothed and remeshed.

    Poisson reconstruction can add a handle between banks that nearly touch. In that case the faired
    isosurface is remeshed instead, and `status` says so.

    Parameters
    ----------
    depth : 0 pial to 1 white, continued beyond both; background along all borders of the array.
    """
    above = depth.data > MIDDLE
    _, raw_faces = meshes.marching_cubes(depth.data, MIDDLE)
    euler_before = meshes.euler_number(raw_faces)
    filled_voxels = int(params.pocket_mm3 / float(np.prod(depth.voxel_mm)))
    solid = topology.correct_topology(above, depth.data, filled_voxels)
    field = topology.nudge(depth.data, solid, MIDDLE)
    vertices, faces = meshes.marching_cubes(field, MIDDLE)
    vertices, faces = meshes.largest_component(depth.to_mm(vertices), faces)
    status = "ok"
    if not is_sphere(faces):
        status = f"topology not corrected: Euler number {meshes.euler_number(faces)}"
    else:
        # Poisson would join the staircases of banks that nearly touch
        vertices = meshes.fair(vertices, faces, params.fairing_rounds)
        smooth = meshes.largest_component(*meshes.poisson(vertices, faces, params.poisson_depth))
        if is_sphere(smooth[1]):
            vertices, faces = smooth
        else:
            status = "ok, without Poisson reconstruction, which would add a handle"
    vertices, faces = meshes.remesh(vertices, faces, params.edge_mm, params.remesh_iterations)
    vertices, faces = meshes.largest_component(vertices, faces)
    if meshes.signed_volume(vertices, faces) < 0:
        faces = meshes.flipped(faces)
    if status.startswith("ok") and not is_sphere(faces):
        status = f"remeshing broke the surface: Euler number {meshes.euler_number(faces)}"
    return HemisphereSurface(
        vertices,
        faces,
        euler_before,
        int((above & ~solid).sum()),
        int((solid & ~above).sum()),
        status,
    )


def is_sphere(faces: NDArray[np.int32]) -> bool:
    """Whether the mesh is a closed manifold with the Euler number of a sphere."""
    return meshes.euler_number(faces) == 2 and meshes.is_closed_manifold(faces)
