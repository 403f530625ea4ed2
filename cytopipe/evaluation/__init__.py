"""Downstream tasks that show what features are worth; a module a task.

A module is imported when one of its names is used: torch and scikit-learn take seconds each.
"""

import lazy_loader

VERSION = 2

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "tasks.areas": ["AreaParams", "run_areas", "run_cross_validation"],
        "tasks.attention": ["AttentionParams", "run_attention"],
        "tasks.coordinates": ["CoordinateParams", "run_coordinates"],
        "tasks.embedding": ["EmbeddingParams", "run_embedding"],
        "tasks.finetuning": ["FinetuningParams", "run_finetuning"],
        "tasks.layers": ["LayersParams", "run_layers"],
        "tasks.parcellation": ["ParcellationParams", "run_parcellation"],
        "tasks.retrieval": ["RetrievalParams", "run_retrieval"],
        "samples": ["run"],
        "tasks.shortcuts": ["ShortcutParams", "run_shortcuts"],
        "tasks.structure": ["StructureParams", "run_structure"],
    },
)
