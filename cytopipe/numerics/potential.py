"""The electric potential in a conductor of voxels between two electrodes.

It tells how far a voxel belongs to each end: in two bodies that a bridge joins, it is nearly
constant, and it changes in the bridge, the faster the narrower that is. The same equation divides
images in Grady, Random walks for image segmentation, IEEE TPAMI 28 (2006) 1768.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import linalg

# of the residual, relative to the right-hand side; chosen
TOLERANCE = 1e-5


def potential(
    conductor: NDArray[np.bool_], electrodes: NDArray[np.uint8], step: int
) -> NDArray[np.float32]:
    """The potential in a conductor, 0 on one electrode and 1 on the other.

    Parameters
    ----------
    conductor : (i, j, k) every part of it must touch an electrode.
    electrodes : (i, j, k) 1 where the potential is 0, 2 where it is 1, 0 elsewhere; only voxels of
        the conductor count.
    step : the equation is solved for blocks of this many voxels along each edge. The conductance
        between two blocks is the number of faces at which conducting voxels meet.

    Returns
    -------
    (i, j, k) constant in each block; NaN in blocks without a conductor.
    """
    blocks = tuple(-(-size // step) for size in conductor.shape)
    conducting = _padded(conductor, blocks, step)
    held = np.where(conducting, _padded(electrodes, blocks, step), 0)
    values = np.full(blocks, np.nan, np.float32)
    for value, electrode in enumerate((held == 1, held == 2)):
        values[_sums(electrode, step) > 0] = value
    number = np.full(blocks, -1)
    free = (_sums(conducting, step) > 0) & np.isnan(values)
    number[free] = np.arange(np.count_nonzero(free))
    count = int(np.count_nonzero(free))
    sums, right_side = np.zeros(count), np.zeros(count)
    entries: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = []
    for axis in range(3):
        turned, numbers, known = (
            np.moveaxis(array, axis, 0) for array in (conducting, number, values)
        )
        meeting = turned[step - 1 : -1 : step] & turned[step::step]
        faces = _sums(meeting, step, axes=(1, 2)).astype(np.float64)
        for here, there in ((slice(None, -1), slice(1, None)), (slice(1, None), slice(None, -1))):
            some = (faces > 0) & (numbers[here] >= 0)
            rows, columns = numbers[here][some], numbers[there][some]
            conductance, beyond = faces[some], known[there][some]
            np.add.at(sums, rows, conductance)
            inside = columns >= 0
            np.add.at(right_side, rows[~inside], (conductance * beyond)[~inside])
            entries.append((rows[inside], columns[inside], -conductance[inside]))
    if count:
        entries.append((np.arange(count), np.arange(count), sums))
        rows, columns, weights = (np.concatenate(parts) for parts in zip(*entries, strict=True))
        matrix = sparse.csr_array((weights, (rows, columns)), (count, count))
        solution, _ = linalg.cg(
            matrix,
            right_side,
            x0=np.full(count, 0.5),
            rtol=TOLERANCE,
            M=sparse.diags_array(1 / sums),
        )
        values[free] = solution
    at = [np.arange(size) // step for size in conductor.shape]
    return values[np.ix_(*at)]


def _padded(array: NDArray, blocks: tuple[int, ...], step: int) -> NDArray:  # type: ignore[type-arg]
    """The array, with zeros up to whole blocks."""
    return np.pad(
        array, [(0, n * step - size) for n, size in zip(blocks, array.shape, strict=True)]
    )


def _sums(
    array: NDArray[np.bool_], step: int, axes: tuple[int, ...] = (0, 1, 2)
) -> NDArray[np.int64]:
    """Sums over blocks of `step` along some axes."""
    for axis in axes:
        size = array.shape[axis]
        shape = (*array.shape[:axis], size // step, step, *array.shape[axis + 1 :])
        array = array.reshape(shape).sum(axis + 1)
    return np.asarray(array, np.int64)
