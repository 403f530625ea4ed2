"""The study folder of the phantom: images, tables, template and the truth."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile
import yaml
from numpy.typing import NDArray

from cytopipe import logs, threads
from cytopipe.files import InputError, atomic_write
from cytopipe.formats import images, surfaces, tables, volumes
from cytopipe.numerics.geometry import Floats, ras_to_stack
from cytopipe.numerics.slicing import plane_segments
from cytopipe.phantom.anatomy import (
    add_callosum,
    area_names,
    area_volume,
    load_hemispheres,
    padded_around,
    parcel_distances,
    tissue_volume,
)
from cytopipe.phantom.annotating import annotate
from cytopipe.phantom.brain import Brain, Template, dissect, make_brain, template_coordinates
from cytopipe.phantom.cytoarchitecture import individual_areas, make_areas, unequal_areas
from cytopipe.phantom.damage import SectionDamage, draw_damage, draw_tear
from cytopipe.phantom.deep import STRUCTURES, excluded, label_whole, place_structures
from cytopipe.phantom.handling import (
    ScannedSection,
    canvas_size,
    cut_by_edge,
    draw_conditions,
    draw_placement,
    exclude,
)
from cytopipe.phantom.rendering import render
from cytopipe.phantom.shaping import centred, shaped
from cytopipe.phantom.slide import draw_marks
from cytopipe.phantom.structure import stream
from cytopipe.phantom.window import Window
from cytopipe.study.config import Phantom
from cytopipe.study.consistency.template import RECORD

# of the template, in the presets
NAME = "phantom"


def run(*, study: Path, params: Phantom) -> None:
    """Make the study: images, sections.tsv, brains.tsv, template, annotations, truth.

    truth/truth.yaml is written last. If it exists and lists the same parameters, nothing is done.

    Raises
    ------
    InputError
        If the folder contains a phantom with other parameters.
    """
    record = study / "truth" / "truth.yaml"
    content = yaml.safe_dump(_record(params))
    if record.exists():
        if yaml.safe_load(record.read_text()) == yaml.safe_load(content):
            logs.info(f"{study}: the phantom is complete, nothing to do")
            return
        raise InputError(
            f"{record}: this study contains a phantom with other parameters; remove the folders "
            f"images, template, annotations and truth of {study}, or choose another folder"
        )
    threads.use(1)
    template = make_template(study / "template", params)
    make = partial(_make_brain, study, template, params)
    if params.workers > 1:
        # spawned processes inherit neither threads nor caches
        with ProcessPoolExecutor(params.workers, get_context("spawn"), _start_worker) as pool:
            tables_of_brains = list(pool.map(make, params.brains))
    else:
        tables_of_brains = list(map(make, params.brains))
    sections, layer_patches = zip(*tables_of_brains, strict=True)
    sheet = pd.concat(sections)
    _write_tsv(sheet, study / "config" / "sections.tsv")
    if params.layer_patches:
        layers = pd.concat(layer_patches)
        _write_tsv(layers, study / "annotations" / "layers" / "layers.tsv")
    roles = pd.DataFrame(params.brains.items(), columns=["brain", "role"])
    _write_tsv(roles, study / "config" / "brains.tsv")
    with atomic_write(record) as beside:
        beside.write_text(content)
    logs.info(f"{study}: {len(params.brains)} phantom brains, {len(sheet)} sections")


def _start_worker() -> None:
    logs.configure(None)
    threads.use(1)


def _record(params: Phantom) -> dict[str, object]:
    from cytopipe.phantom import VERSION

    return {
        "truth_spacing_um": params.truth_spacing_um,
        "coordinates_spacing_um": params.coordinates_spacing_um,
        "version": VERSION,
        "phantom": params.content(),
    }


def _write_tsv(frame: pd.DataFrame, path: Path) -> None:
    with atomic_write(path) as beside:
        frame.to_csv(beside, sep="\t", index=False)


def make_template(folder: Path, params: Phantom) -> Template:
    """Write the volumes and the table of the template; return the template."""
    logs.info("phantom: template and areas")
    hemispheres = load_hemispheres(params.surfaces)
    if params.surfaces == "pycortex":
        hemispheres = centred(hemispheres)
    hemispheres = shaped(hemispheres, params.geometry)
    distances = parcel_distances(hemispheres, params.areas)
    coarse = tissue_volume(hemispheres, params.template_voxel_mm)
    add_callosum(coarse, _unmoved, _unmoved, params)
    record = f"{RECORD}{NAME}"
    volumes.write(area_volume(hemispheres, distances, coarse, 1), folder / "atlas.nii.gz", record)
    _write_tsv(area_names(params.areas), folder / "areas.tsv")
    # the sections take their areas from finer voxels than those of the atlas
    fine = tissue_volume(hemispheres, params.template_voxel_mm / 2)
    deep = None
    if params.geometry.deep_structures:
        deep = place_structures(fine, params.geometry.scale)
        whole = padded_around(coarse, deep.rim)
        labels, numbers = label_whole(whole, _unmoved, deep)
        whole = volumes.Volume(labels, whole.affine)
        volumes.write(whole, folder / "tissue.nii.gz", record)
        volumes.write(excluded(whole, numbers), folder / "exclusion.nii.gz", record)
    else:
        volumes.write(coarse, folder / "tissue.nii.gz", record)
    return Template(
        hemispheres,
        area_volume(hemispheres, distances, fine, 2),
        make_areas(params.seed, params.areas, params.area_contrast),
        deep,
    )


def _unmoved(points_mm: Floats) -> Floats:
    return points_mm


def _make_brain(
    study: Path, template: Template, params: Phantom, name: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make one brain; return its rows of sections.tsv and of layers.tsv."""
    logs.info(f"phantom: brain {name}, surfaces and depth")
    return write_brain(study, template, make_brain(name, template, params))


