"""Downstream tasks that show what features are worth; a module a task.

A module is imported when one of its names is used: torch and scikit-learn take seconds each.
"""

import lazy_loader

VERSION = 2

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "areas": ["run_areas", "run_cross_validation"],
        "attention": ["run_attention"],
        "coordinates": ["run_coordinates"],
        "embedding": ["run_embedding"],
        "finetuning": ["run_finetuning"],
        "layers": ["run_layers"],
        "parcellation": ["run_parcellation"],
        "retrieval": ["run_retrieval"],
        "samples": ["run"],
        "shortcuts": ["run_shortcuts"],
        "structure": ["run_structure"],
    },
)
