"""Score the results of a phantom study against its ground truth."""

from cytopipe.truth.exclusion_errors import run_exclusion
from cytopipe.truth.scoring import run

__all__ = ["VERSION", "run", "run_exclusion"]

VERSION = 7
