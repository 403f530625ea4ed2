"""Surfaces, corpus callosum and areas of a brain, and the volumes made from them."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from cytopipe.files import InputError
from cytopipe.formats import surfaces, volumes
from cytopipe.numerics import meshes
from cytopipe.numerics.geometry import Floats
from cytopipe.numerics.slicing import plane_segments
from cytopipe.phantom.coverage import coverage
from cytopipe.phantom.downloads import PYCORTEX, folder_of
from cytopipe.study.config import Phantom

# where pial surface and white matter are closer, there is no cortex: the medial wall. Chosen, not
# measured
WALL_MM = 0.7
# the corpus callosum ends this far from the midline of the template. Chosen, not measured
CALLOSUM_MM = 3.0
# empty rim of the volumes
MARGIN_MM = 4.0


@dataclass(frozen=True)
class Hemisphere:
    """Corresponding pial and white vertices (n, 3) in RAS mm, and their faces (m, 3)."""

    side: str
    pial: Floats
    white: Floats
    faces: NDArray[np.int32]

    @property
    def mid(self) -> Floats:
        return (self.pial + self.white) / 2

    @property
    def cortex(self) -> NDArray[np.bool_]:
        """Vertices (n,) that are not medial wall."""
        return np.asarray(np.linalg.norm(self.pial - self.white, axis=1) > WALL_MM)

    def surface(self, kind: str) -> surfaces.Surface:
        """The surface "pial", "white" or "mid", the mean of the other two."""
        return surfaces.Surface(getattr(self, kind), self.faces)


def load_hemispheres(folder: str) -> list[Hemisphere]:
    """Left and right hemisphere from pial_left.gii.gz, white_left.gii.gz and so on.

    Parameters
    ----------
    folder : a path, "fsaverage5" for the surfaces that nilearn ships, or "pycortex" for those that
        its source distribution holds under other names.

    Raises
    ------
    InputError
        If a surface is missing, or if pial and white vertices do not correspond.
    """
    base, names = Path(folder), ("pial_left.gii.gz", "pial_right.gii.gz")
    if folder == "fsaverage5":
        base = Path(str(files("nilearn.datasets").joinpath("data/fsaverage5")))
    elif folder == "pycortex":
        base, names = folder_of(PYCORTEX), ("pia_lh.gii", "pia_rh.gii")
    hemispheres = []
    for side, name in zip("LR", names, strict=True):
        inner = name.replace("pial_", "white_").replace("pia_", "wm_")
        pial, white = surfaces.read(base / name), surfaces.read(base / inner)
        if pial.faces.shape != white.faces.shape or (pial.faces != white.faces).any():
            raise InputError(
                f"{base}: {name} and {inner} have different triangles; the phantom needs "
                "surfaces with matching vertices"
            )
        # a sliver of cortex along the medial wall would add noise to every score
        wall = np.linalg.norm(pial.vertices - white.vertices, axis=1) <= WALL_MM
        outside = np.where(wall[:, None], white.vertices, pial.vertices)
        hemispheres.append(Hemisphere(side, outside, white.vertices, pial.faces))
    return hemispheres


def parcel_distances(hemispheres: list[Hemisphere], count: int) -> list[Floats]:
    """Distances in mm (n, count) of each vertex to the centre of each parcel, left then right.

    The parcels are geodesic Voronoi cells around `count` vertices of the left mid-surface that lie
    as far apart as possible. A right vertex gets the distances of the left vertex nearest to its
    mirror image, smoothed. Distances on the medial wall are infinite.
    """
    left, right = hemispheres
    graph = _edge_graph(left)
    inside = np.flatnonzero(left.cortex)
    seed = int(inside[np.argmax(left.mid[inside, 1])])  # the frontal pole is the first
    distances = np.full((len(left.mid), count), np.inf)
    for number in range(count):
        distances[:, number] = dijkstra(graph, indices=seed)
        nearest = distances[inside].min(1)
        seed = int(inside[np.argmax(np.where(np.isfinite(nearest), nearest, -1))])
    mirrored = np.full((len(right.mid), count), np.inf)
    across = np.flatnonzero(right.cortex)
    reached = inside[np.isfinite(distances[inside, 0])]
    match = cKDTree(left.mid[reached]).query(right.mid[across] * [-1, 1, 1])[1]
    mirrored[across] = distances[reached[match]]
    neighbours = (_edge_graph(right) > 0)[across][:, across].astype(np.float64)
    for _ in range(3):
        degree = 1 + np.asarray(neighbours.sum(1))
        mirrored[across] = (mirrored[across] + neighbours @ mirrored[across]) / degree
    return [distances, mirrored]


def _edge_graph(hemisphere: Hemisphere) -> sparse.csr_matrix:
    """Lengths of the edges between vertices of the cortex."""
    points = hemisphere.mid
    pairs, _ = meshes.edges(hemisphere.faces)
    a, b = pairs[hemisphere.cortex[pairs].all(1)].T
    lengths = np.linalg.norm(points[a] - points[b], axis=1)
    graph = sparse.csr_matrix((lengths, (a, b)), shape=(len(points), len(points)))
    return graph + graph.T


def area_names(count: int) -> pd.DataFrame:
    """The table of areas: label, name (the same on both sides) and hemisphere."""
    rows = [
        (number + shift, f"P{number:02d}", side)
        for side, shift in (("L", 0), ("R", count))
        for number in range(1, count + 1)
    ]
    return pd.DataFrame(rows, columns=["label", "name", "hemisphere"])


def in_callosum(
    points_mm: Floats, params: Phantom, margin_mm: float = 0.0, sides: str = "LR"
) -> NDArray[np.bool_]:
    """Whether template points (..., 3) lie in the corpus callosum, or within a margin around it.

    It is the part within `CALLOSUM_MM` of the midline and `callosum_radius_mm` of a line in the
    sagittal plane. A brain of one hemisphere has the half on its side.
    """
    scale = params.geometry.scale
    inside = np.zeros(points_mm.shape[:-1], bool)
    low, high = (CALLOSUM_MM * scale if side in sides else 0.0 for side in "LR")
    near = (-low < points_mm[..., 0]) & (points_mm[..., 0] < high)
    points = points_mm[near][:, 1:]
    distance = np.full(len(points), np.inf)
    for start, end in pairwise(np.asarray(params.callosum_mm, np.float64) * scale):
        along = end - start
        share = np.clip((points - start) @ along / (along @ along), 0, 1)
        distance = np.minimum(
            distance, np.linalg.norm(points - start - share[:, None] * along, axis=1)
        )
    inside[near] = distance < params.callosum_radius_mm * scale + margin_mm
    return inside


def tissue_volume(hemispheres: list[Hemisphere], voxel_mm: float) -> volumes.Volume:
    """Labels 0 outside, 1 between pial surface and white matter, 2 white matter, on a RAS grid.

    A voxel gets a label if more than half of its face in the coronal plane has it.
    """
    points = np.concatenate([hemisphere.pial for hemisphere in hemispheres])
    origin = np.floor((points.min(0) - MARGIN_MM) / voxel_mm) * voxel_mm
    shape = np.ceil((points.max(0) + MARGIN_MM - origin) / voxel_mm).astype(int) + 1
    labels = np.zeros(shape, np.uint8)
    for hemisphere in hemispheres:
        for value, vertices in ((1, hemisphere.pial), (2, hemisphere.white)):
            # (column, row, height) = (R, S, A) in voxels
            turned = ((vertices - origin) / voxel_mm)[:, [0, 2, 1]]
            lowest, highest = turned[:, 2].min(), turned[:, 2].max()
            for a in range(int(np.ceil(lowest)), int(highest) + 1):
                segments = plane_segments(turned, hemisphere.faces, float(a))
                inside = coverage(segments, shape[2], shape[0]) > 0.5
                labels[:, a, :][inside.T & (labels[:, a, :] < value)] = value
    return volumes.Volume(labels, volumes.regular_affine(voxel_mm, origin))


def add_callosum(
    tissue: volumes.Volume,
    to_template: Callable[[Floats], Floats],
    to_stack: Callable[[Floats], Floats],
    params: Phantom,
    sides: str = "LR",
) -> None:
    """Label the corpus callosum as white matter, in place.

    `to_template` moves points from the frame of the tissue to the template, `to_stack` back.
    """
    if not len(params.callosum_mm):
        return
    line = np.asarray(params.callosum_mm, np.float64)
    reach = params.callosum_radius_mm + 1
    around = np.stack(
        np.meshgrid(
            [-CALLOSUM_MM - 1, 0, CALLOSUM_MM + 1],
            np.arange(line[:, 0].min() - reach, line[:, 0].max() + reach + 3, 3.0),
            np.arange(line[:, 1].min() - reach, line[:, 1].max() + reach + 3, 3.0),
            indexing="ij",
        ),
        axis=-1,
    )
    corners = tissue.to_indices(to_stack(around.reshape(-1, 3) * params.geometry.scale))
    # a bend stretches by less than two, so that it bulges by less than this between the points
    margin = 3 / tissue.voxel_mm
    first = np.maximum(np.floor(corners.min(0) - margin), 0).astype(int)
    last = np.ceil(corners.max(0) + margin).astype(int) + 1
    box = tissue.data[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
    outside = np.argwhere(box == 0)
    inside = in_callosum(to_template(tissue.to_mm(outside + first)), params, sides=sides)
    box[tuple(outside[inside].T)] = 2


def padded_around(tissue: volumes.Volume, points_mm: Floats) -> volumes.Volume:
    """The volume with as much more background as points (n, 3) RAS mm and a margin need."""
    index = tissue.to_indices(points_mm)
    margin = MARGIN_MM / tissue.voxel_mm
    before = np.maximum(0, np.ceil(margin - index.min(0))).astype(int)
    last = np.array(tissue.data.shape) - 1
    after = np.maximum(0, np.ceil(index.max(0) + margin - last)).astype(int)
    affine = tissue.affine.copy()
    affine[:3, 3] = tissue.to_mm(-before)
    return volumes.Volume(np.pad(tissue.data, list(zip(before, after, strict=True))), affine)


def area_volume(
    hemispheres: list[Hemisphere],
    distances: list[Floats],
    tissue: volumes.Volume,
    reach_voxels: int,
) -> volumes.Volume:
    """Area label of each gray voxel: that of the nearest point of the cortex.

    Labels are 1 to count on the left and count + 1 to 2 count on the right. Voxels within
    `reach_voxels` of the gray matter get the area of a neighbour, for points just beside it.
    """
    points, areas = [], []
    for side, (hemisphere, distance) in enumerate(zip(hemispheres, distances, strict=True)):
        faces = hemisphere.faces[np.isfinite(distance[hemisphere.faces, 0]).all(1)]
        # fine triangles need no points within
        edges_mm = meshes.edge_lengths(hemisphere.mid, faces)
        for weights in _BARYCENTRIC if np.median(edges_mm) > 1 else _CENTRE:
            label = 1 + np.argmin(np.einsum("k,nkd->nd", weights, distance[faces]), axis=1)
            for depth in (0.1, 0.3, 0.5, 0.7, 0.9):
                layer = hemisphere.pial * (1 - depth) + hemisphere.white * depth
                points.append(np.einsum("k,nkd->nd", weights, layer[faces]))
                areas.append(label + side * distance.shape[1])
    tree = cKDTree(np.concatenate(points))
    gray = np.argwhere(tissue.data == 1)
    nearest = tree.query(tissue.to_mm(gray), workers=1)[1]
    atlas = np.zeros(tissue.data.shape, np.int16)
    atlas[tuple(gray.T)] = np.concatenate(areas)[nearest]
    for _ in range(reach_voxels):
        grown = ndimage.grey_dilation(atlas, footprint=ndimage.generate_binary_structure(3, 1))
        atlas = np.where(atlas == 0, grown, atlas)
    return volumes.Volume(atlas, tissue.affine)


# ten points of a triangle, about 1 mm apart in fsaverage5
_BARYCENTRIC = (
    np.array([(i + 1 / 3, j + 1 / 3, 3 - i - j + 1 / 3) for i in range(4) for j in range(4 - i)])
    / 4
)
_CENTRE = np.full((1, 3), 1 / 3)
