"""Pretraining of a network on patches: objectives and training of CytoNet sections 3.4 and 3.5."""

import hashlib
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch
import yaml

from cytopipe import provenance
from cytopipe.files import Output, whole
from cytopipe.formats import tables
from cytopipe.learning import checkpoints, distributed, networks, objectives
from cytopipe.pretraining.release import run_release
from cytopipe.pretraining.training import train
from cytopipe.study.config import PretrainingRun

__all__ = ["VERSION", "run", "run_release"]

VERSION = 3

# what changes speed and memory alone, so that a run may be continued with other values
SPEED = ("workers", "cache_mb", "checkpointing")


@provenance.recorded
def run(
    *,
    patches: Path,
    geodesic: Path | None,
    final: Output,
    metrics: Output,
    record: Output,
    threads: int,
    params: PretrainingRun,
) -> None:
    """Train a network, or continue an interrupted training.

    The same call is one process on a CPU, or one of many that torchrun or srun started: then each
    takes its share of every batch, and the first one writes.

    A checkpoint lies beside `final` after each epoch until the run is complete. SIGTERM and SIGUSR1
    to any process save one after the step at hand and make all leave with status 85; the same call
    then continues and, with as many processes, ends with the same weights, bit for bit on the CPU.

    Parameters
    ----------
    patches : the data set (PATCHES); test sets in it are left alone.
    geodesic : distances along the cortex, see `learning.geodesic.read`, for `distance: geodesic`.
    final : weights, plan, params and classes, for `learning.checkpoints.load_encoder`.
    metrics : a row an epoch (METRICS).
    record : the params, with versions and size of the data set, as YAML.
    threads : that libraries may take (`cytopipe.threads`).

    Raises
    ------
    InputError
        If the data set lacks what the loss needs or is smaller than a batch, a batch cannot be
        shared by the processes, a patch cannot be read, or the loss is no number.
    """
    with distributed.joined() as world:
        table = tables.read(tables.PATCHES, patches)
        table = objectives.trained_on(table, params.loss, patches.stem)
        settings = objectives.Settings(
            params.loss, params.temperature, params.sigma_mm, params.distance
        )
        objective = objectives.build(table, settings, geodesic, world.device)
        plan = networks.Plan(
            params.architecture, params.patch_px, objective.head, objective.outputs
        )
        encoder = networks.build(plan, params.seed).to(world.device)
        checkpoint = final.with_name("checkpoint.pt")
        identity = _identity(patches, geodesic, params)
        state = train(encoder, objective, table, checkpoint, identity, world, params)
        if world.first:
            described = {
                **params.model_dump(),
                "version": VERSION,
                "patches": len(table),
                "processes": world.size,
                "torch": str(torch.__version__),
            }
            content = {
                "params": params.model_dump(),
                "version": VERSION,
                "plan": asdict(plan),
                "classes": list(objective.classes),
                "weights": encoder.state_dict(),
            }
            checkpoints.save(content, final)
            rows = pd.DataFrame(state.metrics, columns=tables.METRICS.names)
            tables.write(tables.METRICS, rows, metrics)
            with whole(record) as beside:
                beside.write_text(provenance.comment() + yaml.safe_dump(described, sort_keys=False))
            # kept, it would turn a deliberate rerun into a copy of this one
            checkpoint.unlink(missing_ok=True)
        distributed.wait(world)


def _identity(patches: Path, geodesic: Path | None, params: PretrainingRun) -> str:
    """What a checkpoint must agree on to be continued: version, params, data set and distances."""
    settings = params.model_dump(exclude=set(SPEED))
    text = yaml.safe_dump([VERSION, settings]).encode() + patches.read_bytes()
    if geodesic is not None and params.distance == "geodesic":
        text += geodesic.read_bytes()
    return hashlib.sha256(text).hexdigest()
