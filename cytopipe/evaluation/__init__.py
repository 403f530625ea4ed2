"""Downstream tasks that measure what the features are worth.

A task is imported when it is used, because torch and scikit-learn take seconds each to import.
"""

import lazy_loader

VERSION = 3

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "tasks.areas": ["run_areas", "run_cross_validation"],
        "tasks.attention": ["run_attention"],
        "tasks.coordinates": ["run_coordinates"],
        "tasks.embedding": ["run_embedding"],
        "tasks.finetuning": ["run_finetuning"],
        "tasks.layers": ["run_layers"],
        "tasks.parcellation": ["run_parcellation"],
        "tasks.retrieval": ["run_retrieval"],
        "samples": ["run"],
        "tasks.shortcuts": ["run_shortcuts"],
        "tasks.structure": ["run_structure"],
    },
)
