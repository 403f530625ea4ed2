"""Arrays of features: one row per point, mapped into memory."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytopipe.files import reading, require


def read_features(path: Path, rows: int) -> NDArray[Any]:
    """Map the features (rows, d) of a table of `rows` points, .npy, into memory.

    Raises
    ------
    InputError
        If the file is missing, is damaged, or has another number of rows.
    """
    require(path, "run snakemake --until features")
    with reading(path, "array of features", "delete it and run snakemake --until features"):
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        if array.ndim != 2 or len(array) != rows or array.dtype.kind != "f":
            raise ValueError(f"it holds {array.shape} of {array.dtype}, the table {rows} points")
    return array
