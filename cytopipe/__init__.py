"""Cytoarchitectonic features of whole human brains, from scanned sections to scores."""

from pathlib import Path
from typing import TYPE_CHECKING

from cytopipe import compiled

if TYPE_CHECKING:
    from cytopipe.learning.models import Model
    from cytopipe.study.results import Study

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
    # imported here, so that a stage without networks does not wait for torch
    from cytopipe.learning import models

    return models.load_model(folder, device)


def open_study(path: Path | str = ".") -> "Study":
    """Open a study, to read its config, its brains and their results.

    Parameters
    ----------
    path : the study's folder, which holds `config/`, `manual/` and `results/`.

    Raises
    ------
    InputError
        If the config or a table of the study is missing or wrong. A missing result is reported
        when it is used.

    Examples
    --------
    >>> study = cytopipe.open_study("demo")
    >>> study.brain("B01").points
    """
    # imported here: the config needs pydantic, the results nibabel and SimpleITK
    from cytopipe.study import results

    return results.open_study(path)
