"""What a person laid down under manual/, and what a person is asked for."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from cytopipe.commands.check.findings import ERROR, NOTE, OK, WARNING, Finding, of_error
from cytopipe.commands.check.scans import Looked
from cytopipe.coordinates.chains import read_supplied_transforms
from cytopipe.files import InputError
from cytopipe.formats import transforms, volumes
from cytopipe.midsurface import SIDES
from cytopipe.midsurface.supplied_surfaces import ENDINGS, KINDS, name_of, read_supplied_surface
from cytopipe.segmentation import read_manual
from cytopipe.study import masks, transform_table
from cytopipe.study.corrections import corrected
from cytopipe.study.sections import Section

TISSUE = "tissue.nii.gz"
MASKS = ("exclusion.nii.gz", "exclusion.seg.nrrd")


def look(
    study: Path, sections: list[Section], looked: list[Looked], config: Mapping[str, Any]
) -> list[Finding]:
    """Every file under manual/: known by its name, readable, on the right grid."""
    brains = list(dict.fromkeys(section.brain for section in sections))
    findings = []
    for folder in sorted((study / "manual").glob("*")):
        if folder.name not in brains and not folder.name.startswith("."):
            remedy = f"name the folder by a brain ({', '.join(brains)}), or remove it"
            findings.append(Finding(WARNING, "manual", f"{folder}: there is no such brain", remedy))
    for brain in brains:
        own = [section for section in sections if section.brain == brain]
        shapes = _shapes(looked, brain, float(config["segmentation"]["spacing_um"]))
        findings += _of_brain(study, brain, own, shapes, config)
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
            findings.append(_segmentation(path, brain, shapes))
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
    findings += _ready_made(folder, brain)
    if (folder / given).exists():
        findings.append(_transform(folder / given, brain, config))
    return findings


def _chains(
    study: Path, brain: str, table: Path, sections: list[Section], config: Mapping[str, Any]
) -> tuple[list[Path], list[Finding]]:
    """The files that transforms.tsv names, and whether all that it says can be followed."""
    if not table.exists():
        return [], []
    settings = config["coordinates"]
    target = settings["anchoring_target"]
    named: list[Path] = []
    try:
        named = transform_table.files_of(table)
        found = read_supplied_transforms(
            table,
            brain,
            config["template"]["name"],
            study / target if target else None,
            settings["anchoring_axes"],
            {section.section for section in sections},
        )
    except InputError as error:
        return named, [of_error(error, "manual", brain)]
    own = len({*found.sections, *found.anchored})
    text = f"{table}: {'a transform of the brain, ' if found.whole else ''}{own} sections with one"
    return named, [Finding(OK, "manual", text, "", brain)]


def _ready_made(folder: Path, brain: str) -> list[Finding]:
    """Tissue and surfaces that take the place of ours; whether they fit the run will see."""
    findings = []
    if (folder / TISSUE).exists():
        try:
            found = volumes.read_tissue(folder / TISSUE)
            shape = " x ".join(map(str, found.data.shape))
            text = f"{folder / TISSUE}: takes the place of the stacked sections, {shape} voxels"
            findings.append(Finding(OK, "manual", text, "", brain))
        except InputError as error:
            findings.append(of_error(error, "manual", brain))
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


def _transform(path: Path, brain: str, config: Mapping[str, Any]) -> Finding:
    """A given transform: readable, with numbers, and not of the other hand."""
    moves = config["coordinates"]["given_moves"]
    try:
        found = transforms.read(path, brain, config["template"]["name"], moves)
    except InputError as error:
        return of_error(error, "manual", brain)
    # a field is not known outside its grid: the first of these points that it covers
    steps = np.concatenate([np.zeros((1, 3)), np.eye(3)])
    axes = [np.arange(-100.0, 101.0, 20.0)] * 3
    starts = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    moved = found((starts + steps).reshape(-1, 3)).reshape(-1, 4, 3)
    known = moved[np.isfinite(moved).all(axis=(1, 2))]
    if not len(known):
        text = f"{path}: gives no number for any point within 100 mm of the origin"
        remedy = "write the transform again; it takes the stack's RAS mm (ITK: LPS)"
        return Finding(ERROR, "manual", text, remedy, brain)
    hand = np.linalg.det(known[:, 1:] - known[:, :1])
    if np.median(hand) <= 0:
        text = f"{path}: left-handed, it turns the brain into its mirror image"
        remedy = "write it again; between LPS and RAS two axes change their sign, not one"
        return Finding(ERROR, "manual", text, remedy, brain)
    return Finding(OK, "manual", f"{path}: moves {moves}", "", brain)


def _shapes(looked: list[Looked], brain: str, spacing_um: float) -> dict[int, tuple[int, int]]:
    """Rows and columns of the labels of each section, as `Pyramid.read_at` makes them."""
    shapes = {}
    for it in looked:
        if it.section.brain == brain and it.found is not None:
            full = it.found.levels[0]
            factor = spacing_um / it.section.spacing_um
            shapes[it.section.section] = (
                int(np.floor(full.height / factor + 0.5)),
                int(np.floor(full.width / factor + 0.5)),
            )
    return shapes


def _segmentation(path: Path, brain: str, shapes: Mapping[int, tuple[int, int]]) -> Finding:
    number = path.name.removesuffix(".tif")
    section = int(number) if number.isdigit() and len(number) == 5 else -1
    if path.suffix != ".tif" or section not in shapes:
        return Finding(
            ERROR,
            "manual",
            f"{path}: there is no such section",
            "name it by the section's number, five digits, as 00420.tif",
            brain,
        )
    try:
        shape = _shape(path)
        labels = read_manual(path, shape)
    except InputError as error:
        return of_error(error, "manual", brain, section)
    # the exact size depends on the levels' rounding: a pixel more or less may be right
    rows, columns = shapes[section]
    if max(abs(labels.shape[0] - rows), abs(labels.shape[1] - columns)) > 1:
        return Finding(
            ERROR,
            "manual",
            f"{path}: is of shape {labels.shape}, the section's labels of {shapes[section]}",
            "correct a copy of the section's page of results/segmentation",
            brain,
            section,
        )
    return Finding(OK, "manual", f"{path}: {rows} x {columns} labels", "", brain, section)


def _shape(path: Path) -> tuple[int, ...]:
    try:
        with tifffile.TiffFile(path) as tif:
            return tuple(tif.series[0].shape)
    except (tifffile.TiffFileError, OSError, ValueError, IndexError) as error:
        raise InputError(f"{path}: not a readable TIFF ({error}); save it again") from error


def _mask(study: Path, brain: str, config: Mapping[str, Any]) -> Finding:
    """The mask of what is no cortex: there, readable, and on the brain where that is known."""
    folder = study / "manual" / brain
    found = [folder / name for name in MASKS if (folder / name).exists()]
    whole = study / "results" / "reconstruction" / brain / "whole.nii.gz"
    if len(found) > 1:
        text = f"{found[0]} and {found[1].name}: two masks"
        return Finding(ERROR, "mask", text, "delete one of them", brain)
    if not found:
        if config["study"]["missing_exclusion"] == "go_on":
            return Finding(NOTE, "mask", "no mask: all tissue stays", "", brain)
        return Finding(
            WARNING,
            "mask",
            f"{folder / MASKS[1]} (or .nii.gz): not there; the run stops at the reconstruction",
            f"draw it on {whole} once that is made (docs/new-brain.md), or set "
            "study.missing_exclusion to go_on",
            brain,
        )
    try:
        segments = masks.read_mask(found[0])
    except InputError as error:
        return of_error(error, "mask", brain)
    names = ", ".join(segment.name for segment in segments)
    if not whole.exists():
        return Finding(OK, "mask", f"{found[0]}: {names}", "", brain)
    tissue = volumes.read_tissue(whole)
    indices = np.argwhere(tissue.data > 0)
    points = tissue.to_mm(indices[:: max(1, len(indices) // 200_000)])
    share = float(np.any([segment.holds(points) for segment in segments], axis=0).mean())
    text = f"{found[0]}: {names}: leave out {100 * share:.1f} % of the tissue"
    if share == 0:
        return Finding(ERROR, "mask", text, f"draw it on {whole}", brain)
    if share > 0.6:
        remedy = "remove the segment of the cortex, or turn the mask around"
        return Finding(ERROR, "mask", text, remedy, brain)
    return Finding(OK, "mask", text, "", brain)
