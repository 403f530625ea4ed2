"""How well points group by a label, and which labels their clusters consist of."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import calinski_harabasz_score

from cytopipe.numerics.geometry import Floats

Labels = NDArray[np.str_]


def calinski_harabasz(points: NDArray[np.floating], labels: Labels) -> float:
    """Calinski-Harabasz index of labelled points (n, d); points of the label "" are left out.

    It grows with the number of points, so compare only samples of the same size. NaN with fewer
    than two labels, or no more points than labels.
    """
    known = labels != ""
    count = len(np.unique(labels[known]))
    if not 2 <= count < known.sum():
        return float("nan")
    return float(calinski_harabasz_score(points[known], labels[known]))


def ward(values: NDArray[np.floating], clusters: int) -> NDArray[np.intp]:
    """Cluster (n,) of each row by Ward's method; 0 is the largest cluster.

    The memory grows with the square of the rows: use it for some thousands.
    """
    clusters = min(clusters, len(values))
    members = AgglomerativeClustering(n_clusters=clusters, linkage="ward").fit_predict(values)
    order = np.argsort(-np.bincount(members), kind="stable")
    return np.argsort(order)[members]


def composition(clusters: NDArray[np.intp], labels: Labels, names: Sequence[str]) -> Floats:
    """Share of each label among the points of each cluster, (clusters, names)."""
    counts = np.zeros((clusters.max() + 1, len(names)))
    np.add.at(counts, (clusters, np.searchsorted(np.asarray(names), labels)), 1)
    return counts / counts.sum(1, keepdims=True)


def purity(clusters: NDArray[np.intp], labels: Labels) -> float:
    """Share of points whose label is the most frequent one in their cluster."""
    names = np.unique(labels)
    sizes = np.bincount(clusters)
    return float(composition(clusters, labels, names.tolist()).max(1) @ sizes / sizes.sum())
