"""Files that people put into manual/, and those that they are asked for."""

import itertools
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cytopipe.commands.check.placing import BrainPlace, check_sections
from cytopipe.commands.check.scans import Scanned
from cytopipe.coordinates.chains import read_supplied_transforms
from cytopipe.files import InputError
from cytopipe.formats import transforms, volumes
from cytopipe.formats.volumes import Volume
from cytopipe.midsurface import SIDES
from cytopipe.midsurface.supplied_surfaces import ENDINGS, KINDS, name_of, read_supplied_surface
from cytopipe.segmentation import read_manual
from cytopipe.study import masks, transform_table
from cytopipe.study.corrections import corrected
from cytopipe.study.findings import (
    ABOUT_A_FILE,
    NOTE,
    OK,
    WARNING,
    Finding,
    of_check,
    of_error,
)
from cytopipe.study.sections import Section

TISSUE = "tissue.nii.gz"
MASKS = ("exclusion.nii.gz", "exclusion.seg.nrrd")


def check_manual(
    study: Path,
    sections: list[Section],
    scanned: list[Scanned],
    config: Mapping[str, Any],
    template: Volume | None,
) -> list[Finding]:
    """Check the name, readability and grid of every file under manual/.

    Parameters
    ----------
    template : tissue of the template; None if there is none, or if it cannot be read.
    """
    brains = list(dict.fromkeys(section.brain for section in sections))
    findings = []
    for folder in sorted((study / "manual").glob("*")):
        if folder.name not in brains and not folder.name.startswith("."):
            remedy = f"name the folder by a brain ({', '.join(brains)}), or remove it"
            findings.append(Finding(WARNING, "manual", f"{folder}: there is no such brain", remedy))
    for brain in brains:
        own = [section for section in sections if section.brain == brain]
        shapes = _shapes(scanned, brain, float(config["segmentation"]["spacing_um"]))
        findings += _of_brain(study, brain, own, shapes, config)
        try:
            findings += _placed(study, brain, own, scanned, config, template)
        except ABOUT_A_FILE as error:
            findings.append(of_error(error, "manual", brain))
    return findings


def _of_brain(
    study: Path,
    brain: str,
    sections: list[Section],
    shapes: Mapping[int, tuple[int, int]],
    config: Mapping[str, Any],
) -> list[Finding]:
    folder = study / "manual" / brain
    template = config["template"]["name"]
    given = f"to-{template}{config['coordinates']['given_suffix']}"
    table = folder / transform_table.NAME
    chained, findings = _chains(study, brain, table, sections, config)
    surfaces = [name_of(*it) for it in itertools.product(SIDES, KINDS, ENDINGS)]
    known = ("sections.tsv", TISSUE, *MASKS, given, transform_table.NAME, *surfaces)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or path.name.startswith("."):
            continue
        if name.startswith("segmentation/"):
            number = path.stem if path.suffix == ".tif" and len(path.stem) == 5 else ""
            section = int(number) if re.fullmatch("[0-9]+", number) else -1
            labels = partial(_segmentation, path, section, shapes)
            findings.append(of_check(labels, "manual", brain, section if section in shapes else ""))
        elif name not in known and path not in chained:
            named = ", ".join(
                [*known[: -len(surfaces)], "hemi-{L,R}_{mid,pial,white}{.surf.gii,.obj}"]
            )
            remedy = f"known are {named} and segmentation/00420.tif"
            findings.append(Finding(WARNING, "manual", f"{path}: is not read", remedy, brain))
    try:
        decided = corrected(sections, study / "manual")
        changed = [s.section for s, was in zip(decided, sections, strict=True) if s != was]
        if changed:
            text = f"{folder / 'sections.tsv'}: {len(changed)} sections corrected"
            findings.append(Finding(OK, "manual", text, "", brain))
    except InputError as error:
        findings.append(of_error(error, "manual", brain))
    findings.append(_mask(study, brain, config))
    findings += _supplied(folder, brain)
    if (folder / given).exists():
        transform = partial(_transform, folder / given, brain, config)
        findings.append(of_check(transform, "manual", brain))
    return findings


def _chains(
    study: Path, brain: str, table: Path, sections: list[Section], config: Mapping[str, Any]
) -> tuple[list[Path], list[Finding]]:
    """The files that transforms.tsv names, and whether its transforms can be read."""
    if not table.exists():
        return [], []
    settings = config["coordinates"]
    target = settings["anchoring_target"]
    named: list[Path] = []
    try:
        named = transform_table.files_of(table)
        chains = read_supplied_transforms(
            table,
            brain,
            config["template"]["name"],
            study / target if target else None,
            settings["anchoring_axes"],
            {section.section for section in sections},
        )
    except InputError as error:
        return named, [of_error(error, "manual", brain)]
    own = len({*chains.sections, *chains.anchored})
    text = f"{table}: {'a transform of the brain, ' if chains.whole else ''}{own} sections with one"
    return named, [Finding(OK, "manual", text, "", brain)]


def _placed(
    study: Path,
    brain: str,
    sections: list[Section],
    scanned: list[Scanned],
    config: Mapping[str, Any],
    template: Volume | None,
) -> list[Finding]:
    """Errors of supplied transforms that put the brain outside the template."""
    folder, settings = study / "manual" / brain, config["coordinates"]
    name = config["template"]["name"]
    given, table = folder / f"to-{name}{settings['given_suffix']}", folder / transform_table.NAME
    if template is None or not (given.exists() or table.exists()):
        return []
    place = BrainPlace(study, brain, scanned, config["study"]["image_right"])
    checks = []
    try:
        if given.exists():
            whole = transforms.read(given, brain, name, settings["given_moves"])
            checks.append(partial(place.check, whole, template, str(given)))
        if table.exists():
            target = settings["anchoring_target"]
            chains = read_supplied_transforms(
                table,
                brain,
                name,
                study / target if target else None,
                settings["anchoring_axes"],
                {section.section for section in sections},
            )
            if chains.whole is not None:
                checks.append(partial(place.check, chains.whole, template, str(table)))
            checks.append(partial(check_sections, chains, place, template, table))
    except InputError:  # said already
        return []
    findings = []
    for check in checks:
        try:
            check()
        except InputError as error:
            findings.append(of_error(error, "manual", brain))
    return findings


