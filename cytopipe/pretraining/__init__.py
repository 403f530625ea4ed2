"""Pretraining of a network on image patches (CytoNet sections 3.4 and 3.5)."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch
import yaml

from cytopipe import provenance
from cytopipe.files import InputError, Output, atomic_write
from cytopipe.formats import tables
from cytopipe.learning import checkpoints, distributed, networks
from cytopipe.learning.resuming import SPEED, Checkpoint, identity_of
from cytopipe.learning.training import train
from cytopipe.logs import info
from cytopipe.pretraining.dataset import build_objective, training_rows
from cytopipe.pretraining.release import run_release
from cytopipe.study.config import PretrainingRun

VERSION = 4


@provenance.recorded
def run(
    *,
    patches: Path,
    geodesic: Path | None,
    start: Path | None,
    final: Output,
    metrics: Output,
    record: Output,
    threads: int,
    params: PretrainingRun,
) -> None:
    """Train a network, or resume an interrupted training.

    The same call serves a single process and each of several processes started by torchrun or srun.
    Several processes divide every batch among them, and the first one writes the files.

    Until the run is complete, a checkpoint beside `final` is saved after each epoch. On SIGTERM or
    SIGUSR1 to any process, all processes save one after the current step and exit with status 85.
    The same call then resumes the training; with as many processes as before, it ends with the same
    weights, bit for bit on the CPU.

    Parameters
    ----------
    patches : the data set (PatchRow); its test sets are not used.
    geodesic : distances along the cortex, see `learning.distances.read_geodesic`; only used for
        `distance: geodesic`.
    start : final.pt of the run `params.start`; None to start from random weights. The head is drawn
        at random where it has another kind, or other classes, than that of `start`.
    final : weights, plan, params and classes, for `learning.checkpoints.load_encoder`.
    metrics : one row per epoch (MetricRow).
    record : the params, with versions and the size of the data set, as YAML.
    threads : number of threads that libraries may use (`cytopipe.threads`).

    Raises
    ------
    InputError
        If the data set lacks what the loss needs or is smaller than a batch, a batch cannot be
        divided among the processes, a patch cannot be read, the loss is NaN or infinite, or `start`
        is another network.
    """
    if (start is None) != (params.start is None):
        raise InputError(
            f"pretraining: params.start is {params.start}, but the file of its network is {start}; "
            "give both or neither"
        )
    with distributed.joined() as world, checkpoints.stop_signals() as signals:
        table = tables.read(tables.PatchRow, patches)
        table = training_rows(table, params.loss, patches.stem)
        objective = build_objective(table, params, geodesic, world.device)
        plan = networks.Plan(
            params.architecture, params.patch_px, objective.head, objective.outputs
        )
        encoder = networks.build(plan, params.seed)
        if start is not None:
            continue_from(encoder, objective.classes, params.spacing_um, start)
        encoder.to(world.device)
        files = [patches] if start is None else [patches, start]
        if geodesic is not None and params.distance == "geodesic":
            files.append(geodesic)
        identity = identity_of([VERSION, params.model_dump(exclude=set(SPEED))], files)
        checkpoint = Checkpoint(final.with_name("checkpoint.pt"), identity, world, signals)
        state = train(encoder, objective, table, checkpoint, params, "pretraining.common")
        if world.first:
            described = {
                **params.model_dump(),
                "version": VERSION,
                "patches": len(table),
                "processes": world.size,
                "device": distributed.device_name(world),
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
            rows = pd.DataFrame(state.metrics, columns=tables.names(tables.MetricRow))
            tables.write(tables.MetricRow, rows, metrics)
            with atomic_write(record) as beside:
                beside.write_text(provenance.comment() + yaml.safe_dump(described, sort_keys=False))
            # otherwise a deliberate rerun would only copy this run
            checkpoint.path.unlink(missing_ok=True)
        distributed.barrier(world)


def continue_from(
    encoder: networks.Encoder, classes: Sequence[str], spacing_um: float, start: Path
) -> None:
    """Give an encoder the weights of a trained network.

    Parameters
    ----------
    classes : of the encoder's head. A head of another kind, or of other classes, keeps its weights.
    spacing_um : pixel size of the patches.
    start : final.pt of a run.

    Raises
    ------
    InputError
        If the network at `start` has another backbone or patches of another size.
    """
    content = checkpoints.load_trained(start, "classes")
    trained = checkpoints.encoder_of(content["plan"], content["weights"], start)
    own, other = (
        f"{plan.architecture} for patches of {plan.patch_px} px of {spacing:g} um"
        for plan, spacing in (
            (encoder.plan, spacing_um),
            (trained.plan, content["params"]["spacing_um"]),
        )
    )
    if own != other:
        raise InputError(
            f"{start}: is {other}, but the run is {own}; correct start in config/config.yaml"
        )
    if trained.plan == encoder.plan and content["classes"] == list(classes):
        encoder.load_state_dict(trained.state_dict())
    else:
        info(f"{start}: has another head; that of this run starts from random weights")
        encoder.backbone.load_state_dict(trained.backbone.state_dict())
