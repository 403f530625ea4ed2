"""Data sets of patches: tables of where patches lie; no pixel is read here.

`run` draws points for pretraining and for classifying areas, from the midline or from annotated
contours. `run_layers` splits annotated patches of cortical layers. `run_geodesic` measures
distances along the mid-surface for a loss that needs them.
"""

from cytopipe.patches.datasets import run
from cytopipe.patches.geodesic import run_geodesic
from cytopipe.patches.layers import run_layers

VERSION = 2
