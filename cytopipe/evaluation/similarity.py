"""Cosine similarity of the features of areas, and whether brains agree on it (CytoNet 1.2)."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from cytopipe.numerics.geometry import Floats, unit


def unit_vectors(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Features (n, d) scaled to length 1; a zero row stays zero."""
    return np.asarray(unit(values), np.float32)


def in_order(areas: Iterable[str], lobes: Mapping[str, str]) -> list[str]:
    """Areas with their side, such as "L hOc1", by hemisphere, lobe and name (CytoNet Figure 2).

    Parameters
    ----------
    lobes : area to lobe; lobes are in the order in which they first occur. Areas without one come
        last.
    """
    ranks = {lobe: rank for rank, lobe in enumerate(dict.fromkeys(lobes.values()))}

    def place(area: str) -> tuple[str, int, str]:
        side, _, name = area.partition(" ")
        return side, ranks.get(lobes.get(name, ""), len(ranks)), name

    return sorted(areas, key=place)


def area_similarity(
    blocks: Iterable[tuple[NDArray[np.floating], NDArray[np.str_]]], areas: Sequence[str]
) -> Floats:
    """Mean cosine (areas, areas) of all pairs of different points of two areas.

    It is the product of the areas' mean unit vectors, so no pairs are formed. NaN for an area
    without points, and on the diagonal for an area with a single point.

    Parameters
    ----------
    blocks : (n, d) features and (n,) areas of the points of one brain, a part at a time.
    areas : order of rows and columns; points of other areas are left out.
    """
    counts, own, sums = np.zeros(len(areas)), np.zeros(len(areas)), np.zeros((len(areas), 1))
    for values, labels in blocks:
        at = pd.Index(areas).get_indexer(pd.Index(labels))
        known = np.flatnonzero(at >= 0)
        shape = (len(areas), len(labels))
        members = csr_array((np.ones(len(known)), (at[known], known)), shape=shape)
        directions = unit_vectors(values).astype(np.float64)
        counts += members.sum(1)
        own += members @ np.square(directions).sum(1)
        sums = sums + members @ directions
    products = sums @ sums.T
    pairs = np.outer(counts, counts)
    at = np.arange(len(areas))
    products[at, at] -= own
    pairs[at, at] -= counts
    return np.divide(products, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)


def correlation(one: Floats, other: Floats) -> float:
    """Pearson's r of two similarity matrices over the pairs of different areas that both contain.

    NaN with fewer than three pairs, or if a matrix is constant.
    """
    above = np.triu_indices(len(one), 1)
    a, b = one[above], other[above]
    both = np.isfinite(a) & np.isfinite(b)
    a, b = a[both], b[both]
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def within_and_between(matrix: Floats) -> tuple[float, float]:
    """Mean similarity of points of the same area and of different areas; all areas count alike."""
    within, between = np.diag(matrix), matrix[np.triu_indices(len(matrix), 1)]
    return _finite_mean(within), _finite_mean(between)


def _finite_mean(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
