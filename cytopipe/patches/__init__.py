"""Data sets of patches: rows of a table that name where a patch lies; no pixel is read here.

`run` draws points for pretraining and for the classification of areas, from all points of the
midline or from annotated contours; `run_layers` draws up annotated patches of cortical layers;
`run_geodesic` measures distances along the mid-surface for a loss that wants them. Windows are read
from the images when a network trains.
"""

from cytopipe.patches.datasets import draw_pretraining, run, split_areas
from cytopipe.patches.geodesic import run_geodesic
from cytopipe.patches.layers import run_layers

__all__ = [
    "VERSION",
    "draw_pretraining",
    "run",
    "run_geodesic",
    "run_layers",
    "split_areas",
]

VERSION = 2
