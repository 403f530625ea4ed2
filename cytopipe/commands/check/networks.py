"""Estimate the GPU hours of networks from the speed of the study's own runs, or from a table.

The speed of a run is in its log, since results must be the same on every machine. Without a run of
the same architecture, the speed is that of docs/performance.md: an estimate for one H200.
"""

import re
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet
import yaml

from cytopipe.commands.check.scans import Scanned
from cytopipe.study import config as study_config
from cytopipe.study.findings import NOTE, Finding

# patches of 2048 px per second in training, of one H200 (docs/performance.md)
ESTIMATED = {"r50": 225.0, "r50_vit": 160.0}
_ESTIMATED_PX = 2048
# the backward pass takes twice as long as the forward pass, which is all that features need
_FORWARD = 3.0
# cortex in a coronal section of a human brain: 180,000 mm2 of mid-surface in 140 mm, cut at random
# angles (a mean sine of 0.785); and the size of such a section, as in workflow/rules/resources.smk
_CORTEX_MM, _SECTION_MM2 = 1000.0, 130.0 * 100.0
# chosen, not measured: a warm start takes a tenth of the epochs of a training from scratch
WARM_SHARE = 0.1


@dataclass(frozen=True)
class Speed:
    """Patches per second of one GPU (or one process) in training, and where the number is from."""

    patches_s: float
    source: str


def one_more_brain(
    patches_s: float, patches: float, epochs: int, points: float, brains: int
) -> dict[str, float]:
    """GPU hours of the three ways to have features of one more brain (docs/new-brain.md).

    Parameters
    ----------
    patches_s : of one GPU in training.
    patches, epochs : of the pretraining from scratch.
    points : of each brain.
    brains : their number, with the new one. A trained or continued network describes all of them.
    """
    features = points / (_FORWARD * patches_s * 3600)
    training = patches * epochs / (patches_s * 3600)
    return {
        "frozen": features,
        "warm start": WARM_SHARE * training + brains * features,
        "from scratch": training + brains * features,
    }


def check_networks(study: Path, scanned: list[Scanned], config: Mapping[str, Any]) -> list[Finding]:
    """GPU hours of pretraining, features and fine-tuning for each run, and of one more brain."""
    points = points_of_brains(study, scanned, config)
    runs: Mapping[str, Any] = config["pretraining"]["runs"]
    if not runs or not points:
        return []
    measured = dict(measured_speeds(study, runs))
    findings = []
    for run, changes in runs.items():
        settings = study_config.merge(config["pretraining"]["common"], changes)
        speed = _speed_of(settings, measured)
        if speed is None:
            text = f"{run}: not estimated, because no network {settings['architecture']} was timed"
        else:
            text = f"{run}: {'; '.join(_costs(run, settings, speed.patches_s, points, config))}"
            text += f"; at {speed.patches_s:.3g} patches/s in training ({speed.source})"
        findings.append(Finding(NOTE, "networks", text))
    return findings


def _costs(
    run: str,
    settings: Mapping[str, Any],
    patches_s: float,
    points: Mapping[str, float],
    config: Mapping[str, Any],
) -> Iterator[str]:
    """The GPU hours of each job of a run, as text."""
    data = config["patches"]["datasets"].get(settings["dataset"], {})
    every = sum(points.values())
    patches = min(data.get("count") or every, every)
    epochs = settings["epochs"]
    if data.get("purpose") == "pretraining" and epochs:
        hours = patches * epochs / (3600 * patches_s)
        yield f"pretraining on {patches:,.0f} patches, {epochs} epochs: {hours:.1f} GPU hours"
    yield f"features of {every:,.0f} points: {every / (_FORWARD * 3600 * patches_s):.1f}"
    task = config["evaluation"]["finetuning"]
    chosen = config["evaluation"]["tasks"]["finetuning"]
    if chosen == "all" or run in (task["runs"] if chosen == "named" else chosen):
        own = study_config.merge(task, task["runs"].get(run, {}))
        per_area = config["patches"]["datasets"].get(own["dataset"], {}).get("per_area")
        if per_area:
            passes = (own["epochs"] if epochs else own["epochs_scratch"]) * len(own["seeds"])
            passes *= 1 + own["projected"]
            hours = per_area * passes / (3600 * patches_s)
            yield f"fine-tuning, for each area: {hours:.2g}"
    if data.get("purpose") == "pretraining" and epochs:
        each = every / len(points)
        ways = one_more_brain(patches_s, patches, epochs, each, len(points) + 1)
        listed = ", ".join(f"{way} {hours:.1f}" for way, hours in ways.items())
        yield f"one more brain of {each:,.0f} points: {listed}"


def points_of_brains(
    study: Path, scanned: list[Scanned], config: Mapping[str, Any]
) -> dict[str, float]:
    """The points of each brain: counted, or estimated from the size of its sections.

    The estimate is for brains as folded as a human's; a smooth brain of this size has less cortex.
    """
    spacing_mm = config["midline"]["spacing_mm"]
    points: dict[str, float] = {}
    for scan in scanned:
        if scan.examination is not None:
            full = scan.examination.levels[0]
            size_mm2 = full.height * full.width * (scan.section.spacing_um / 1000) ** 2
            cortex_mm = _CORTEX_MM * size_mm2 / _SECTION_MM2
            brain = scan.section.brain
            points[brain] = points.get(brain, 0.0) + cortex_mm / spacing_mm
    for brain in points:
        path = study / "results" / "coordinates" / brain / "points.parquet"
        if path.exists():
            try:
                points[brain] = float(pyarrow.parquet.read_metadata(path).num_rows)
            except (OSError, pyarrow.ArrowInvalid):
                continue  # the stage that reads it will say so
    return points


def measured_speeds(
    study: Path, runs: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, int], Speed]]:
    """The speed of trained runs by (architecture, patch_px)."""
    for run in runs:
        record = study / "results" / "pretraining" / run / "params.yaml"
        log = study / "logs" / "pretraining" / f"{run}.log"
        if not (record.exists() and log.exists()):
            continue
        speeds = [float(n) for n in re.findall(r", ([\d.]+) patches/s,", log.read_text())]
        try:
            values = yaml.safe_load(record.read_text())
            key = (values["architecture"], values["patch_px"])
            device, processes = values["device"], values["processes"]
        except (yaml.YAMLError, KeyError, TypeError):
            continue  # of an earlier version
        if speeds and min(speeds) > 0:
            each = statistics.median(speeds) / processes
            yield key, Speed(each, f"measured: {run} on {device}")


def _speed_of(
    settings: Mapping[str, Any], measured: Mapping[tuple[str, int], Speed]
) -> Speed | None:
    key = (settings["architecture"], settings["patch_px"])
    if key in measured:
        return measured[key]
    if settings["architecture"] not in ESTIMATED:
        return None
    scale = (_ESTIMATED_PX / settings["patch_px"]) ** 2
    return Speed(
        ESTIMATED[settings["architecture"]] * scale, "an estimate for one H200, no run was timed"
    )
