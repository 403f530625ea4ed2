"""What is no cortex, carried from the template to a brain for a person to correct."""

import numpy as np
from numpy.typing import NDArray

from cytopipe.formats.transforms import PointTransform
from cytopipe.formats.volumes import Volume
from cytopipe.study.masks import Segment

_AT_ONCE = 1_000_000


def carried(tissue: Volume, segments: list[Segment], transform: PointTransform) -> Volume:
    """1 where tissue of the brain lies in one of the template's segments, on the brain's grid.

    Parameters
    ----------
    transform : points of the stack to the template.
    """
    marked: NDArray[np.uint8] = np.zeros(tissue.data.shape, np.uint8)
    indices = np.argwhere(tissue.data > 0)
    for start in range(0, len(indices), _AT_ONCE):
        part = indices[start : start + _AT_ONCE]
        points = transform(tissue.to_mm(part))
        inside = np.any([segment.holds(points) for segment in segments], axis=0)
        marked[tuple(part.T)] = inside
    return Volume(marked, tissue.affine)
