"""Estimate time, memory and disk of a run from measured seconds per pixel or voxel.

The rates were measured on the demo's phantom, on one core at about 3 GHz; the memory of large
volumes is what the rules request. A real study may differ by a factor of two. `networks` estimates
what follows the points.
"""

import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cytopipe.commands.check.scans import Scanned
from cytopipe.formats.images import Examination
from cytopipe.study.findings import ERROR, NOTE, WARNING, Finding
from cytopipe.study.sections import Section, chunk_of, needs_pyramid

_MB = 1e6
# CPU seconds, and MB above the 300 MB of a process, per million pixels or voxels
_COPY_S, _COPY_BYTES = 0.04, 0.8
# an Aperio file in JPEG took 0.048, a CZI in JPEG XR 0.057, of waves and noise (docs/images.md)
_CONVERT_S = 0.06
_RATES = {
    "segmentation": (0.4, 45.0),
    "alignment": (1.2, 60.0),
    "reconstruction": (0.2, 12.0),
    "midsurface": (10.0, 90.0),
    "midline": (0.5, 30.0),
    "coordinates": (40.0, 300.0),
}
_COPIES = "results/pyramids/*/*.ome.tif"
_REPORT_S = 0.16  # per section
_PROCESS_S, _PROCESS_MB = 2.0, 300
# compressed labels, tables and surfaces per pixel or voxel
_LABEL_BYTES, _VOXEL_BYTES = 0.05, 0.5
# a volume is at least this large in each direction
_SMALLEST_BOX_MM = 1.0

Scan = tuple[Section, Examination]


@dataclass(frozen=True)
class Stage:
    """The cost of a stage for all brains."""

    name: str
    jobs: int
    seconds: float  # of all jobs together on one core
    memory_mb: float  # of the largest job
    disk_mb: float  # of the results


def stages(scanned: list[Scanned], config: Mapping[str, Any]) -> list[Stage]:
    """Time, memory and disk of the stages up to the points, from the sizes of the scans."""
    scans = [(scan.section, scan.examination) for scan in scanned if scan.examination is not None]
    brains: dict[str, list[Scan]] = {}
    for section, scan in scans:
        brains.setdefault(section.brain, []).append((section, scan))
    span = config["study"]["chunk_span"]
    chunks = len({(section.brain, chunk_of(section.section, span)) for section, _ in scans})
    copied = [
        scan
        for section, scan in scans
        if needs_pyramid(section.image, section.levels, section.background)
    ]
    segmented = [_pixels(*scan, config["segmentation"]["spacing_um"]) for scan in scans]
    aligned = [_pixels(*scan, config["alignment"]["spacing_um"]) for scan in scans]
    volumes = [_voxels(scans, config["reconstruction"]["voxel_mm"]) for scans in brains.values()]
    registration_mm = config["coordinates"]["registration_mm"]
    registered = [_voxels(scans, registration_mm) for scans in brains.values()]
    voxels_mb = sum(volumes) * _VOXEL_BYTES
    table_mb = 0.1 * len(scans)
    pairs = config["alignment"]["neighbours"]
    return [
        copies(copied),
        _stage("segmentation", chunks, segmented, sum(segmented) * _LABEL_BYTES),
        _stage("alignment", chunks + len(brains), aligned, table_mb, pairs),
        _stage("reconstruction", 2 * len(brains), volumes, 2 * voxels_mb),
        _stage("midsurface", len(brains), volumes, 4 * voxels_mb),
        _stage("midline", chunks, segmented, table_mb),
        _stage("coordinates", len(brains), registered, 12 * sum(registered)),
        Stage(
            "report",
            len(brains) + 1,
            (len(brains) + 1) * _PROCESS_S + len(scans) * _REPORT_S,
            _PROCESS_MB + 700,
            table_mb,
        ),
    ]