def _supplied(folder: Path, brain: str) -> list[Finding]:
    """Supplied tissue and surfaces; the run itself checks whether they fit."""
    findings = []
    if (folder / TISSUE).exists():
        findings.append(of_check(partial(_tissue, folder / TISSUE), "manual", brain))
    paths = sorted(folder.glob("hemi-*"))
    for side in SIDES:
        try:
            ready = read_supplied_surface(paths, side)
        except InputError as error:
            findings.append(of_error(error, "manual", brain))
            continue
        if ready is not None:
            text = f"{folder}: hemisphere {side}: {ready[0].status}"
            findings.append(Finding(OK, "manual", text, "", brain))
    return findings


def _tissue(path: Path) -> str:
    shape = " x ".join(map(str, volumes.read_tissue(path).data.shape))
    return f"{path}: takes the place of the stacked sections, {shape} voxels"


def _transform(path: Path, brain: str, config: Mapping[str, Any]) -> str:
    """Check that a supplied transform is readable and preserves handedness."""
    moves = config["coordinates"]["given_moves"]
    transform = transforms.read(path, brain, config["template"]["name"], moves)
    # a displacement field is known on its grid only: use the points that it covers
    steps = np.concatenate([np.zeros((1, 3)), np.eye(3)])
    axes = [np.arange(-100.0, 101.0, 20.0)] * 3
    starts = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    moved = transform((starts + steps).reshape(-1, 3)).reshape(-1, 4, 3)
    known = moved[np.isfinite(moved).all(axis=(1, 2))]
    if not len(known):
        raise InputError(
            f"{path}: gives no number for any point within 100 mm of the origin; "
            "write the transform again; it takes the stack's RAS mm (ITK: LPS)"
        )
    if np.median(np.linalg.det(known[:, 1:] - known[:, :1])) <= 0:
        raise InputError(
            f"{path}: left-handed, it turns the brain into its mirror image; "
            "write it again; between LPS and RAS two axes change their sign, not one"
        )
    return f"{path}: moves {moves}"


def _shapes(scanned: list[Scanned], brain: str, spacing_um: float) -> dict[int, tuple[int, int]]:
    """Rows and columns of the labels of each section, as `Pyramid.read_at` makes them."""
    shapes = {}
    for scan in scanned:
        if scan.section.brain == brain and scan.examination is not None:
            full = scan.examination.levels[0]
            factor = spacing_um / scan.section.spacing_um
            shapes[scan.section.section] = (
                int(np.floor(full.height / factor + 0.5)),
                int(np.floor(full.width / factor + 0.5)),
            )
    return shapes


def _segmentation(path: Path, section: int, shapes: Mapping[int, tuple[int, int]]) -> str:
    if section not in shapes:
        raise InputError(
            f"{path}: there is no such section; name it by the section's number, five digits, as "
            "00420.tif"
        )
    labels = read_manual(path)
    # the exact size depends on how the levels were rounded: allow a difference of one pixel
    rows, columns = shapes[section]
    if max(abs(labels.shape[0] - rows), abs(labels.shape[1] - columns)) > 1:
        raise InputError(
            f"{path}: has the shape {labels.shape}, the section's labels have {shapes[section]}; "
            "correct a copy of the section's page of results/segmentation"
        )
    return f"{path}: {rows} x {columns} labels"


def _mask(study: Path, brain: str, config: Mapping[str, Any]) -> Finding:
    """Check the mask of everything that is not cortex, and its position if the volume exists."""
    folder = study / "manual" / brain
    paths = [folder / name for name in MASKS if (folder / name).exists()]
    whole = study / "results" / "reconstruction" / brain / "whole.nii.gz"
    if paths:
        return of_check(partial(_drawn_mask, paths, whole), "mask", brain)
    if config["study"]["missing_exclusion"] == "go_on":
        return Finding(NOTE, "mask", "no mask: all tissue stays", "", brain)
    if config["study"]["missing_exclusion"] == "truth":
        return Finding(NOTE, "mask", "no mask: that of the ground truth is used", "", brain)
    return Finding(
        WARNING,
        "mask",
        f"{folder / MASKS[1]} (or .nii.gz): not there; the run stops at the reconstruction",
        f"draw it on {whole} when that exists (docs/new-brain.md), or set "
        "study.missing_exclusion to go_on",
        brain,
    )


def _drawn_mask(paths: list[Path], whole: Path) -> str:
    path, *others = paths
    if others:
        raise InputError(f"{path} and {others[0].name}: two masks; delete one of them")
    segments = masks.read_mask(path)
    names = ", ".join(segment.name for segment in segments)
    if not whole.exists():
        return f"{path}: {names}"
    tissue = volumes.read_tissue(whole)
    indices = np.argwhere(tissue.data > 0)
    points = tissue.to_mm(indices[:: max(1, len(indices) // 200_000)])
    share = float(np.any([segment.holds(points) for segment in segments], axis=0).mean())
    text = f"{path}: {names}: removes {100 * share:.1f} % of the tissue"
    if share == 0:
        raise InputError(f"{text}; draw it on {whole}")
    if share > 0.6:
        raise InputError(f"{text}; remove the segment of the cortex, or invert the mask")
    return text
