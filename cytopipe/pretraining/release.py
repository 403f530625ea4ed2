"""A trained network as a folder that can be passed on, with a model card."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from cytopipe import provenance
from cytopipe.files import InputError, Output
from cytopipe.formats import tables
from cytopipe.learning import checkpoints
from cytopipe.learning.models import CONFIG, Model, save_model

TRAINED_ON = ("pretrain", "train")  # splits of PATCHES that a network is trained on
OF_POSITIONS = ("spatialnce", "distance")  # losses that look at positions


@provenance.recorded
def run_release(
    *,
    trained: Path,
    patches: Path,
    card: Output,
    settings: Output,
    weights: Output,
    roles: Mapping[str, str],
    template: str,
    licence: str = "",
) -> None:
    """Turn a training run into a folder that can be passed on: see `learning.models`.

    Parameters
    ----------
    trained : final.pt of the run.
    patches : the data set that it was trained on (PATCHES).
    card, settings, weights : README.md, config.yaml and weights.safetensors of the folder to write.
    roles : brain to role, of all brains of the study.
    template : name of the space that positions are of.
    licence : under which the weights are passed on, e.g. `CC-BY-4.0`; empty if not decided.

    Raises
    ------
    InputError
        If a file is missing or damaged.
    """
    content = checkpoints.load(trained)
    missing = {"params", "version", "plan", "weights", "classes"} - content.keys()
    if missing:
        raise InputError(
            f"{trained}: has no {', '.join(sorted(missing))}; an earlier version of cytopipe wrote "
            "it, train the network again"
        )
    params = content["params"]
    model = Model(
        checkpoints.encoder_of(content["plan"], content["weights"], trained),
        float(params["spacing_um"]),
        tuple(content["classes"]),
        content["version"],
        params,
    )
    table = tables.read(tables.PATCHES, patches)
    save_model(model, model_card(model, table, roles, template, licence), weights.parent)


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
