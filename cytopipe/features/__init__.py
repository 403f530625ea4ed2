"""A feature vector for every point of a brain: from a pretrained network, or intensity profiles.

Rows of the arrays are in the order of points.parquet; the row of a point whose status is not `ok`
is NaN. Arrays are written through memory maps: those of a real brain need not fit into memory.
"""

from cytopipe.features.network import run, run_patches
from cytopipe.features.profiles import run_profiles

VERSION = 1

__all__ = [
    "VERSION",
    "run",
    "run_patches",
    "run_profiles",
]
