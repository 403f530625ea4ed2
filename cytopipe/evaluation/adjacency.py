"""How far apart two areas of an atlas are, in steps to an adjacent area (CytoNet Figure 5 B)."""

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import shortest_path

from cytopipe.formats.atlas import Atlas

UNREACHABLE = -1

# half of the 26 neighbours: the other half gives the same pairs of voxels
OFFSETS = [offset for offset in product((-1, 0, 1), repeat=3) if offset > (0, 0, 0)]


def hops(atlas: Atlas, areas: Sequence[str]) -> NDArray[np.int64]:
    """Steps between each two areas in the atlas' adjacency graph.

    Two areas are adjacent if they have neighbouring voxels (26 neighbours) in one hemisphere. The
    hemispheres' graphs are then merged by name, so contact across the midline does not count.

    Parameters
    ----------
    areas : names; one that the atlas does not contain is unreachable.

    Returns
    -------
    (n, n) length of the shortest path, 1 for adjacent areas, UNREACHABLE if there is no path. Paths
    may lead through areas of the atlas that are not among `areas`.
    """
    names = sorted({*atlas.names.values(), *areas})
    one, other = _touching_labels(atlas)
    area_of = {label: names.index(name) for label, name in atlas.names.items()}
    sides = [atlas.hemispheres.get(label, "") for label in range(max(atlas.names, default=0) + 1)]
    pairs = [
        (area_of[a], area_of[b])
        for a, b in zip(one.tolist(), other.tolist(), strict=True)
        if sides[a] == sides[b] or "" in (sides[a], sides[b])
    ]
    edges = np.array(pairs, np.intp).reshape(-1, 2)
    graph = csr_array((np.ones(len(edges)), edges.T), shape=(len(names), len(names)))
    lengths = shortest_path(graph, directed=False, unweighted=True)
    rows = [names.index(area) for area in areas]
    lengths = lengths[np.ix_(rows, rows)]
    return np.where(np.isfinite(lengths), lengths, UNREACHABLE).astype(np.int64)


def _touching_labels(atlas: Atlas) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each pair of different labels with neighbouring voxels, once."""
    labels = np.rint(atlas.labels.data).astype(np.int64)
    size = int(labels.max(initial=0)) + 1
    codes = [np.empty(0, np.int64)]
    for offset in OFFSETS:
        here = labels[tuple(slice(max(0, -step), min(0, -step) or None) for step in offset)]
        there = labels[tuple(slice(max(0, step), min(0, step) or None) for step in offset)]
        border = (here != there) & (here > 0) & (there > 0)
        low, high = np.minimum(here, there)[border], np.maximum(here, there)[border]
        codes.append(np.unique(low * size + high))
    pairs = np.unique(np.concatenate(codes))
    return pairs // size, pairs % size


def bin_names(steps: NDArray[np.int64]) -> dict[int, str]:
    """Name of the bin of each number of hops that occurs between areas; 0 is `correct`."""
    names = {0: "correct"}
    names |= {n: "1_hop" if n == 1 else f"{n}_hops" for n in range(1, int(steps.max()) + 1)}
    if (steps == UNREACHABLE).any():
        names[UNREACHABLE] = "unreachable"
    return names


def scores_by_hops(
    distance: NDArray[np.int64], margins: NDArray[np.floating], bins: dict[int, str]
) -> dict[str, float]:
    """How far the errors of a test set are from the true area, and how sure the classifier is.

    Parameters
    ----------
    distance : (n,) hops from the predicted to the true area; 0 if the prediction is correct.
    margins : (n,) difference of the two largest logits.
    bins : from `bin_names`.

    Returns
    -------
    errors_{bin} : share of the errors at this distance.
    errors_within_{bin} : share of the errors at most this far away; never an unreachable one.
    margin_{bin} : median margin of the predictions at this distance, if there are any.
    """
    scores = {}
    wrong = distance[distance != 0]
    for number, name in bins.items():
        if number != 0 and len(wrong):
            scores[f"errors_{name}"] = float((wrong == number).mean())
        if number > 0 and len(wrong):
            within = (wrong > 0) & (wrong <= number)
            scores[f"errors_within_{name}"] = float(within.mean())
        if (distance == number).any():
            scores[f"margin_{name}"] = float(np.median(margins[distance == number]))
    return scores


def margin_of(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    """(n,) difference of the two largest of (n, classes) logits."""
    top = np.partition(logits, -2, axis=1)[:, -2:]
    return np.asarray(top[:, 1] - top[:, 0])
