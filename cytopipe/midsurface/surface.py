"""From the labels of one hemisphere to its closed mid-surface."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytopipe.formats.volumes import Volume
from cytopipe.numerics import meshes, topology

MIDDLE = 0.5
FAIRING_ROUNDS = 10


@dataclass(frozen=True)
class HemisphereSurface:
    """A hemisphere's mid-surface in stack RAS mm and how it came about (see SurfaceRow)."""

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]
    euler_before: int
    voxels_removed: int
    voxels_added: int
    status: str


def midsurface(
    depth: Volume, poisson_depth: int, edge_mm: float, remesh_iterations: int
) -> HemisphereSurface:
    """The surface at half depth: corrected on voxels, cut out, smoothed, remeshed.

    Parameters
    ----------
    depth : 0 pial to 1 white, continued beyond both; background along all borders of the array.

    Notes
    -----
    Poisson reconstruction keeps the topology of its input but can add a handle between banks that
    nearly touch: then the faired isosurface itself is remeshed, which `status` says.
    """
    above = depth.data > MIDDLE
    raw_vertices, raw_faces = meshes.marching_cubes(depth.data, MIDDLE)
    euler_before = meshes.euler_number(raw_faces)
    del raw_vertices
    solid = topology.correct_topology(above, depth.data)
    field = topology.nudge(depth.data, solid, MIDDLE)
    vertices, faces = meshes.marching_cubes(field, MIDDLE)
    vertices, faces = meshes.largest_component(depth.to_mm(vertices), faces)
    status = "ok"
    if not sphere(faces):
        status = f"topology not corrected: Euler number {meshes.euler_number(faces)}"
    else:
        # the staircase between banks that nearly touch is what Poisson would grow together
        vertices = meshes.fair(vertices, faces, FAIRING_ROUNDS)
        smooth = meshes.largest_component(*meshes.poisson(vertices, faces, poisson_depth))
        if sphere(smooth[1]):
            vertices, faces = smooth
        else:
            status = "ok, without Poisson reconstruction, which would add a handle"
    vertices, faces = meshes.remesh(vertices, faces, edge_mm, remesh_iterations)
    vertices, faces = meshes.largest_component(vertices, faces)
    if meshes.signed_volume(vertices, faces) < 0:
        faces = meshes.flipped(faces)
    if status.startswith("ok") and not sphere(faces):
        status = f"remeshing broke the surface: Euler number {meshes.euler_number(faces)}"
    return HemisphereSurface(
        vertices,
        faces,
        euler_before,
        int((above & ~solid).sum()),
        int((solid & ~above).sum()),
        status,
    )


def sphere(faces: NDArray[np.int32]) -> bool:
    """Whether the mesh is one closed manifold without handles."""
    return meshes.euler_number(faces) == 2 and meshes.is_closed_manifold(faces)
