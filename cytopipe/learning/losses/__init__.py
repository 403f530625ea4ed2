"""The losses of pretraining as pure functions, one per file."""

from cytopipe.learning.losses.distance import distance
from cytopipe.learning.losses.infonce import infonce
from cytopipe.learning.losses.patch_losses import PatchLosses
from cytopipe.learning.losses.simclr import simclr
from cytopipe.learning.losses.spatialnce import spatialnce
from cytopipe.learning.losses.supcon import supcon
from cytopipe.learning.losses.supervised import supervised
