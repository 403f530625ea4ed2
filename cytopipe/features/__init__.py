"""A feature vector for every point, from a pretrained network or from intensity profiles.

The rows of the arrays are in the order of points.parquet. The row of a point whose status is not
`ok` is NaN. The arrays are memory maps, because those of a real brain may not fit into memory.
"""

from cytopipe.features.external import run_external, run_external_patches
from cytopipe.features.network import run, run_patches
from cytopipe.features.profiles import run_profiles
from cytopipe.features.views import run_views

VERSION = 2
