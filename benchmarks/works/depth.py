"""Mid-surface: Laplace's equation in a ribbon of true size (`cytopipe.numerics.laplace`)."""

import cortex
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import linalg
from side_by_side import Work

from cytopipe.numerics.laplace import laplace_depth

VOXEL_MM = 0.3
MOST_ERROR = 1e-3
# where the peer's error falls below MOST_ERROR, found by trying; ours ends by its own bound, as in
# the workflow, which is some sweeps late
RESIDUAL = 8e-6

Depth = NDArray[np.float32]


def equations(labels: NDArray[np.uint8]) -> tuple[sparse.csr_matrix, Depth]:
    """Matrix and right side of the cortex voxels in turn; boundary values on their faces."""
    cortex_voxels = np.flatnonzero(labels == 1)
    number = np.full(labels.size, -1, np.int32)
    number[cortex_voxels] = np.arange(len(cortex_voxels), dtype=np.int32)
    plane, line = labels.shape[1] * labels.shape[2], labels.shape[2]
    # the frame of `ribbon` keeps neighbours inside the array
    steps = (-plane, -line, -1, 0, 1, line, plane)
    columns = np.stack([number[cortex_voxels + step] for step in steps], axis=1)
    right = np.zeros(len(cortex_voxels), np.float32)
    for step in steps:
        right += 2 * (labels.ravel()[cortex_voxels + step] == 2)
    entries = np.full(columns.shape, -1, np.float32)
    entries[:, 3] = 6 + (columns < 0).sum(1)
    inside = columns >= 0
    starts = np.concatenate([[0], np.cumsum(inside.sum(1))]).astype(np.int32)
    return sparse.csr_matrix((entries[inside], columns[inside], starts)), right


def works() -> list[Work]:
    """The ribbon of a brain; the peer's matrix is made beforehand, our packing is counted."""
    labels = cortex.ribbon(VOXEL_MM)
    matrix, right = equations(labels)
    start = np.full(len(right), 0.5, np.float32)
    exact = laplace_depth(labels, 1e-5)[labels == 1]

    def same(ours: Depth, theirs: Depth) -> str:
        mine, yours = (float(np.abs(field - exact).max()) for field in (ours[labels == 1], theirs))
        assert mine < MOST_ERROR, f"error {mine:.2g}"
        assert yours < MOST_ERROR, f"error of the peer {yours:.2g}"
        return f"errors {mine:.1g}, peer {yours:.1g}"

    return [
        Work(
            "depth",
            f"{' x '.join(map(str, labels.shape))} voxels of {VOXEL_MM} mm, {len(right)} of cortex",
            "scipy cg on the finished matrix, single precision",
            ours=lambda: laplace_depth(labels, MOST_ERROR),
            theirs=lambda: linalg.cg(matrix, right, start, rtol=RESIDUAL)[0],
            same=same,
            goal=10,
            repeats=3,
        )
    ]
