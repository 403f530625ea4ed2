"""Objectives of pretraining, one a file."""

from cytopipe.learning.losses.spatialnce import euclidean_mm, spatialnce

__all__ = ["euclidean_mm", "spatialnce"]
