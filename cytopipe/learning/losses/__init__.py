"""Objectives of pretraining, one a file; `LOSSES` names those that a run can choose."""

from cytopipe.learning.losses.spatialnce import euclidean_mm, spatialnce

LOSSES = ("spatialnce",)

__all__ = ["LOSSES", "euclidean_mm", "spatialnce"]
