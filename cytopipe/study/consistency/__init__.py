"""Whether the tables, the config and the files of a study fit one another, before any job runs.

Each comparison takes typed rows and the config, and returns findings. Snakemake's dry run makes
them, too, so they look at names, sizes and a few bytes of files, and open no image. What needs the
size of the scans or the template's voxels is compared by `cytopipe check` and `add-brain`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cytopipe.study.consistency import runs, scans, stacks, tasks, template
from cytopipe.study.declarations import Declarations
from cytopipe.study.findings import Finding
from cytopipe.study.sections import Section


@dataclass(frozen=True)
class Measured:
    """What `cytopipe check` learns from images.

    Attributes
    ----------
    scan_mm : median of the longer sides of the scans of each brain.
    template_mm : extent of the template's tissue from back to front; None without a template.
    """

    scan_mm: Mapping[str, float]
    template_mm: float | None


def of_tables(
    study: Path, config: Mapping[str, Any], sections: Sequence[Section], roles: Mapping[str, str]
) -> list[Finding]:
    """What makes every result wrong, whatever part of the workflow runs.

    Parameters
    ----------
    sections : with the decisions of a person (`corrections.corrected`).
    roles : of the brains.
    """
    findings = []
    for stack in stacks.stacks_of(sections):
        findings += impossible(stack) or stacks.check_spacing(stack, config)
    findings += scans.check_same_scans(study, sections)
    findings += template.check_name(study, config)
    findings += runs.check_names(config, roles)
    findings += tasks.check_tasks(config, roles, runs.annotation_files(study, config))
    return findings


def impossible(stack: stacks.BrainStack) -> list[Finding]:
    """An error if no brain has sections so thick, or is so long."""
    return stacks.check_thickness(stack) or stacks.check_longest(stack)


def of_later_stages(
    study: Path,
    config: Mapping[str, Any],
    sections: Sequence[Section],
    roles: Mapping[str, str],
    declared: Mapping[str, Declarations],
    measured: Measured | None = None,
) -> list[Finding]:
    """What the stages from the reconstruction on lack; a run that ends before may go on.

    Parameters
    ----------
    declared : what config/brains.tsv declares.
    measured : None if no image was opened.
    """
    findings = []
    settings = config["reconstruction"]
    for stack in stacks.stacks_of(sections):
        if impossible(stack):
            continue
        scan_mm = None if measured is None else measured.scan_mm.get(stack.brain)
        template_mm = None if measured is None else measured.template_mm
        strange = stacks.check_shape(stack, settings["voxel_mm"], scan_mm)
        if not strange and template_mm is not None:
            strange = stacks.compare_with_template(stack, template_mm)
        findings += strange
        # a volume of the lab's own takes the place of the stacked sections
        if not (study / "manual" / stack.brain / "tissue.nii.gz").exists():
            cuts = declared.get(stack.brain, Declarations()).cuts
            findings += stacks.check_gaps(stack, cuts, settings["max_gap_mm"])
    findings += template.check_files(study, config)
    files = runs.annotation_files(study, config)
    findings += runs.check_annotations(study, config, roles, files)
    findings += runs.check_networks(config, roles, files)
    return findings
