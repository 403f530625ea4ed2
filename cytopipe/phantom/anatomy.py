"""The unbent brain: surfaces, corpus callosum, areas; the phantom's template is made of it."""

from collections.abc import Callable, Sequence
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
from cytopipe.phantom.cutting import label_volume

Floats = NDArray[np.float64]

# mm; where pial surface and white matter nearly meet there is no cortex: the medial wall
WALL_MM = 0.7


@dataclass(frozen=True)
class Hemisphere:
    """Pial and white vertices (n, 3) in RAS mm, in correspondence, and their faces (m, 3)."""

    side: str
    pial: Floats
    white: Floats
    faces: NDArray[np.int32]

    @property
    def mid(self) -> Floats:
        return (self.pial + self.white) / 2

    @property
    def cortex(self) -> NDArray[np.bool_]:
        """Vertices with cortex, the medial wall left out."""
        return np.asarray(np.linalg.norm(self.pial - self.white, axis=1) > WALL_MM)

    def surface(self, kind: str) -> surfaces.Surface:
        """The surface "pial", "white" or "mid"; mid is the mean of the other two."""
        return surfaces.Surface(getattr(self, kind), self.faces)


def load_hemispheres(folder: str) -> list[Hemisphere]:
    """Left and right hemisphere from pial_left.gii.gz, white_left.gii.gz and so on.

    Parameters
    ----------
    folder : "fsaverage5" for the surfaces that nilearn ships, or a path.

    Raises
    ------
    InputError
        If a surface is missing or pial and white vertices do not correspond.
    """
    if folder == "fsaverage5":
        base = Path(str(files("nilearn.datasets").joinpath("data/fsaverage5")))
    else:
        base = Path(folder)
    hemispheres = []
    for side, name in (("L", "left"), ("R", "right")):
        pial = surfaces.read(base / f"pial_{name}.gii.gz")
        white = surfaces.read(base / f"white_{name}.gii.gz")
        if pial.faces.shape != white.faces.shape or (pial.faces != white.faces).any():
            raise InputError(
                f"{base}: pial_{name} and white_{name} have different triangles; the phantom "
                "needs surfaces with matching vertices"
            )
        # a sliver of cortex along the rim of the medial wall would be noise in every score
        wall = np.linalg.norm(pial.vertices - white.vertices, axis=1) <= WALL_MM
        outside = np.where(wall[:, None], white.vertices, pial.vertices)
        hemispheres.append(Hemisphere(side, outside, white.vertices, pial.faces))
    return hemispheres


def parcel_distances(hemispheres: list[Hemisphere], count: int) -> list[Floats]:
    """Distance mm of each vertex to the middle of each parcel, (n, count), left then right.

    A point of the cortex belongs to the parcel whose middle is nearest. The parcels are this
    phantom's own: geodesic Voronoi cells around `count` vertices of the left mid-surface that lie
    as far apart as possible; a right vertex has the distances of the left vertex nearest to its
    mirror image, smoothed. On the medial wall distances are infinite.
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
    faces, points = hemisphere.faces, hemisphere.mid
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    keep = hemisphere.cortex[edges].all(1)
    a, b = edges[keep].T
    length = np.linalg.norm(points[a] - points[b], axis=1)
    # every edge is met twice, once in each direction
    return sparse.csr_matrix((length, (a, b)), shape=(len(points), len(points)))


def area_names(count: int) -> pd.DataFrame:
    """The table of areas: label, name (the same on both sides), hemisphere."""
    rows = [
        (number + shift, f"P{number:02d}", side)
        for side, shift in (("L", 0), ("R", count))
        for number in range(1, count + 1)
    ]
    return pd.DataFrame(rows, columns=["label", "name", "hemisphere"])


def in_callosum(
    points_mm: Floats, line_mm: Sequence[Sequence[float]], radius_mm: float
) -> NDArray[np.bool_]:
    """Whether template points lie in the corpus callosum.

    It is a slab of white matter across the midline, at most 3 mm to either side: everything within
    `radius_mm` of a line in the sagittal plane, given by its (A, S) corners.
    """
    inside = np.zeros(points_mm.shape[:-1], bool)
    near = np.abs(points_mm[..., 0]) < 3
    if len(line_mm) < 2 or not near.any():
        return inside
    points = points_mm[near][:, 1:]
    distance = np.full(len(points), np.inf)
    corners = np.asarray(line_mm, np.float64)
    for start, end in pairwise(corners):
        along = end - start
        share = np.clip((points - start) @ along / (along @ along), 0, 1)
        distance = np.minimum(
            distance, np.linalg.norm(points - start - share[:, None] * along, axis=1)
        )
    inside[near] = distance < radius_mm
    return inside


def grid_around(
    hemispheres: list[Hemisphere], voxel_mm: float, margin_mm: float = 4.0
) -> tuple[Floats, tuple[int, int, int]]:
    """Origin (RAS mm of the first voxel's centre) and shape of a grid that holds the brain."""
    points = np.concatenate([hemisphere.pial for hemisphere in hemispheres])
    origin = np.floor((points.min(0) - margin_mm) / voxel_mm) * voxel_mm
    size = np.ceil((points.max(0) + margin_mm - origin) / voxel_mm).astype(int) + 1
    return origin, (int(size[0]), int(size[1]), int(size[2]))


def tissue_volume(
    hemispheres: list[Hemisphere],
    voxel_mm: float,
    to_template: Callable[[Floats], Floats],
    line_mm: Sequence[Sequence[float]],
    radius_mm: float,
) -> volumes.Volume:
    """Tissue labels with the corpus callosum (see `in_callosum`) around surfaces in RAS mm.

    `to_template` moves points of the surfaces' frame to the template.
    """
    origin, shape = grid_around(hemispheres, voxel_mm)
    labels = label_volume(
        [(h.pial, h.white, h.faces) for h in hemispheres], origin, voxel_mm, shape
    )
    affine = volumes.regular_affine(voxel_mm, origin)
    volume = volumes.Volume(labels, affine)
    if line_mm:
        # a bend moves the midline by less than 15 mm: other planes cannot hold callosum
        middle = sum((h.pial[:, 0].min() + h.pial[:, 0].max()) / 4 for h in hemispheres)
        for i in range(shape[0]):
            if abs(origin[0] + i * voxel_mm - middle) > 15:
                continue
            outside = np.argwhere(labels[i] == 0)
            at = volume.to_mm(np.insert(outside, 0, i, axis=1))
            joined = in_callosum(to_template(at), line_mm, radius_mm)
            labels[i][tuple(outside[joined].T)] = 2
    return volume


def area_volume(
    hemispheres: list[Hemisphere],
    distances: list[Floats],
    tissue: volumes.Volume,
    reach_voxels: int,
) -> volumes.Volume:
    """Area label of each gray voxel: that of the nearest point of the cortex.

    Labels are 1 to count on the left, count + 1 to 2 count on the right. Voxels within
    `reach_voxels` of the gray matter take the area of a neighbour, so that a point just beside it
    has one too.
    """
    points, areas = [], []
    for side, (hemisphere, distance) in enumerate(zip(hemispheres, distances, strict=True)):
        faces = hemisphere.faces[np.isfinite(distance[hemisphere.faces, 0]).all(1)]
        for weights in _BARYCENTRIC:
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


# ten points of a triangle, some 1 mm apart in fsaverage5
_BARYCENTRIC = (
    np.array([(i + 1 / 3, j + 1 / 3, 3 - i - j + 1 / 3) for i in range(4) for j in range(4 - i)])
    / 4
)