def copies(scans: list[Examination]) -> Stage:
    """The cost of the copies that the pyramids stage makes."""
    pixels = [scan.levels[0].height * scan.levels[0].width / 1e6 for scan in scans]
    return Stage(
        "pyramids",
        len(scans),
        sum(
            size * (_CONVERT_S if scan.of_scanner else _COPY_S)
            for size, scan in zip(pixels, scans, strict=True)
        ),
        # one band at a time, but all of a PNG or JPEG
        4000 if scans else 0,
        sum(
            size * scan.dtype.itemsize * _COPY_BYTES * 4 / 3
            for size, scan in zip(pixels, scans, strict=True)
        ),
    )


def _stage(name: str, jobs: int, sizes: list[float], disk_mb: float, repeats: int = 1) -> Stage:
    """A stage that works `repeats` times on images or volumes of these sizes, in millions."""
    seconds, memory_mb = _RATES[name]
    return Stage(
        name,
        jobs,
        jobs * _PROCESS_S + repeats * sum(sizes) * seconds,
        _PROCESS_MB + max(sizes, default=0.0) * memory_mb,
        disk_mb,
    )


def _pixels(section: Section, scan: Examination, spacing_um: float) -> float:
    """Million pixels of a section at a spacing."""
    full = scan.levels[0]
    return full.height * full.width * (section.spacing_um / spacing_um) ** 2 / 1e6


def _voxels(scans: list[Scan], voxel_mm: float) -> float:
    """Million voxels of the box around a brain; scans are slightly wider than the brain."""
    numbers = [section.section for section, _ in scans]
    edges_mm = [
        max(scan.levels[0].height * section.spacing_um / 1000 for section, scan in scans),
        max(scan.levels[0].width * section.spacing_um / 1000 for section, scan in scans),
        (max(numbers) - min(numbers)) * scans[0][0].thickness_um / 1000,
    ]
    return math.prod(max(edge, _SMALLEST_BOX_MM) / voxel_mm for edge in edges_mm) / 1e6


def check_resources(
    study: Path, scanned: list[Scanned], config: Mapping[str, Any]
) -> list[Finding]:
    """One row per stage, the sum, and whether memory and disk of this machine suffice."""
    costs = stages(scanned, config)
    findings = [
        Finding(
            NOTE,
            "estimate",
            f"{stage.name}: {stage.jobs} jobs, {hours(stage.seconds)} on one core, "
            f"{stage.memory_mb / 1000:.1f} GB of memory, {stage.disk_mb / 1000:.2f} GB of disk",
        )
        for stage in costs
        if stage.jobs
    ]
    seconds = sum(stage.seconds for stage in costs)
    needed_mb = sum(stage.disk_mb for stage in costs)
    cores = os.cpu_count() or 1
    text = (
        f"up to the points: {hours(seconds)} on one core, {hours(seconds / cores)} on the {cores} "
        f"of this machine, {needed_mb / 1000:.1f} GB of disk; networks are not included here"
    )
    findings.append(Finding(NOTE, "estimate", text))
    free = free_mb(study)
    made_mb = sum(file.stat().st_size for file in study.glob(_COPIES)) / _MB
    needed_mb -= min(made_mb, *(stage.disk_mb for stage in costs if stage.name == "pyramids"))
    if needed_mb > free:
        text = f"{needed_mb / 1000:.1f} GB are needed, {free / 1000:.1f} GB are free"
        remedy = "free some, or link results/ to a larger disk"
        findings.append(Finding(ERROR, "disk", text, remedy))
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _MB
    most = max(costs, key=lambda stage: stage.memory_mb)
    if most.memory_mb > memory_mb:
        text = (
            f"{most.name} needs {most.memory_mb / 1000:.1f} GB of memory, this machine has "
            f"{memory_mb / 1000:.1f}"
        )
        remedy = "use a larger machine (snakemake --profile slurm) or larger voxels"
        findings.append(Finding(WARNING, "memory", text, remedy))
    return findings


def free_mb(study: Path) -> float:
    """Free disk for the results of a study, which its folder need not exist for."""
    results = study / "results"
    folder = next(path for path in (results, study, *study.absolute().parents) if path.exists())
    return shutil.disk_usage(folder).free / _MB


def hours(seconds: float) -> str:
    """A duration in seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
