"""Downstream tasks that show what features are worth; a module a task."""

from cytopipe.evaluation.areas import AreaParams, run_areas, run_cross_validation
from cytopipe.evaluation.attention import AttentionParams, run_attention
from cytopipe.evaluation.finetuning import FinetuningParams, run_finetuning
from cytopipe.evaluation.layers import LayersParams, run_layers

VERSION = 2

__all__ = [
    "VERSION",
    "AreaParams",
    "AttentionParams",
    "FinetuningParams",
    "LayersParams",
    "run_areas",
    "run_attention",
    "run_cross_validation",
    "run_finetuning",
    "run_layers",
]
