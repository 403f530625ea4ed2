"""Release of a trained network: a folder with weights, config and model card."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from cytopipe import provenance
from cytopipe.files import Output
from cytopipe.formats import tables
from cytopipe.learning import checkpoints
from cytopipe.learning.models import CONFIG, Model, save_model

TRAINING_SPLITS = ("pretrain", "train")  # of a data set
POSITION_LOSSES = ("spatialnce", "distance")


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
    """Make a folder that can be published from a training run, see `learning.models`.

    Parameters
    ----------
    trained : final.pt of the run.
    patches : the data set of the run (PatchRow).
    card, settings, weights : README.md, config.yaml and weights.safetensors of the folder to write.
    roles : role of each brain of the study, by its name.
    template : name of the space of the positions.
    licence : of the weights, e.g. `CC-BY-4.0`; empty if undecided.

    Raises
    ------
    InputError
        If a file is missing or damaged.
    """
    content = checkpoints.load_trained(trained, "version", "classes")
    params = content["params"]
    model = Model(
        checkpoints.encoder_of(content["plan"], content["weights"], trained),
        float(params["spacing_um"]),
        tuple(content["classes"]),
        content["version"],
        params,
    )
    table = tables.read(tables.PatchRow, patches)
    save_model(model, model_card(model, table, roles, template, licence), weights.parent)


def model_card(
    model: Model,
    patches: pd.DataFrame,
    roles: Mapping[str, str],
    template: str,
    licence: str,
) -> str:
    """The model card in Markdown: the model, its training, its use and its limits.

    Parameters
    ----------
    patches : the data set of the run (PatchRow), including its test sets.
    roles, template, licence : see `run_release`.
    """
    plan, params, width = model.encoder.plan, model.params, model.encoder.backbone.width
    parameters_m = sum(p.numel() for p in model.encoder.backbone.parameters()) / 1e6
    is_trained = params["epochs"] > 0
    used = patches[patches.split.isin(TRAINING_SPLITS) & is_trained]
    counts = {str(brain): len(rows) for brain, rows in used.groupby("brain")}
    in_template = f", on positions in {template}" if params["loss"] in POSITION_LOSSES else ""
    training = (
        f"""\
- Data set: {params["dataset"]}, {len(used)} patches of {used.point_id.nunique()} points
- Loss: {params["loss"]}{in_template}
- Continues from: {params.get("start") or "random weights"}
- {params["epochs"]} epochs, batches of {params["batch_size"]}, seed {params["seed"]}; all other
  settings are in {CONFIG}"""
        if is_trained
        else "Not trained: these are the random weights, for comparison."
    )
    brains = "\n".join(
        f"| {brain} | {roles.get(brain, '')} | {counts.get(brain, 0)} |"
        for brain in sorted({*roles, *counts})
    )
    areas = f"\nAreas of the training set: {', '.join(model.classes)}.\n"
    return f"""\
# {plan.architecture} trained with {params["loss"]} on {params["dataset"]}

A network that turns image patches of cell-body stained sections of human brains into features of
the cytoarchitecture of the cortex. Trained with cytopipe.

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

`features` (n, {width}) are float32 features of the backbone, for downstream tasks; `outputs`
(n, {plan.outputs}) are those of the head.
{areas if model.classes else ""}
## Limits

- The model was not tested on images whose pixel size, stain, species or age differs from the
  training, nor on patches outside the cortex.
- Scores on a brain that has patches in the table do not tell how well the model works on brains
  that it has not seen.
- Features depend not only on cytoarchitecture, but also on staining, cutting angle, vessels and
  folds.
- For research only, not for diagnosis.

## Licence

Weights: {licence or "not stated; ask those who trained it"}. cytopipe: Apache-2.0.
"""
