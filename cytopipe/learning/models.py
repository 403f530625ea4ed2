"""A released model: a folder with weights, config and model card, ready to embed images."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from cytopipe import provenance
from cytopipe.files import InputError, atomic_write, require
from cytopipe.learning import checkpoints, networks

WEIGHTS, CONFIG, CARD = "weights.safetensors", "config.yaml", "README.md"


@dataclass(frozen=True)
class Model:
    """A trained network and what it expects of its images.

    Attributes
    ----------
    encoder : the network, in evaluation mode, on the device that it runs on.
    spacing_um : pixel size of the images.
    classes : area names in the order of a classifier's outputs; empty for other heads.
    version : that of the pretraining stage that trained it.
    params : of the run that trained it.
    """

    encoder: networks.Encoder
    spacing_um: float
    classes: tuple[str, ...]
    version: int
    params: Mapping[str, Any]

    @property
    def patch_px(self) -> int:
        """Edge of the images in pixels."""
        return self.encoder.plan.patch_px

    def embed(
        self, images: NDArray[np.uint8], batch_size: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Compute the features of images, before and after the head.

        Parameters
        ----------
        images : (n, patch_px, patch_px) uint8, gray values as scanned, pixels of `spacing_um`.
        batch_size : images at a time.

        Returns
        -------
        Features of the backbone (n, width), which downstream tasks use, and outputs of the head
        (n, outputs); both float32.

        Raises
        ------
        InputError
            If the images have another type or size.
        """
        images = np.asarray(images)
        size = (self.patch_px, self.patch_px)
        if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != size:
            raise InputError(
                f"embed: images are {images.dtype} {images.shape}, the model takes uint8 "
                f"(n, {self.patch_px}, {self.patch_px}) of {self.spacing_um:g} um per pixel; "
                "crop and convert them"
            )
        backbone = np.empty((len(images), self.encoder.backbone.width), np.float32)
        projected = np.empty((len(images), self.encoder.plan.outputs), np.float32)
        for start in range(0, len(images), batch_size):
            rows = slice(start, start + batch_size)
            # a copy: torch accepts neither read-only arrays nor negative strides
            windows = np.array(images[rows], order="C")
            backbone[rows], projected[rows] = self.encoder.embed(windows)
        return backbone, projected


def load_model(folder: Path | str, device: str = "cpu") -> Model:
    """Read a released model, ready to embed images.

    Parameters
    ----------
    folder : written by `pretraining.run_release`: weights.safetensors, config.yaml, README.md.
    device : the device that the model runs on, e.g. `cuda`.

    Raises
    ------
    InputError
        If a file is missing or damaged, or the weights do not fit the config.
    """
    folder = Path(folder)
    config, weights = (
        require(folder / name, "a released model is a folder of weights.safetensors, config.yaml")
        for name in (CONFIG, WEIGHTS)
    )
    try:
        content = yaml.safe_load(config.read_text())
        plan, params, classes = content["plan"], content["params"], tuple(content["classes"])
        spacing_um, version = float(content["spacing_um"]), int(content["version"])
        tensors = load_file(weights)
    except (yaml.YAMLError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder}: damaged ({error!r}); copy the model again") from error
    encoder = checkpoints.encoder_of(plan, tensors, weights).to(torch.device(device))
    return Model(encoder, spacing_um, classes, version, params)


def save_model(model: Model, card: str, folder: Path) -> None:
    """Write README.md (the card), config.yaml and, last, weights.safetensors.

    The same model gives the same bytes.
    """
    config = {
        "plan": asdict(model.encoder.plan),
        "spacing_um": model.spacing_um,
        "classes": list(model.classes),
        "version": model.version,
        "params": dict(model.params),
    }
    tensors = {
        name: t.detach().cpu().contiguous() for name, t in model.encoder.state_dict().items()
    }
    with atomic_write(folder / CARD) as beside:
        beside.write_text(card)
    with atomic_write(folder / CONFIG) as beside:
        beside.write_text(provenance.comment() + yaml.safe_dump(config, sort_keys=False))
    with atomic_write(folder / WEIGHTS) as beside:
        save_file(tensors, beside, metadata=provenance.entry())
