"""Check that the template, its atlas and its mask are readable and in the same place."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cytopipe.files import InputError
from cytopipe.formats import atlas, volumes
from cytopipe.formats.volumes import Volume, labels_at
from cytopipe.study import masks
from cytopipe.study.consistency.template import FILES
from cytopipe.study.findings import ERROR, OK, WARNING, Finding, of_error

_SAMPLED = 200_000
# least share of an atlas on gray matter; maps extend beyond the cortex, and templates differ a
# little. Chosen, not measured
_MOSTLY = 0.5


def check_template(study: Path, config: Mapping[str, Any]) -> tuple[list[Finding], Volume | None]:
    """Read the files that the section `template` names, and compare their positions.

    Missing files are left to `consistency.template`.

    Returns
    -------
    The findings, and the tissue of the template if it can be read.
    """
    section = config["template"]
    paths = {key: study / section[key] for key in FILES
             if section[key] is not None and (study / section[key]).exists()}  # fmt: skip
    findings: list[Finding] = []
    tissue: Volume | None = None
    for key, path in paths.items():
        try:
            if key == "tissue":
                tissue = _tissue(path)
                size = " x ".join(f"{n:.0f}" for n in tissue.data.shape * tissue.voxel_mm)
                findings.append(Finding(OK, "template", f"{path}: {size} mm"))
            elif key == "atlas" and "areas" in paths:
                areas = atlas.read_atlas(path, paths["areas"])
                text = f"{path}: {len(areas.names)} areas"
                findings.append(_compared(text, [areas.labels], tissue, is_gray=True))
            elif key == "exclusion":
                segments = masks.read_mask(path)
                text = f"{path}: {', '.join(segment.name for segment in segments)}"
                drawn = [segment.labels for segment in segments]
                findings.append(_compared(text, drawn, tissue, is_gray=False))
        except InputError as error:
            findings.append(of_error(error, "template"))
    return findings, tissue


def length_mm(tissue: Volume) -> float:
    """Extent of a template's tissue from back to front."""
    return float(tissue.voxel_mm[1] * (tissue.data > 0).any(axis=(0, 2)).sum())


def _tissue(path: Path) -> Volume:
    tissue = volumes.read_tissue(path)
    white, gray = ((tissue.data == kind).sum() for kind in (2, 1))
    if not white or not gray:
        raise InputError(
            f"{path}: has no {'gray' if not gray else 'white'} matter; label gray matter 1 and "
            "white matter 2"
        )
    return tissue


def _compared(text: str, labels: list[Volume], tissue: Volume | None, is_gray: bool) -> Finding:
    """How much of the labels lies on the template's tissue, where that could be read."""
    if tissue is None:
        return Finding(OK, "template", text)
    share = min(_inside(volume, tissue, is_gray) for volume in labels)
    text += f", {100 * share:.0f} % on {'gray matter' if is_gray else 'its tissue'}"
    if share == 0:
        remedy = "give volumes of one template: the two lie in different places"
        return Finding(ERROR, "template", text, remedy)
    if share < _MOSTLY:
        return Finding(WARNING, "template", text, "check that both are of the same template")
    return Finding(OK, "template", text)


def _inside(labels: Volume, tissue: Volume, gray_only: bool) -> float:
    """Share of the labelled voxels on the gray matter of the template, or on all its tissue."""
    indices = np.argwhere(labels.data > 0)
    if not len(indices):
        return 0.0
    points = labels.to_mm(indices[:: max(1, len(indices) // _SAMPLED)])
    matter = labels_at(tissue, points)
    return float((matter == 1 if gray_only else matter > 0).mean())
