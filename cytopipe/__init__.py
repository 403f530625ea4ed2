"""Cytoarchitectonic features of whole human brains, from scanned sections to scores."""

from pathlib import Path
from typing import TYPE_CHECKING

from cytopipe import compiled

if TYPE_CHECKING:
    from cytopipe.learning.models import Model

__version__ = "0.1.0"

# before any module with kernels is imported
compiled.configure_cache()


def load_model(folder: Path | str, device: str = "cpu") -> "Model":
    """Read a released model, ready to embed images: see `cytopipe.learning.models`.

    Parameters
    ----------
    folder : written by `pretraining.run_release`: weights.safetensors, config.yaml, README.md.
    device : e.g. `cuda`.

    Raises
    ------
    InputError
        If a file is missing or damaged.
    """
    # imported here, so that stages without networks do not wait for torch
    from cytopipe.learning import models

    return models.load_model(folder, device)
