"""Downstream tasks that show what features are worth; a module a task."""

from cytopipe.evaluation.areas import AreaParams, run_areas, run_cross_validation

VERSION = 2

__all__ = ["VERSION", "AreaParams", "run_areas", "run_cross_validation"]
