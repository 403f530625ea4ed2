"""Score the results of a phantom study against its ground truth."""

from cytopipe.truth.scoring import run

__all__ = ["VERSION", "run"]

VERSION = 6
