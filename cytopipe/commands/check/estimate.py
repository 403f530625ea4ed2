"""How long a run takes, how much memory and disk it wants: from measured seconds a pixel or voxel.

Measured on the demo's phantom, on one core at about 3 GHz; the rates of memory of large volumes are
those that the rules ask for. A real study may be off by a factor of two. Networks are not
estimated: their time is that of the GPU (benchmarks/).
"""

import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cytopipe.commands.check.findings import ERROR, NOTE, WARNING, Finding
from cytopipe.commands.check.scans import Looked
from cytopipe.study.sections import chunk_of, needs_pyramid

_MB = 1e6
# CPU seconds and MB above a process' 300 MB, by million pixels or voxels
_COPY_S, _COPY_BYTES = 0.04, 0.8
_SEGMENTATION_S, _SEGMENTATION_MB = 0.4, 45
_PAIR_S, _PAIR_MB = 1.2, 60
_VOLUME_S, _VOLUME_MB = 0.2, 12
_MIDSURFACE_S, _MIDSURFACE_MB = 10.0, 90
_MIDLINE_S, _MIDLINE_MB = 0.5, 30
_COORDINATES_S, _COORDINATES_MB = 40.0, 300
_REPORT_S = 0.16  # a section
_PROCESS_S, _PROCESS_MB = 2.0, 300
# labels, tables and surfaces of a section or voxel on disk, compressed
_LABEL_BYTES, _VOXEL_BYTES = 0.05, 0.5
# a brain on its slide, and how much of a volume's box the sections fill
_SMALLEST_BOX_MM = 1.0


@dataclass(frozen=True)
class Stage:
    """What a stage of all brains takes.

    Attributes
    ----------
    jobs, seconds : how many, and how long all of them together on one core.
    memory_mb : of the largest job.
    disk_mb : what it leaves behind.
    """

    name: str
    jobs: int
    seconds: float
    memory_mb: float
    disk_mb: float


def stages(looked: list[Looked], config: Mapping[str, Any]) -> list[Stage]:
    """Time, memory and disk of the stages up to the points, from the sizes of the scans."""
    read = [it for it in looked if it.found is not None]
    brains: dict[str, list[Looked]] = {}
    for it in read:
        brains.setdefault(it.section.brain, []).append(it)
    chunks = {
        (it.section.brain, chunk_of(it.section.section, config["study"]["chunk_span"]))
        for it in read
    }
    copies = [
        it.found.levels[0].height * it.found.levels[0].width / 1e6
        for it in read
        if it.found is not None
        and needs_pyramid(it.section.image, it.section.levels, it.section.background)
    ]
    segmented = [_pixels(it, config["segmentation"]["spacing_um"]) for it in read]
    aligned = [_pixels(it, config["alignment"]["spacing_um"]) for it in read]
    volumes = [_voxels(rows, config["reconstruction"]["voxel_mm"]) for rows in brains.values()]
    registered = [
        _voxels(rows, config["coordinates"]["registration_mm"]) for rows in brains.values()
    ]
    pairs = config["alignment"]["neighbours"] * sum(aligned)
    most = {
        name: max(sizes, default=0.0)
        for name, sizes in (
            ("copies", copies),
            ("segmented", segmented),
            ("aligned", aligned),
            ("volumes", volumes),
            ("registered", registered),
        )
    }
    found = [
        Stage(
            "pyramids",
            len(copies),
            sum(copies) * _COPY_S,
            # a band at a time, but all of a PNG or JPEG
            4000 if copies else 0,
            sum(copies) * _COPY_BYTES * 4 / 3,
        ),
        _stage("segmentation", len(chunks), sum(segmented), _SEGMENTATION_S,
               most["segmented"] * _SEGMENTATION_MB, sum(segmented) * _LABEL_BYTES),
        _stage("alignment", len(chunks) + len(brains), pairs, _PAIR_S,
               most["aligned"] * _PAIR_MB, 0.1 * len(read)),
        _stage("reconstruction", 2 * len(brains), sum(volumes), _VOLUME_S,
               most["volumes"] * _VOLUME_MB, 2 * sum(volumes) * _VOXEL_BYTES),
        _stage("midsurface", len(brains), sum(volumes), _MIDSURFACE_S,
               most["volumes"] * _MIDSURFACE_MB, 4 * sum(volumes) * _VOXEL_BYTES),
        _stage("midline", len(chunks), sum(segmented), _MIDLINE_S,
               most["segmented"] * _MIDLINE_MB, 0.1 * len(read)),
        _stage("coordinates", len(brains), sum(registered), _COORDINATES_S,
               most["registered"] * _COORDINATES_MB, 12 * sum(registered)),
        _stage("report", len(brains) + 1, len(read), _REPORT_S, 700, 0.1 * len(read)),
    ]  # fmt: skip
    return found


