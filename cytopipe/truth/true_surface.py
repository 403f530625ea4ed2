"""The true middle of the cortex: where the true depth is 0.5."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytopipe.numerics import meshes
from cytopipe.numerics.components import Mask
from cytopipe.numerics.geometry import Floats
from cytopipe.numerics.laplace import continued
from cytopipe.truth.ground_truth import TruthBrain

# where pial and white surface are nearer than this, at the medial wall and the callosum, there is
# no cortex; chosen, not measured
CORTEX_MM = 0.3


@dataclass(frozen=True)
class TrueMid:
    """The true mid-surface of a hemisphere.

    Attributes
    ----------
    vertices, faces : true stack RAS mm.
    cortex : (faces,) False on the medial wall, which closes the surface but has no depth.
    """

    vertices: Floats
    faces: NDArray[np.int32]
    cortex: Mask


def true_mids(truth: TruthBrain) -> dict[str, TrueMid]:
    """The true mid-surface of each hemisphere that the brain has.

    The cortex is the 0.5 isosurface of the true depth where it lies between the true pial and white
    surfaces. (Their mean would not do: with fsaverage5 it lies 0.1 mm from the isosurface in the
    median, and 0.5 mm at 95 %.) Isosurface elsewhere, around deep nuclei for instance, is left out.
    The medial wall is the mean of the two surfaces.
    """
    depth, tissue = truth.volume("depth"), truth.volume("tissue")
    known = np.isfinite(depth.data)
    labels = np.where(known, 1, np.where(tissue.data == 2, 2, 0)).astype(np.uint8)
    field = continued(np.where(known, depth.data, labels == 2).astype(np.float32), labels)
    indices, faces = meshes.marching_cubes(field, 0.5)
    vertices = depth.to_mm(indices)
    centres = vertices[faces].mean(axis=1)
    means, walls, distances, cortices = {}, {}, {}, {}
    for hemisphere in truth.hemispheres:
        pial, white = truth.surface(hemisphere, "pial"), truth.surface(hemisphere, "white")
        means[hemisphere] = (pial.vertices + white.vertices) / 2
        thickness = np.linalg.norm(pial.vertices - white.vertices, axis=1)[pial.faces]
        is_wall = (thickness < CORTEX_MM).any(axis=1)
        walls[hemisphere] = pial.faces[is_wall]
        distance, face = meshes.nearest_faces(centres, means[hemisphere], pial.faces)
        distances[hemisphere] = distance
        cortices[hemisphere] = ~is_wall[face] & (distance <= thickness.mean(axis=1)[face] / 2)
    mids = {}
    for hemisphere in truth.hemispheres:
        nearest = np.min([distances[other] for other in truth.hemispheres], axis=0)
        own = cortices[hemisphere] & (distances[hemisphere] <= nearest)
        wall = walls[hemisphere]
        used, corners = np.unique(
            np.concatenate([faces[own], wall + len(vertices)]), return_inverse=True
        )
        mids[hemisphere] = TrueMid(
            np.concatenate([vertices, means[hemisphere]])[used],
            corners.reshape(-1, 3).astype(np.int32),
            np.arange(int(own.sum()) + len(wall)) < own.sum(),
        )
    return mids