def write_brain(study: Path, template: Template, brain: Brain) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write images, truth and annotations of a brain; return its rows of the two tables."""
    params, name = brain.params, brain.name
    own = individual_areas(template.areas, stream(params.seed, name, 10), params.individuality)
    own = unequal_areas(own, stream(params.seed, name, 11), params.staining.density)
    template = replace(template, areas=own)
    truth = study / "truth" / name
    _write_anatomy(brain, truth)
    sections = scan_sections(brain)
    rows = []
    for section in logs.progress(sections, len(sections), f"phantom: sections of {name}"):
        if section.condition == "missing":
            continue
        image = Path("images") / name / f"{name}_{section.section:05d}.ome.tif"
        _write_truth_pages(brain, template, section, truth)
        images.write_pyramid_by_windows(
            partial(render, brain, template, section),
            (section.rows, section.columns),
            study / image,
            params.spacing_um,
            params.coarsest_um,
            dtype=np.uint8 if params.slide.bits == 8 else np.uint16,
        )
        row = (name, section.section, str(image), params.spacing_um, params.thickness_um)
        rows.append((*row, int(section.condition == "excluded")))
    rows_of_truth = [_truth_row(brain, section) for section in sections]
    tables.write_rows(tables.TruthSectionRow, rows_of_truth, truth / "sections.parquet")
    logs.info(f"phantom: annotations of {name}")
    columns = ["brain", "section", "image", "spacing_um", "thickness_um", "excluded"]
    sheet = pd.DataFrame(rows, columns=columns)
    layer_patches = annotate(brain, template, sections, study / "annotations")
    return sheet if sheet["excluded"].any() else sheet[columns[:-1]], layer_patches


def scan_sections(brain: Brain) -> list[ScannedSection]:
    """All sections of a brain from the occipital pole on, as they lie on the slides."""
    params = brain.params
    outline = ras_to_stack(brain.outline, params.image_right)
    step_um = params.section_step * params.thickness_um
    first, last = (int(end // step_um) for end in (outline[:, 2].min(), outline[:, 2].max()))
    numbers = params.section_step * np.arange(first + 1, last + 1)
    if params.handling.slab_mm is not None:
        low, high = params.handling.slab_mm
        z_mm = numbers * params.thickness_um / 1000
        numbers = numbers[(low <= z_mm) & (z_mm <= high)]
    conditions, mirrored = draw_conditions(stream(params.seed, brain.name, 6), len(numbers), params)
    exclude(conditions, numbers.tolist(), params)
    plane = outline[:, :2]
    canvas = canvas_size(plane, params)
    centre = (plane.min(0) + plane.max(0)) / 2
    return [
        _scan_section(brain, number, condition, bool(flipped), centre, canvas)
        for number, condition, flipped in zip(numbers.tolist(), conditions, mirrored, strict=True)
    ]


def _scan_section(
    brain: Brain, number: int, condition: str, mirrored: bool, centre: Floats, canvas: Floats
) -> ScannedSection:
    """One section as it lies on the slide, with its damage and the marks of its scan."""
    params = brain.params
    rng = stream(params.seed, brain.name, 7, number)
    z_um = number * params.thickness_um
    name = f"{brain.name}/{number:05d}"
    rigid, rows, columns = draw_placement(rng, centre, canvas, name, params)
    pial, white = (_contours(brain, z_um, kind) for kind in ("pial", "white"))
    rim = pial.mean(1)
    # streams of their own: what one disturbance draws does not change another
    damage = draw_damage(
        stream(params.seed, brain.name, 24, number), pial, white, z_um, params.damage
    )
    if condition == "torn":
        damage = SectionDamage(tear=draw_tear(rng, rim, params.torn_share))
    elif condition == "good" and damage.is_any:
        condition = "damaged"
    section = ScannedSection(
        number, condition, mirrored, z_um, rigid, rows, columns, params.spacing_um, damage
    )
    section = cut_by_edge(stream(params.seed, brain.name, 25, number), section, rim, params)
    marks = draw_marks(
        stream(params.seed, brain.name, 26, number),
        section.as_scanned(rim),
        (section.width_um, section.height_um),
        params.slide,
        params.damage.bubbles,
    )
    return replace(section, marks=marks)


def _contours(brain: Brain, z_um: float, kind: str) -> Floats:
    """Segments (n, 2, 2) of the cut of the pial or white surfaces by a section, in stack um."""
    side = brain.params.image_right
    return np.concatenate(
        [
            plane_segments(ras_to_stack(h.surface(kind).vertices, side), h.faces, z_um)
            for h in brain.hemispheres
        ]
    )


def _write_anatomy(brain: Brain, folder: Path) -> None:
    """Write volumes and surfaces; a missing block is background, and its cortex has no thickness.

    structures.nii.gz numbers the deep structures as structures.tsv does. exclusion.nii.gz is what a
    person would mark.
    """
    tissue = brain.cut_tissue()
    volumes.write(tissue, folder / "tissue.nii.gz")
    depth = np.where(tissue.data == 1, brain.depth.data, np.nan).astype(np.float32)
    volumes.write(volumes.Volume(depth, tissue.affine), folder / "depth.nii.gz")
    if brain.deep is not None:
        # every second voxel is fine enough for a mask that people draw
        half = volumes.Volume(
            brain.tissue.data[::2, ::2, ::2], brain.tissue.affine @ np.diag([2.0, 2, 2, 1])
        )
        whole = padded_around(half, brain.bend.to_stack(brain.deep.rim))
        labels, numbers = label_whole(whole, brain.bend.to_template, brain.deep)
        volumes.write(volumes.Volume(numbers, whole.affine), folder / "structures.nii.gz")
        mask = excluded(volumes.Volume(labels, whole.affine), numbers)
        volumes.write(mask, folder / "exclusion.nii.gz")
        rows = [(n, s.name, s.excluded) for n, s in enumerate(STRUCTURES, start=1)]
        _write_tsv(
            pd.DataFrame(rows, columns=["number", "name", "excluded"]), folder / "structures.tsv"
        )
    kinds = (("pial", "Pial"), ("white", "GrayWhite"), ("mid", "MidThickness"))
    for hemisphere in brain.hemispheres:
        lost = brain.lacks(hemisphere.pial)[:, None]
        hemisphere = replace(hemisphere, pial=np.where(lost, hemisphere.white, hemisphere.pial))
        for kind, secondary in kinds:
            surfaces.write(
                hemisphere.surface(kind),
                folder / f"hemi-{hemisphere.side}_{kind}.surf.gii",
                hemisphere.side,
                secondary,
            )


def _write_truth_pages(
    brain: Brain, template: Template, section: ScannedSection, folder: Path
) -> None:
    """Write the anatomy of each pixel of a scan, and its template coordinates."""
    params = brain.params
    window = section.whole(params.truth_spacing_um)
    tissue = dissect(brain, template, window, section)
    depth = tissue.depth.astype(np.float16)
    pages: list[NDArray[Any]] = [tissue.labels, tissue.area, tissue.layer, depth]
    if brain.deep is not None:
        pages.append(tissue.structure)
    _write_pages(pages, folder / f"{section.section:05d}.tif")
    grid = section.whole(params.coordinates_spacing_um)
    at = _section_coordinates(brain, section, grid)
    _write_pages(
        list(np.moveaxis(at, -1, 0).astype(np.float32)),
        folder / f"coordinates-{section.section:05d}.tif",
    )


def _section_coordinates(brain: Brain, section: ScannedSection, grid: Window) -> Floats:
    """Template RAS mm (rows, columns, 3) of what each pixel of a section shows, or of its place."""
    rows, columns = np.arange(grid.rows), np.arange(grid.columns)
    (_, shown), *others = section.damage.layers(grid)
    at = template_coordinates(brain, grid, rows, columns)
    for origin, pixels in others:
        moved = pixels & ~shown
        at[moved] = template_coordinates(brain, origin, rows, columns)[moved]
        shown |= pixels
    return at


def _write_pages(pages: Sequence[NDArray[Any]], path: Path) -> None:
    with atomic_write(path) as beside, tifffile.TiffWriter(beside) as tif:
        for page in pages:
            tif.write(page, compression="zlib", photometric="minisblack", metadata=None)


def _truth_row(brain: Brain, section: ScannedSection) -> tables.TruthSectionRow:
    return tables.TruthSectionRow(
        brain=brain.name,
        section=section.section,
        condition=section.condition,
        mirrored=section.mirrored,
        z_um=section.z_um,
        **tables.rigid_columns(section.rigid),
        width_um=section.width_um,
        height_um=section.height_um,
        full_spacing_um=section.spacing_um,
        image_right=brain.params.image_right,
    )