def _stage(
    name: str, jobs: int, size: float, seconds: float, memory_mb: float, disk_mb: float
) -> Stage:
    return Stage(name, jobs, jobs * _PROCESS_S + size * seconds, _PROCESS_MB + memory_mb, disk_mb)


def _pixels(it: Looked, spacing_um: float) -> float:
    """Million pixels of a section at a spacing."""
    assert it.found is not None
    full = it.found.levels[0]
    return full.height * full.width * (it.section.spacing_um / spacing_um) ** 2 / 1e6


def _voxels(rows: list[Looked], voxel_mm: float) -> float:
    """Million voxels of the box around a brain; scans are some wider than the brain."""
    sizes_mm = [
        (full.height * it.section.spacing_um / 1000, full.width * it.section.spacing_um / 1000)
        for it in rows
        if it.found is not None
        for full in [it.found.levels[0]]
    ]
    numbers = [it.section.section for it in rows]
    length_mm = (max(numbers) - min(numbers)) * rows[0].section.thickness_um / 1000
    height_mm, width_mm = (max(size) for size in zip(*sizes_mm, strict=True))
    edges = [max(edge, _SMALLEST_BOX_MM) for edge in (height_mm, width_mm, length_mm)]
    return math.prod(edge / voxel_mm for edge in edges) / 1e6


def look(study: Path, looked: list[Looked], config: Mapping[str, Any]) -> list[Finding]:
    """A row a stage, the sum, and whether memory and disk of this machine are enough."""
    found = stages(looked, config)
    findings = [
        Finding(
            NOTE,
            "estimate",
            f"{stage.name}: {stage.jobs} jobs, {hours(stage.seconds)} on one core, "
            f"{stage.memory_mb / 1000:.1f} GB of memory, {stage.disk_mb / 1000:.2f} GB of disk",
        )
        for stage in found
        if stage.jobs
    ]
    seconds = sum(stage.seconds for stage in found)
    needed_mb = sum(stage.disk_mb for stage in found)
    cores = os.cpu_count() or 1
    text = (
        f"up to the points: {hours(seconds)} on one core, {hours(seconds / cores)} on the {cores} "
        f"of this machine, {needed_mb / 1000:.1f} GB of disk; networks come on top"
    )
    findings.append(Finding(NOTE, "estimate", text))
    free_mb = shutil.disk_usage(study).free / _MB
    if needed_mb > free_mb:
        text = f"{needed_mb / 1000:.1f} GB are needed, {free_mb / 1000:.1f} GB are free"
        remedy = "free some, or put results/ on a larger disk (a link)"
        findings.append(Finding(ERROR, "disk", text, remedy))
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _MB
    most = max(found, key=lambda stage: stage.memory_mb)
    if most.memory_mb > memory_mb:
        text = (
            f"{most.name} needs {most.memory_mb / 1000:.1f} GB of memory, this machine has "
            f"{memory_mb / 1000:.1f}"
        )
        remedy = "run it on a larger one (snakemake --profile slurm), or take larger voxels"
        findings.append(Finding(WARNING, "memory", text, remedy))
    return findings


def hours(seconds: float) -> str:
    """A length of time for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
