"""Errors of the mid-surface: its distance to the true one, and its topology."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cytopipe.formats.surfaces import Surface
from cytopipe.numerics import meshes
from cytopipe.numerics.geometry import Floats, Placement, ras_to_stack, stack_to_ras
from cytopipe.truth.ground_truth import TruthBrain
from cytopipe.truth.section_errors import Samples
from cytopipe.truth.true_surface import TrueMid

# points on the true cortex of a hemisphere; a bound of time, chosen
_SAMPLES = 60_000


def carry(
    points_mm: Floats,
    truth: TruthBrain,
    placed: dict[int, Placement],
    to: Literal["estimate", "truth"] = "estimate",
) -> Floats:
    """Points (n, 3) of the true stack in the estimated one, or the other way round, RAS mm.

    In the plane of a section, the points move by the error of that section's transform: estimated
    o true^-1. Between two planes the two results are interpolated linearly; beyond the outermost
    planes the outermost transform holds. The remaining distance between a carried surface and an
    estimated one is not due to the alignment.

    Parameters
    ----------
    placed : estimated placement of each section.
    """
    before_after = (truth.placements, placed)
    source, target = before_after if to == "estimate" else before_after[::-1]
    common = sorted(set(source) & set(target), key=lambda section: truth.z_um[section])
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
            moved = target[section](source[section].back(points[here, :2]))
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

    The medial wall is skipped, and so are vertices nearest to it. Distances to a hemisphere that is
    missing are infinite.
    """
    to_true, to_estimate, spheres, edges = [], [], [], []
    for hemisphere in sorted({*estimated, *mids}):
        surface, mid = estimated.get(hemisphere), mids.get(hemisphere)
        if mid is None and surface is not None:  # of a hemisphere that the true brain lacks
            to_true.append(np.full(len(surface.vertices), np.inf))
        if mid is not None and surface is None:
            to_estimate.append(np.full(_SAMPLES, np.inf))
        if mid is None or surface is None:
            continue
        carried = carry(mid.vertices, truth, placed)
        distance, face = meshes.nearest_faces(surface.vertices, carried, mid.faces)
        to_true.append(distance[mid.cortex[face]])
        points = sample_evenly(carried, mid.faces[mid.cortex], _SAMPLES)
        to_estimate.append(meshes.distance_to_surface(points, surface.vertices, surface.faces))
        spheres.append(float(is_sphere(surface)))
        relative = meshes.edge_lengths(surface.vertices, surface.faces) / voxel_mm
        edges.append(float(np.mean((relative >= 0.8) & (relative <= 1.33))))
    distance_mm, cortex_mm = np.concatenate(to_true), np.concatenate(to_estimate)
    return {
        "surface_mm": distance_mm,
        "surface_voxel": distance_mm / voxel_mm,
        "cortex_mm": cortex_mm,
        "cortex_voxel": cortex_mm / voxel_mm,
        "sphere": np.array(spheres),
        "edges": np.array(edges),
    }


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
