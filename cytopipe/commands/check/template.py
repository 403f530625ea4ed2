"""Check that the template, its atlas and its mask are readable and in the same place."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cytopipe.commands.check.findings import ERROR, OK, WARNING, Finding, of_error
from cytopipe.files import InputError, require
from cytopipe.formats import atlas, volumes
from cytopipe.formats.volumes import Volume, labels_at
from cytopipe.study import masks

_SAMPLED = 200_000
# least share of an atlas on gray matter; maps extend beyond the cortex, and templates differ a
# little. Chosen, not measured
_MOSTLY = 0.5


def check_template(study: Path, config: Mapping[str, Any]) -> list[Finding]:
    """Read the files that the section `template` names, and compare their positions."""
    section = config["template"]
    paths = {key: study / section[key] for key in ("tissue", "atlas", "areas", "exclusion")
             if section[key] is not None}  # fmt: skip
    findings: list[Finding] = []
    try:
        for key, path in paths.items():
            require(path, f"correct template.{key} in config/config.yaml")
        tissue = volumes.read_tissue(paths["tissue"])
        size = " x ".join(f"{edge:.0f}" for edge in np.array(tissue.data.shape) * tissue.voxel_mm)
        white, gray = ((tissue.data == kind).sum() for kind in (2, 1))
        if not white or not gray:
            raise InputError(
                f"{paths['tissue']}: has no {'gray' if not gray else 'white'} matter; label gray "
                "matter 1 and white matter 2"
            )
        findings.append(Finding(OK, "template", f"{paths['tissue']}: {size} mm"))
        if "atlas" in paths:
            areas = atlas.read_atlas(paths["atlas"], paths["areas"])
            share = _inside(areas.labels, tissue)
            text = f"{paths['atlas']}: {len(areas.names)} areas, {100 * share:.0f} % on gray matter"
            findings.append(_judged(text, share))
        if "exclusion" in paths:
            segments = masks.read_mask(paths["exclusion"])
            drawn = [segment.labels for segment in segments]
            names = ", ".join(segment.name for segment in segments)
            share = min(_inside(labels, tissue, gray_only=False) for labels in drawn)
            text = f"{paths['exclusion']}: {names}, {100 * share:.0f} % on the template's tissue"
            findings.append(_judged(text, share))
    except InputError as error:
        findings.append(of_error(error, "template"))
    return findings


def _judged(text: str, share: float) -> Finding:
    if share == 0:
        remedy = "give volumes of one template: the two lie in different places"
        return Finding(ERROR, "template", text, remedy)
    if share < _MOSTLY:
        return Finding(WARNING, "template", text, "check that both are of the same template")
    return Finding(OK, "template", text)


def _inside(labels: Volume, tissue: Volume, gray_only: bool = True) -> float:
    """Share of the labelled voxels on the gray matter of the template, or on all its tissue."""
    indices = np.argwhere(labels.data > 0)
    if not len(indices):
        return 0.0
    points = labels.to_mm(indices[:: max(1, len(indices) // _SAMPLED)])
    matter = labels_at(tissue, points)
    return float((matter == 1 if gray_only else matter > 0).mean())
