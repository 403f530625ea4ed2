"""Laplace fields on a mask by sparse LU: what `cytopipe.numerics.laplace2d` is to compute."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import linalg

STEPS = ((-1, 0), (1, 0), (0, -1), (0, 1))


def solve_laplace(
    unknown: NDArray[np.bool_], values: NDArray[np.float64], centred: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The field of `laplace2d.solve_laplace`, without the values beyond its borders."""
    known = np.pad(np.where(unknown, np.nan, values), 1, constant_values=np.nan)
    weight = np.where(np.isnan(known), 0.0, np.where(np.pad(centred, 1), 1.0, 2.0))
    number = np.full(known.shape, -1)
    rows, columns = np.nonzero(np.pad(unknown, 1))
    number[rows, columns] = np.arange(len(rows))
    diagonal, right = np.zeros(len(rows)), np.zeros(len(rows))
    at, beside = [], []
    for down, across in STEPS:
        there = (rows + down, columns + across)
        linked = number[there] >= 0
        at.append(np.flatnonzero(linked))
        beside.append(number[there][linked])
        diagonal += linked + weight[there]
        right += weight[there] * np.nan_to_num(known[there])
    pieces, _ = ndimage.label(np.pad(unknown, 1))
    piece = pieces[rows, columns]
    links = np.bincount(np.concatenate(at), minlength=len(rows))
    bounded = np.bincount(piece, diagonal - links)[piece] > 0
    diagonal[~bounded] = 1 + links[~bounded]  # any: made NaN below
    pairs = (np.concatenate(at), np.concatenate(beside))
    matrix = sparse.coo_matrix((-np.ones(len(pairs[0])), pairs), (len(rows), len(rows))).tocsc()
    field = np.full(known.shape, np.nan)
    solution = linalg.spsolve(matrix + sparse.diags(diagonal, format="csc"), right)
    field[rows, columns] = np.where(bounded, solution, np.nan)
    return field[1:-1, 1:-1]
