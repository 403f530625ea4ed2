"""Errors of the mid-surface: its distance to the true one, and its topology."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytopipe.formats.surfaces import Surface
from cytopipe.numerics import meshes
from cytopipe.numerics.components import Mask
from cytopipe.numerics.geometry import Floats, Placement, ras_to_stack, stack_to_ras
from cytopipe.truth.ground_truth import TruthBrain
from cytopipe.truth.section_errors import Samples

# pial and white surface are nearer than this at the medial wall and the callosum; chosen
CORTEX_MM = 0.3
# the surfaces are divided until their edges are no longer; chosen, not measured
_LONGEST_MM = 1.5
# points on the true cortex of a hemisphere; a bound of time, chosen
_SAMPLES = 60_000


@dataclass(frozen=True)
class TrueMid:
    """The mean of the true pial and white surfaces of a hemisphere, finely divided.

    Attributes
    ----------
    vertices, faces : true stack RAS mm.
    cortex : (faces,) False on the medial wall, where the two surfaces meet.
    """

    vertices: Floats
    faces: NDArray[np.int32]
    cortex: Mask


def true_mid(pial: Surface, white: Surface) -> TrueMid:
    """Mean of corresponding vertices; a face is cortex if all its corners are 0.3 mm thick."""
    thick = np.linalg.norm(pial.vertices - white.vertices, axis=1) >= CORTEX_MM
    middle = (pial.vertices + white.vertices) / 2
    vertices, faces, origin = subdivide(middle, pial.faces, _LONGEST_MM)
    return TrueMid(vertices, faces, thick[pial.faces].all(axis=1)[origin])


def carry(points_mm: Floats, truth: TruthBrain, placed: dict[int, Placement]) -> Floats:
    """Estimated stack RAS mm (n, 3) of points (n, 3) in true stack RAS mm.

    In the plane of a section, the points move by the error of that section's transform: estimated
    o true^-1. Between two planes the two results are interpolated linearly; beyond the outermost
    planes the outermost transform holds. The remaining distance between a carried surface and an
    estimated one is not due to the alignment.

    Parameters
    ----------
    placed : estimated placement of each section.
    """
    common = sorted(set(truth.placements) & set(placed), key=lambda section: truth.z_um[section])
    points = ras_to_stack(points_mm, truth.image_right)
    planes = np.array([truth.z_um[section] for section in common])
    at = np.clip(points[:, 2], planes[0], planes[-1])
    before = np.clip(np.searchsorted(planes, at, side="right") - 1, 0, max(len(planes) - 2, 0))
    after = np.minimum(before + 1, len(planes) - 1)
    gap = planes[after] - planes[before]
    share = np.divide(at - planes[before], gap, out=np.zeros_like(at), where=gap > 0)[:, None]
    carried = points.copy()
    carried[:, :2] = 0
    for side, weight in ((before, 1 - share), (after, share)):
        order = np.argsort(side, kind="stable")
        ends = np.searchsorted(side[order], np.arange(len(common) + 1))
        for number, section in enumerate(common):
            here = order[ends[number] : ends[number + 1]]
            moved = placed[section](truth.placements[section].back(points[here, :2]))
            carried[here, :2] += weight[here] * moved
    return stack_to_ras(carried, truth.image_right)


def surface_samples(
    truth: TruthBrain,
    estimated: dict[str, Surface],
    mids: dict[str, TrueMid],
    placed: dict[int, Placement],
    voxel_mm: float,
) -> Samples:
    """Distances between the estimated mid-surfaces and the true ones carried into their stack.

    Medial-wall faces of the true surface are skipped, and so are vertices nearest to one.
    """
    to_true, to_estimate, spheres, edges = [], [], [], []
    for hemisphere, surface in sorted(estimated.items()):
        mid = mids[hemisphere]
        carried = carry(mid.vertices, truth, placed)
        distance, face = meshes.nearest_faces(surface.vertices, carried, mid.faces)
        to_true.append(distance[mid.cortex[face]])
        points = sample_evenly(carried, mid.faces[mid.cortex], _SAMPLES)
        to_estimate.append(meshes.distance_to_surface(points, surface.vertices, surface.faces))
        spheres.append(float(is_sphere(surface)))
        relative = meshes.edge_lengths(surface.vertices, surface.faces) / voxel_mm
        edges.append(float(np.mean((relative >= 0.8) & (relative <= 1.33))))
    distance_mm = np.concatenate(to_true)
    return {
        "surface_mm": distance_mm,
        "surface_voxel": distance_mm / voxel_mm,
        "cortex_voxel": np.concatenate(to_estimate) / voxel_mm,
        "sphere": np.array(spheres),
        "edges": np.array(edges),
    }


def subdivide(
    vertices: Floats, faces: NDArray[np.int32], longest_mm: float
) -> tuple[Floats, NDArray[np.int32], NDArray[np.int64]]:
    """Split every triangle into four until 95 % of the edges are at most `longest_mm` long.

    Returns
    -------
    vertices (n, 3), which triangles do not share; faces (m, 3); the original face of each (m,).
    """
    corners = vertices[faces]
    origin = np.arange(len(faces))
    # the edges, by corner and the next one
    while np.percentile(np.linalg.norm(corners - np.roll(corners, 1, 1), axis=2), 95) > longest_mm:
        a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        quarters = ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))
        corners = np.concatenate([np.stack(quarter, axis=1) for quarter in quarters])
        origin = np.tile(origin, 4)
    own = np.arange(corners.shape[0] * 3, dtype=np.int32).reshape(-1, 3)
    return corners.reshape(-1, 3), own, origin


def sample_evenly(vertices: Floats, faces: NDArray[np.int32], count: int) -> Floats:
    """Centroids (count, 3) of faces in equal steps along their summed area."""
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    along = np.cumsum(np.linalg.norm(normals, axis=1))
    steps = (np.arange(count) + 0.5) / count * along[-1]
    return np.asarray(corners[np.searchsorted(along, steps)].mean(axis=1))


def is_sphere(surface: Surface) -> bool:
    """Whether the mesh is one component, closed and manifold, with an Euler number of 2."""
    return (
        int(meshes.component_labels(surface.faces).max()) == 0
        and meshes.is_closed_manifold(surface.faces)
        and meshes.euler_number(surface.faces) == 2
    )
