"""Downstream tasks that show what features are worth; a module a task.

A module is imported when one of its names is used: torch and scikit-learn take seconds each.
"""

import lazy_loader

VERSION = 2

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "areas": ["AreaParams", "run_areas", "run_cross_validation"],
        "attention": ["AttentionParams", "run_attention"],
        "coordinates": ["CoordinateParams", "run_coordinates"],
        "embedding": ["EmbeddingParams", "run_embedding"],
        "finetuning": ["FinetuningParams", "run_finetuning"],
        "layers": ["LayersParams", "run_layers"],
        "parcellation": ["ParcellationParams", "run_parcellation"],
        "retrieval": ["RetrievalParams", "run_retrieval"],
        "samples": ["run"],
        "shortcuts": ["ShortcutParams", "run_shortcuts"],
        "structure": ["StructureParams", "run_structure"],
    },
)
