"""Objectives of pretraining as formulas, one a file."""

from cytopipe.learning.losses.contrastive import contrast
from cytopipe.learning.losses.distance import distance
from cytopipe.learning.losses.distances import euclidean_mm, geodesic_mm, same_hemisphere_mm
from cytopipe.learning.losses.rows import Rows
from cytopipe.learning.losses.simclr import simclr
from cytopipe.learning.losses.spatialnce import spatialnce
from cytopipe.learning.losses.supcon import supcon
from cytopipe.learning.losses.supervised import supervised

__all__ = [
    "Rows",
    "contrast",
    "distance",
    "euclidean_mm",
    "geodesic_mm",
    "same_hemisphere_mm",
    "simclr",
    "spatialnce",
    "supcon",
    "supervised",
]
