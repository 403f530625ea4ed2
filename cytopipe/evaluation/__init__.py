"""Downstream tasks that show what features are worth; a module a task.

A module is imported when one of its names is used: torch and scikit-learn take seconds each.
"""

import lazy_loader

VERSION = 2

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
