"""The predicted area of every point of every brain.

The last step for a lab: `evaluation` trains a classifier on the labelled points of a few brains,
`mapping` applies it to all points of all brains, and marks those that it cannot judge.
"""

from cytopipe.mapping.classified_points import run
from cytopipe.mapping.reference import run_reference
from cytopipe.mapping.scoring import run_scores

__all__ = ["VERSION", "run", "run_reference", "run_scores"]

VERSION = 1
