"""Smoothing of a map along the cortex, by a random walk on the points.

Random walks with priors (Grady, CVPR 2005): the probabilities x of an area are the minimum of

    sum_i c_i (x_i - p_i)^2 + s^2 sum_ij w_ij (x_i - x_j)^2

with the classifier's p. c_i is 1, and almost 0 for a point that the classifier cannot judge, which
is then named by its neighbours. The energy is convex, so the result depends on no order and no
start, unlike that of a Potts model. The weights w_ij make the second term the integral of the
squared gradient along the cortex, so that s is a length: a pattern of wavelength 2 pi s is halved.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import cg
from scipy.spatial import cKDTree

from cytopipe.files import InputError
from cytopipe.numerics.geometry import Floats

# neighbours of a point on a square lattice, with the diagonal ones
_NEIGHBOURS = 8
# the farthest neighbour in lattice steps: one missing section is bridged
_REACH = 2.5
# smallest cosine of two normals: opposite banks of a sulcus have -1; chosen, not measured
_FACING = 0.5
# shorter edges, in lattice steps, count as this long: the refinement may move points together
_SHORTEST = 0.25
_UNSURE = (
    1e-3  # weight of a point that the classifier cannot judge; above 0, so that one minimum exists
)
_TOLERANCE, _MOST_STEPS = 1e-3, 2000


@dataclass(frozen=True)
class PointGraph:
    """Neighbouring points along the cortex.

    Attributes
    ----------
    size : number of points.
    edges : (m, 2) each pair once.
    lengths_mm : (m,).
    """

    size: int
    edges: NDArray[np.int64]
    lengths_mm: Floats

    @property
    def laplacian(self) -> csr_array:
        """(size, size) discrete Laplacian of the cortex in 1/mm2, symmetric, rows sum to 0."""
        degree = np.bincount(self.edges.ravel(), minlength=self.size)
        # a neighbour at distance d in direction u adds u H u / 2 to the sum of differences / d^2;
        # the mean of u H u over directions in the plane is trace(H) / 2
        first, second = self.edges.T
        weights = 4 / np.sqrt(degree[first] * degree[second]) / self.lengths_mm**2
        both = np.concatenate([first, second]), np.concatenate([second, first])
        adjacency = csr_array((np.tile(weights, 2), both), shape=(self.size, self.size))
        return csr_array(diags_array(np.asarray(adjacency.sum(axis=1)).ravel()) - adjacency)

    def pieces(self, labels: NDArray[np.generic]) -> int:
        """The number of connected patches of equal labels."""
        same = self.edges[labels[self.edges[:, 0]] == labels[self.edges[:, 1]]]
        graph = csr_array((np.ones(len(same)), same.T), shape=(self.size, self.size))
        return int(connected_components(graph, directed=False)[0])


def point_graph(points: pd.DataFrame) -> PointGraph:
    """Connect points that are neighbours along the cortex.

    Points lie on a lattice: at a distance of their own along the midline, and one section apart
    across it. Each is connected with the nearest points, in units of the lattice, of its
    hemisphere, whose normals face the same way.

    Parameters
    ----------
    points : PointRow of one brain.
    """
    xy_mm = points[["x_stack_um", "y_stack_um"]].to_numpy(np.float64) / 1000
    z_mm = points["z_stack_um"].to_numpy(np.float64) / 1000
    normals = points[["nx", "ny", "nz"]].to_numpy(np.float64)
    right = (points["hemisphere"] == "R").to_numpy(np.float64)
    along_mm = _typical_step(points, xy_mm)
    gaps_mm = np.diff(np.unique(z_mm))
    across_mm = float(np.median(gaps_mm)) if len(gaps_mm) else along_mm
    # hemispheres lie farther apart than any neighbour
    lattice = np.column_stack([xy_mm / along_mm, z_mm / across_mm, right * 1e6])
    nearest = min(_NEIGHBOURS + 1, len(points))
    _, near = cKDTree(lattice).query(lattice, k=nearest, distance_upper_bound=_REACH)
    near = np.asarray(near).reshape(len(points), -1)
    first = np.repeat(np.arange(len(points)), near.shape[1])
    second = near.ravel()
    kept = (second < len(points)) & (second != first)
    first, second = first[kept], second[kept]
    kept = np.einsum("ij,ij->i", normals[first], normals[second]) > _FACING
    edges = np.unique(np.sort(np.stack([first[kept], second[kept]], axis=1), axis=1), axis=0)
    places_mm = np.column_stack([xy_mm, z_mm])
    lengths_mm = np.linalg.norm(places_mm[edges[:, 0]] - places_mm[edges[:, 1]], axis=1)
    return PointGraph(len(points), edges, np.maximum(lengths_mm, _SHORTEST * along_mm))


def random_walk(
    graph: PointGraph,
    probabilities: NDArray[np.float32],
    sure: NDArray[np.bool_],
    length_mm: float,
) -> NDArray[np.float32]:
    """Smoothed probabilities (n, classes).

    Parameters
    ----------
    probabilities : (n, classes) of the graph's points, finite.
    sure : (n,) whether the classifier can judge a point.
    length_mm : the length s of the module's text.

    Raises
    ------
    InputError
        If the length is so large that the equations are not solved.
    """
    weights = np.where(sure, 1.0, _UNSURE)
    system = csr_array(diags_array(weights) + length_mm**2 * graph.laplacian)
    scaling = diags_array(1 / system.diagonal())
    smoothed = np.empty_like(probabilities)
    for number in range(probabilities.shape[1]):
        prior = probabilities[:, number].astype(np.float64)
        solution, unsolved = cg(
            system, weights * prior, x0=prior, rtol=_TOLERANCE, maxiter=_MOST_STEPS, M=scaling
        )
        if unsolved:
            raise InputError(
                f"mapping.smoothing_mm is {length_mm}; no smooth map was found in {_MOST_STEPS} "
                "steps, so give a smaller length in config/config.yaml"
            )
        smoothed[:, number] = solution
    return smoothed


def _typical_step(points: pd.DataFrame, xy_mm: Floats) -> float:
    """Median distance in mm of consecutive points of a section and hemisphere."""
    where = points[["section", "hemisphere"]]
    same = (where.shift() == where).all(axis=1).to_numpy(bool)
    steps_mm = np.linalg.norm(np.diff(xy_mm, axis=0), axis=1)[same[1:]]
    return float(np.median(steps_mm)) if len(steps_mm) and np.median(steps_mm) > 0 else 1.0
