"""Cytoarchitectonic features of whole human brains, from scanned sections to scores."""

import importlib
from typing import TYPE_CHECKING, Any

from cytopipe import compiled

if TYPE_CHECKING:
    from cytopipe.learning.models import load_model as load_model
    from cytopipe.study.results import open_study as open_study

__version__ = "0.1.0"

# before any module with kernels is imported
compiled.configure_cache()


def __getattr__(name: str) -> Any:
    """Import `load_model` and `open_study` when they are used: stages do not wait for them."""
    modules = {"load_model": "cytopipe.learning.models", "open_study": "cytopipe.study.results"}
    if name not in modules:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(modules[name]), name)
