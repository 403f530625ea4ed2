"""How near the mid-surface is to the true one, and whether it is a sphere."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytopipe.formats.surfaces import Surface
from cytopipe.numerics import meshes
from cytopipe.numerics.geometry import Floats, ImageRight, Placement, ras_to_stack, stack_to_ras
from cytopipe.truth.folder import TruthBrain
from cytopipe.truth.section_errors import Samples

# where pial and white surface are nearer than this there is no cortex: medial wall, callosum
CORTEX_MM = 0.3
_SAMPLES = 60_000


@dataclass(frozen=True)
class TrueMid:
    """The mean of the true pial and white surfaces of a hemisphere, finely divided.

    Attributes
    ----------
    vertices, faces : true stack RAS mm; edges of some 1.5 mm and less.
    cortex : (faces,) False on the medial wall, where the two surfaces meet.
    """

    vertices: Floats
    faces: NDArray[np.int32]
    cortex: NDArray[np.bool_]


def true_mid(pial: Surface, white: Surface, longest_mm: float = 1.5) -> TrueMid:
    """Mean of corresponding vertices; a face is cortex if all its corners are 0.3 mm thick."""
    thick = np.linalg.norm(pial.vertices - white.vertices, axis=1) >= CORTEX_MM
    middle = (pial.vertices + white.vertices) / 2
    vertices, faces, origin = subdivide(middle, pial.faces, longest_mm)
    return TrueMid(vertices, faces, thick[pial.faces].all(axis=1)[origin])


def carry(
    points_mm: Floats,
    z_um: dict[int, float],
    true: dict[int, Placement],
    estimated: dict[int, Placement],
    image_right: ImageRight,
) -> Floats:
    """Carry points of the true stack into the estimated one, section by section.

    In the plane of a section the estimated stack is the true one after the error of that
    section's transform: estimated o true^-1. Between two planes the two results are mixed
    linearly; beyond the outermost planes the outermost transform holds. What is left when a
    carried surface is compared with an estimated one is not the fault of the alignment.

    Parameters
    ----------
    points_mm : (n, 3) true stack RAS mm.
    z_um : position of each section along the stack.
    true, estimated : placements of the sections; those in both count.

    Returns
    -------
    (n, 3) estimated stack RAS mm.
    """
    common = sorted(set(true) & set(estimated) & set(z_um), key=lambda s: z_um[s])
    points = ras_to_stack(points_mm, image_right)
    planes = np.array([z_um[section] for section in common])
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
            moved = estimated[section](true[section].back(points[here, :2]))
            carried[here, :2] += weight[here] * moved
    return stack_to_ras(carried, image_right)


def surface_samples(
    truth: TruthBrain,
    estimated: dict[str, Surface],
    mids: dict[str, TrueMid],
    placed: dict[int, Placement],
    voxel_mm: float,
) -> Samples:
    """Distances between the estimated mid-surfaces and the true ones carried into their stack.

    Vertices whose nearest true face is medial wall are left out, and so are medial-wall faces
    of the true surface.
    """
    to_true, to_estimate = [], []
    whole, edges = [], []
    for hemisphere, surface in sorted(estimated.items()):
        mid = mids[hemisphere]
        carried = carry(mid.vertices, truth.z_um, truth.placements, placed, truth.image_right)
        distance, face = meshes.nearest_faces(surface.vertices, carried, mid.faces)
        to_true.append(distance[mid.cortex[face]])
        points = sample_evenly(carried, mid.faces[mid.cortex], _SAMPLES)
        to_estimate.append(meshes.distance_to_surface(points, surface.vertices, surface.faces))
        whole.append(float(is_sphere(surface)))
        relative = meshes.edge_lengths(surface.vertices, surface.faces) / voxel_mm
        edges.append(float(np.mean((relative >= 0.8) & (relative <= 1.33))))
    distance_mm = np.concatenate(to_true)
    return {
        "surface_mm": distance_mm,
        "surface_voxel": distance_mm / voxel_mm,
        "cortex_voxel": np.concatenate(to_estimate) / voxel_mm,
        "sphere": np.array(whole),
        "edges": np.array(edges),
    }


def subdivide(
    vertices: Floats, faces: NDArray[np.int32], longest_mm: float
) -> tuple[Floats, NDArray[np.int32], NDArray[np.int64]]:
    """Split every triangle into four until 95 % of the edges are at most `longest_mm` long.

    The surface stays where it is. Vertices of split triangles are not shared.

    Returns
    -------
    vertices (n, 3), faces (m, 3), and the original face of each face (m,).
    """
    corners = vertices[faces]
    origin = np.arange(len(faces))
    while np.percentile(_edges_mm(corners), 95) > longest_mm:
        a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        quarters = ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))
        corners = np.concatenate([np.stack(quarter, axis=1) for quarter in quarters])
        origin = np.tile(origin, 4)
    own = np.arange(corners.shape[0] * 3, dtype=np.int32).reshape(-1, 3)
    return corners.reshape(-1, 3), own, origin


def _edges_mm(corners: Floats) -> Floats:
    return np.asarray(np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1))


def sample_evenly(vertices: Floats, faces: NDArray[np.int32], count: int) -> Floats:
    """Centroids (count, 3) of faces, in proportion to area: equal steps along the summed area."""
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    along = np.cumsum(np.linalg.norm(normals, axis=1))
    steps = (np.arange(count) + 0.5) / count * along[-1]
    return np.asarray(corners[np.searchsorted(along, steps)].mean(axis=1))


def is_sphere(surface: Surface) -> bool:
    """One component, closed and manifold, of Euler number 2; counted on the mesh itself."""
    return (
        int(meshes.component_labels(surface.faces).max()) == 0
        and meshes.is_closed_manifold(surface.faces)
        and meshes.euler_number(surface.faces) == 2
    )
