"""Mid-surface: Poisson reconstruction and remeshing of a hemisphere (`cytopipe.numerics.meshes`).

Voxels of 0.6 mm; at 0.3 mm there are some four times the triangles, and both grow with them.
"""

from pathlib import Path

import cortex
import numpy as np
import pymeshlab
import yaml
from side_by_side import Work

from cytopipe.numerics import laplace, meshes

VOXEL_MM = 0.6
POISSON_DEPTH = 8
CONFIG = Path(__file__).parents[2] / "config" / "config.yaml"

Mesh = tuple[meshes.Vertices, meshes.Faces]


def hemisphere() -> Mesh:
    """The faired isosurface of half depth of one half of the ribbon."""
    labels = cortex.ribbon(VOXEL_MM)
    labels = labels[labels.shape[0] // 2 :].copy()
    labels[0] = 0
    depth = laplace.continued(laplace.laplace_depth(labels), labels)
    vertices, faces = meshes.largest_component(*meshes.marching_cubes(depth, 0.5))
    return meshes.fair(vertices * VOXEL_MM, faces, 10), faces


def library(vertices: meshes.Vertices, faces: meshes.Faces) -> Mesh:
    """The same by pymeshlab alone, with its own defaults.

    They are written out: pymeshlab takes over the last values that were given in the process, ours.
    """
    normals = meshes.vertex_normals(vertices, faces)
    work = pymeshlab.MeshSet()
    work.add_mesh(pymeshlab.Mesh(vertices, faces, v_normals_matrix=normals))
    work.generate_surface_reconstruction_screened_poisson(depth=POISSON_DEPTH, threads=1)
    work.meshing_isotropic_explicit_remeshing(
        iterations=10, checksurfdist=True, targetlen=pymeshlab.PureValue(VOXEL_MM)
    )
    mesh = work.current_mesh()
    return mesh.vertex_matrix(), mesh.face_matrix()


def in_range(vertices: meshes.Vertices, faces: meshes.Faces) -> float:
    """Share of the edges within 0.8 to 1.33 of the target."""
    ratio = meshes.edge_lengths(vertices, faces) / VOXEL_MM
    return float(((ratio > 0.8) & (ratio < 1.33)).mean())


def works() -> list[Work]:
    """Both steps together."""
    vertices, faces = hemisphere()
    iterations = yaml.safe_load(CONFIG.read_text())["midsurface"]["remesh_iterations"]

    def ours() -> Mesh:
        smooth = meshes.poisson(vertices, faces, POISSON_DEPTH)
        return meshes.remesh(*smooth, VOXEL_MM, iterations)

    def same(mine: Mesh, yours: Mesh) -> str:
        share = in_range(*mine)
        assert share >= 0.85, f"only {share:.3f} of the edges in 0.8 to 1.33 of the target"
        apart = meshes.distance_to_surface(mine[0], *yours)
        most = float(np.quantile(apart, 0.95))
        assert most < VOXEL_MM / 2, f"a twentieth of the vertices are {most:.2g} mm apart"
        return (
            f"edges in range {share:.3f}, peer {in_range(*yours):.3f}; {most:.2g} mm apart (95 %)"
        )

    return [
        Work(
            "Poisson and remeshing of a hemisphere",
            f"{len(faces)} triangles, edges of {VOXEL_MM} mm",
            "pymeshlab",
            ours=ours,
            theirs=lambda: library(vertices, faces),
            same=same,
            goal=1.5,
            repeats=1,
        )
    ]
