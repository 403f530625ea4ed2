"""Changes of a brain's surfaces before it is cut: centred, scaled, made symmetric, sulci closed."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cytopipe.formats.volumes import Volume
from cytopipe.numerics import meshes
from cytopipe.numerics.geometry import Floats, unit
from cytopipe.phantom.anatomy import Hemisphere
from cytopipe.study.config import Geometry

# vertices and rounds of the fit of a hemisphere to the mirror image of the other; pycortex's
# surfaces need 80 rounds
_POINTS, _ROUNDS = 6000, 100
# a vertex is opposite if the cosine of the two normals is below this, and if it lies sideways by no
# more than an edge, plus this multiple of its distance along the normal. Banks may overlap by a
# little. All are chosen
_FACING, _SIDEWAYS, _OVERLAP_MM = -0.5, 1.3, 0.5
# rounds of averaging over neighbours; chosen
_SMOOTHING = 3


def shaped(hemispheres: list[Hemisphere], geometry: Geometry) -> list[Hemisphere]:
    """The hemispheres of the template as the config asks for."""
    if geometry.symmetric:
        hemispheres = symmetric(hemispheres[0])
    if geometry.closed_sulci_mm > 0:
        hemispheres = [
            close_sulci(hemisphere, geometry.closed_sulci_mm, geometry.closed_gap_mm)
            for hemisphere in hemispheres
        ]
    if geometry.scale == 1:
        return hemispheres
    return [
        replace(h, pial=h.pial * geometry.scale, white=h.white * geometry.scale)
        for h in hemispheres
    ]


def centred(hemispheres: list[Hemisphere]) -> list[Hemisphere]:
    """Turn and shift both hemispheres so that the plane between them is R = 0.

    The right hemisphere's mirror image is fitted to the left one (iterated closest points). The
    plane is that of the reflection which this fit and the mirror make together.
    """
    left, right = (h.mid[:: max(1, len(h.mid) // _POINTS)] for h in hemispheres)
    tree = cKDTree(left)
    turn, shift = np.eye(3), np.array([left[:, 0].mean() + right[:, 0].mean(), 0, 0])
    mirrored = right * [-1.0, 1, 1]
    for _ in range(_ROUNDS):
        target = left[tree.query(mirrored @ turn.T + shift)[1]]
        a, b = mirrored.mean(0), target.mean(0)
        u, _, v = np.linalg.svd((mirrored - a).T @ (target - b))
        turn = (u @ np.diag([1, 1, np.sign(np.linalg.det(u @ v))]) @ v).T
        shift = b - turn @ a
    values, vectors = np.linalg.eig(turn @ np.diag([-1.0, 1, 1]))
    normal = np.real(vectors[:, np.argmin(np.abs(values + 1))])
    normal *= np.sign(normal[0])
    middle = normal * (normal @ shift) / 2
    axis = np.cross(normal, [1.0, 0, 0])
    across = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    upright = np.eye(3) + across + across @ across / (1 + normal[0])
    return [
        replace(h, pial=(h.pial - middle) @ upright.T, white=(h.white - middle) @ upright.T)
        for h in hemispheres
    ]


def symmetric(left: Hemisphere) -> list[Hemisphere]:
    """The left hemisphere and its mirror image; what crosses the midline is pressed flat."""
    flat = np.array([-1e-3, np.inf, np.inf])
    left = replace(left, pial=np.minimum(left.pial, flat), white=np.minimum(left.white, flat))
    flip = np.array([-1.0, 1, 1])
    right = Hemisphere("R", left.pial * flip, left.white * flip, meshes.flipped(left.faces))
    return [left, right]


def opposite_bank_mm(hemisphere: Hemisphere, reach_mm: float) -> Floats:
    """Distance (n,) along the normal to the opposite bank of a sulcus; infinite beyond reach.

    The bank is where the nearest vertex lies whose normal points back. Where banks overlap, the
    distance is negative.
    """
    pial = hemisphere.pial
    normals = meshes.vertex_normals(pial, hemisphere.faces)
    cortex = np.flatnonzero(hemisphere.cortex)
    tree = cKDTree(pial[cortex])
    edge_mm = float(np.median(meshes.edge_lengths(pial, hemisphere.faces)))
    distance = np.full(len(pial), np.inf)
    blocks = np.arange(0, len(cortex) + 5000, 5000)
    for first, last in pairwise(blocks):
        own = cortex[first:last]
        near = tree.query_ball_point(pial[own], reach_mm + 2 * edge_mm)
        row = np.repeat(np.arange(len(own)), [len(n) for n in near])
        if not len(row):
            continue
        other = cortex[np.concatenate([np.asarray(n, np.intp) for n in near])]
        apart = pial[other] - pial[own[row]]
        along = (apart * normals[own[row]]).sum(1)
        facing = (normals[other] * normals[own[row]]).sum(1) < _FACING
        length = np.linalg.norm(apart, axis=1)
        sideways = np.sqrt(np.maximum(length**2 - along**2, 0))
        beside = sideways < edge_mm + _SIDEWAYS * np.maximum(along, 0)
        good = np.flatnonzero(facing & beside & (along > -_OVERLAP_MM))
        # the nearest is written last
        good = good[np.argsort(-length[good], kind="stable")]
        distance[own[row[good]]] = along[good]
    return np.where(distance < reach_mm, distance, np.inf)


def close_sulci(hemisphere: Hemisphere, width_mm: float, gap_mm: float) -> Hemisphere:
    """Move the banks of sulci narrower than `width_mm` towards each other, up to `gap_mm`.

    Pial and white vertices move together, so that the cortex keeps its thickness.
    """
    distance = opposite_bank_mm(hemisphere, width_mm)
    normals = meshes.vertex_normals(hemisphere.pial, hemisphere.faces)
    step = np.where(np.isfinite(distance), np.maximum(distance - gap_mm, 0) / 2, np.nan)
    # a bank moves as a whole, but no vertex further than its own gap allows
    within = np.fmin(meshes.smooth_map(step, hemisphere.faces, _SMOOTHING), step)
    # what lies beside it is drawn along
    beside = meshes.smooth_map(np.nan_to_num(step), hemisphere.faces, _SMOOTHING)
    move = np.where(np.isfinite(step), within, beside)
    moved = unit(normals) * move[:, None]
    return replace(hemisphere, pial=hemisphere.pial + moved, white=hemisphere.white + moved)


def with_gaps(tissue: Volume, hemispheres: list[Hemisphere]) -> NDArray[np.uint8]:
    """The labels with background in sulci that are too narrow for the voxels.

    There the depth is 0, although the banks touch. Without it, the depth would rise from one bank
    to the other as if there were no sulcus.
    """
    labels = tissue.data.copy()
    voxel_mm = float(tissue.voxel_mm[0])
    for hemisphere in hemispheres:
        distance = opposite_bank_mm(hemisphere, 1.5 * voxel_mm)
        normals = meshes.vertex_normals(hemisphere.pial, hemisphere.faces)
        narrow = np.isfinite(distance)
        middle = hemisphere.pial + normals * np.where(narrow, distance / 2, 0)[:, None]
        corners = middle[hemisphere.faces[narrow[hemisphere.faces].all(1)]]
        if not len(corners):
            continue
        longest = np.linalg.norm(corners - np.roll(corners, 1, 1), axis=2).max()
        parts = int(np.ceil(longest / (voxel_mm / 2)))
        for i in range(parts + 1):
            for j in range(parts + 1 - i):
                weights = np.array([i, j, parts - i - j]) / parts
                points = np.einsum("k,nkd->nd", weights, corners)
                at = tuple(np.rint(tissue.to_indices(points)).astype(int).T)
                labels[at] = np.where(labels[at] == 1, 0, labels[at])
    return labels
