"""Downstream tasks that show what features are worth; a module a task."""

from cytopipe.evaluation.areas import AreaParams, run_areas, run_cross_validation
from cytopipe.evaluation.attention import AttentionParams, run_attention
from cytopipe.evaluation.coordinates import CoordinateParams, run_coordinates
from cytopipe.evaluation.embedding import EmbeddingParams, run_embedding
from cytopipe.evaluation.finetuning import FinetuningParams, run_finetuning
from cytopipe.evaluation.layers import LayersParams, run_layers
from cytopipe.evaluation.parcellation import ParcellationParams, run_parcellation
from cytopipe.evaluation.retrieval import RetrievalParams, run_retrieval
from cytopipe.evaluation.samples import run
from cytopipe.evaluation.shortcuts import ShortcutParams, run_shortcuts
from cytopipe.evaluation.structure import StructureParams, run_structure

VERSION = 2

__all__ = [
    "VERSION",
    "AreaParams",
    "AttentionParams",
    "CoordinateParams",
    "EmbeddingParams",
    "FinetuningParams",
    "LayersParams",
    "ParcellationParams",
    "RetrievalParams",
    "ShortcutParams",
    "StructureParams",
    "run",
    "run_areas",
    "run_attention",
    "run_coordinates",
    "run_cross_validation",
    "run_embedding",
    "run_finetuning",
    "run_layers",
    "run_parcellation",
    "run_retrieval",
    "run_shortcuts",
    "run_structure",
]
