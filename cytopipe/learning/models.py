"""A released model: one folder with weights, config and a model card, ready to embed images."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from cytopipe import provenance
from cytopipe.files import InputError, require, whole
from cytopipe.formats import tables
from cytopipe.learning import checkpoints, networks

WEIGHTS, CONFIG, CARD = "weights.safetensors", "config.yaml", "README.md"
TRAINED_ON = ("pretrain", "train")  # splits of PATCHES that a network is trained on
OF_POSITIONS = ("spatialnce", "distance")  # losses that look at positions


@dataclass(frozen=True)
class Model:
    """A trained network with what its images must look like.

    Attributes
    ----------
    encoder : in evaluation mode, on the device where it computes.
    spacing_um : pixel size of the images.
    classes : areas in the order of a classifier's outputs; empty for other heads.
    version : of the stage that trained it.
    params : of the run that trained it.
    """

    encoder: networks.Encoder
    spacing_um: float
    classes: tuple[str, ...]
    version: int
    params: Mapping[str, Any]

    @property
    def patch_px(self) -> int:
        """Edge of the images."""
        return self.encoder.plan.patch_px

    def embed(
        self, images: NDArray[np.uint8], batch_size: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Features of images, before and after the head.

        Parameters
        ----------
        images : (n, patch_px, patch_px) uint8, gray values as scanned, pixels of `spacing_um`.
        batch_size : images at a time.

        Returns
        -------
        (n, width) features of the backbone, which downstream tasks use (CytoNet section 3.4), and
        (n, outputs) outputs of the head.

        Raises
        ------
        InputError
            If the images are of another type or size.
        """
        images = np.asarray(images)
        size = (self.patch_px, self.patch_px)
        if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != size:
            raise InputError(
                f"embed: images are {images.dtype} {images.shape}, the model takes uint8 "
                f"(n, {self.patch_px}, {self.patch_px}) of {self.spacing_um:g} um a pixel; "
                "cut and convert them"
            )
        backbone = np.empty((len(images), self.encoder.backbone.width), np.float32)
        projected = np.empty((len(images), self.encoder.plan.outputs), np.float32)
        for start in range(0, len(images), batch_size):
            chosen = slice(start, start + batch_size)
            # a copy: torch takes neither read-only nor mirrored arrays
            windows = np.array(images[chosen], order="C")
            backbone[chosen], projected[chosen] = self.encoder.embed(windows)
        return backbone, projected


def load_model(folder: Path | str, device: str = "cpu") -> Model:
    """Read what `save_model` wrote.

    Parameters
    ----------
    device : where it computes, e.g. `cuda`.

    Raises
    ------
    InputError
        If a file is missing, damaged, or does not fit the other.
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
    """Write weights.safetensors, config.yaml and README.md (the card), the weights last.

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
    with whole(folder / CARD) as beside:
        beside.write_text(card)
    with whole(folder / CONFIG) as beside:
        beside.write_text(provenance.comment() + yaml.safe_dump(config, sort_keys=False))
    with whole(folder / WEIGHTS) as beside:
        save_file(tensors, beside, metadata=provenance.entry())


@provenance.writes("folder", stage="pretraining")
def run_release(
    *,
    weights: Path,
    patches: Path,
    folder: Path,
    roles: Mapping[str, str],
    template: str,
    licence: str,
) -> None:
    """Turn a training run into a folder that can be passed on: see `save_model`.

    Parameters
    ----------
    weights : final.pt of the run.
    patches : the data set that it was trained on (PATCHES).
    folder : to write weights.safetensors, config.yaml and README.md to.
    roles : brain to role, of all brains of the study.
    template : name of the space that positions are of.
    licence : under which the weights are passed on, e.g. `CC-BY-4.0`; empty if not decided.

    Raises
    ------
    InputError
        If a file is missing or damaged.
    """
    content = checkpoints.load(weights)
    missing = {"params", "version", "plan", "weights", "classes"} - content.keys()
    if missing:
        raise InputError(
            f"{weights}: has no {', '.join(sorted(missing))}; an earlier version of cytopipe wrote "
            "it, train the network again"
        )
    params = content["params"]
    model = Model(
        checkpoints.encoder_of(content["plan"], content["weights"], weights),
        float(params["spacing_um"]),
        tuple(content["classes"]),
        content["version"],
        params,
    )
    table = tables.read(tables.PATCHES, patches)
    save_model(model, model_card(model, table, roles, template, licence), folder)


def model_card(
    model: Model,
    patches: pd.DataFrame,
    roles: Mapping[str, str],
    template: str,
    licence: str,
) -> str:
    """What the model is, what it was trained on, how to use it and what it is not for (Markdown).

    Parameters
    ----------
    patches : the data set (PATCHES); of an area data set, the rows for testing are left out.
    roles, template, licence : see `run_release`.
    """
    plan, params, width = model.encoder.plan, model.params, model.encoder.backbone.width
    parameters_m = sum(p.numel() for p in model.encoder.backbone.parameters()) / 1e6
    is_trained = params["epochs"] > 0
    used = patches[patches.split.isin(TRAINED_ON) & is_trained]
    counts = {str(brain): len(rows) for brain, rows in used.groupby("brain")}
    in_template = f", of positions in {template}" if params["loss"] in OF_POSITIONS else ""
    training = (
        f"""\
- Data set: {params["dataset"]}, {len(used)} patches of {used.point_id.nunique()} points
- Loss: {params["loss"]}{in_template}
- {params["epochs"]} epochs, batches of {params["batch_size"]}, seed {params["seed"]}; all other
  settings are in {CONFIG}"""
        if is_trained
        else "Not trained: these are the random weights, for comparison."
    )
    brains = "\n".join(
        f"| {brain} | {roles.get(brain, '')} | {counts.get(brain, 0)} |"
        for brain in sorted({*roles, *counts})
    )
    areas = f"\nAreas that it was trained with: {', '.join(model.classes)}.\n"
    return f"""\
# {plan.architecture} trained with {params["loss"]} on {params["dataset"]}

A network that turns patches of cell-body stained sections of human brains into features of the
cortex's cytoarchitecture. Trained and written with cytopipe.

- Images: {plan.patch_px} x {plan.patch_px} px of {model.spacing_um:g} um, an edge of
  {plan.patch_px * model.spacing_um / 1000:g} mm, 8-bit gray values as scanned, centred on the
  midline of the cortex
- Backbone: {plan.architecture}, {parameters_m:.2f} M parameters, {width} features
- Head: {plan.head}, {plan.outputs} outputs

## Training

{training}

| brain | role | patches |
|---|---|---|
{brains}

## Use

```python
import cytopipe

model = cytopipe.load_model("path/of/this/folder")
# images: uint8 (n, {plan.patch_px}, {plan.patch_px}), pixels of {model.spacing_um:g} um
features, outputs = model.embed(images, batch_size=32)
```

`features` is float32 (n, {width}), of the backbone, for downstream tasks; `outputs` is
(n, {plan.outputs}), of the head.
{areas if model.classes else ""}
## Limits

- Images of another pixel size, stain, species or age than those of the training were not tested;
  nor were patches away from the cortex.
- A brain of the table with patches is not a new one: scores on it do not tell how well the model
  works on brains that it has not seen.
- Features also carry what is no cytoarchitecture: staining, cutting angle, vessels, folds.
- For research; not for diagnosis.

## Licence

Weights: {licence or "not stated; ask those who trained it"}. cytopipe: Apache-2.0.
"""
