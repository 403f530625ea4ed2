"""Template coordinates of all points of a brain, and the area of an atlas at each.

CytoNet paper, section 3.4: spatial proximity is measured in a common reference space. A transform
that a lab already has is used as it is; otherwise the reconstruction is registered to the template.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from cytopipe import logs, provenance
from cytopipe.coordinates import checks as checking
from cytopipe.coordinates.atlas import area_at
from cytopipe.coordinates.chains import Given, of_section, read_given
from cytopipe.coordinates.direction import (
    affine_part,
    check_hemispheres,
    check_landmarks,
    check_overlap,
    overlap,
)
from cytopipe.coordinates.proposal import carried
from cytopipe.coordinates.template_registration import Registration, register
from cytopipe.coordinates.uncertainty import sigma_mm
from cytopipe.files import InputError, Output
from cytopipe.formats import tables, transforms, volumes
from cytopipe.formats.atlas import read_atlas
from cytopipe.formats.transforms import PointTransform, affine_transform, has_inverted_field
from cytopipe.formats.volumes import Volume, regular_affine
from cytopipe.numerics import chain as frames
from cytopipe.numerics.chain import Chain
from cytopipe.numerics.geometry import Floats, ImageRight, stack_to_ras
from cytopipe.study import masks
from cytopipe.study.config import Coordinates

VERSION = 3


@provenance.recorded
def run(
    *,
    brain: str,
    image_right: ImageRight,
    midlines: list[Path],
    stack: Path,
    tissue: Path,
    template_name: str,
    template: Path,
    atlas: Path | None,
    areas: Path | None,
    supplied_transform: Path | None,
    chains: list[Path],
    anchoring_target: Path | None,
    transform: Output,
    affine: Output,
    checks: Output,
    points: Output,
    params: Coordinates,
) -> None:
    """Write a brain's transform to the template and its points with their coordinates.

    Parameters
    ----------
    image_right : side of the brain at the right of an unmirrored image.
    midlines : tables (MidlineRow) of the brain's chunks, in order.
    stack : the brain's table (StackRow), for the error of each section's place.
    tissue, template : label volumes (0 background, 1 gray, 2 white) in stack and template RAS mm.
    template_name : name of the template space.
    atlas, areas : label volume in the template space and the table of its labels, or None.
    supplied_transform : a ready-made transform (`formats.transforms.read`), or None to register.
    chains : table of ready-made transforms (`study.transform_table`) and the files that it names,
        or nothing.
    anchoring_target : the volume whose voxels the anchorings count, or None.
    transform : ITK composite to write. It moves POINTS from the stack to the template (in ITK's
        LPS); to resample the stack's images on the template its inverse is needed.
    affine : the same for its affine part alone, a measure of what the rest is worth.
    checks : table to write (CheckRow): is the way to the template sound.
    points : table to write (PointRow), last.

    Raises
    ------
    InputError
        If the transform exchanges left and right, front and back or top and bottom, or overlaps
        the brains less than its affine part or its inverse do; if a table of transforms is none.
    """
    brain_tissue, goal = volumes.read_tissue(tissue), volumes.read_tissue(template)
    if not (brain_tissue.data > 0).any():
        raise InputError(f"{tissue}: holds no tissue; look at the reconstruction's log")
    places = {row.section: row for row in tables.read_rows(tables.StackRow, stack)}
    laid_down = Given()
    if chains:
        known = set(places)
        laid_down = read_given(
            chains[0], brain, template_name, anchoring_target, params.anchoring_axes, known
        )
        if supplied_transform is not None and laid_down.whole is not None:
            raise InputError(
                f"{supplied_transform} and {chains[0]} both define the transform of the "
                "whole brain; remove one"
            )
    if laid_down.whole is not None:
        logs.info(f"{brain}: using {chains[0]}")
        found = _usable(laid_down.whole, brain_tissue, brain, template_name, params)
        remedy = f"correct {chains[0]}"
    elif supplied_transform is not None:
        logs.info(f"{brain}: using {supplied_transform}, which moves {params.given_moves}")
        full = transforms.read(supplied_transform, brain, template_name, params.given_moves)
        found = _usable(full, brain_tissue, brain, template_name, params)
        remedy = f"set coordinates.given_moves to the other value, or correct {supplied_transform}"
    else:
        logs.info(f"{brain}: registering to {template_name} at {params.registration_mm:g} mm")
        found = register(
            brain_tissue, goal, brain, template_name, params.registration_mm, params.seed
        )
        remedy = "check study.image_right in config/config.yaml and the section numbers"
    check_landmarks(found.full, brain_tissue, remedy)
    dice = {
        name: overlap(it, brain_tissue, goal)
        for name, it in (
            ("transform", found.full),
            ("affine", found.affine),
            ("inverse", found.full.inverse()),
        )
    }
    for name, value in dice.items():
        logs.info(f"{brain}: Dice with {name}: gray {value.gray:.3f}, white {value.white:.3f}")
    check_overlap(dice["transform"], dice["affine"], dice["inverse"], f"{brain} to {template_name}")

    midline = pd.concat(
        [tables.read(tables.MidlineRow, path) for path in midlines], ignore_index=True
    )
    ways = {
        number: of_section(places[number], 1.0, image_right, found.full, laid_down).since(
            frames.section(f"{brain}/{number}")
        )
        for number in sorted({*laid_down.sections, *laid_down.anchored})
        if places[number].is_placed or number in laid_down.anchored
    }
    frame = points_of_brain(midline, found.full, image_right, ways)
    check_hemispheres(_template_mm(frame), frame["hemisphere"].to_numpy(str), remedy)
    # an anchored plane does not depend on the stack
    sigma_um = {
        number: 0.0 if number in laid_down.anchored else place.sigma_um
        for number, place in places.items()
    }
    frame["sigma_mm"] = sigma_mm(
        _template_mm(frame),
        frame["hemisphere"].to_numpy(str),
        goal,
        frame["section"].map(sigma_um).to_numpy(np.float64) / 1000,
    )
    if atlas is not None and areas is not None:
        frame["area"], frame["area_probability"] = area_at(
            read_atlas(atlas, areas),
            _template_mm(frame),
            frame["hemisphere"].to_numpy(str),
            params.atlas_sigma_mm,
            params.atlas_reach_mm,
        )
    logs.info(f"{brain}: {len(frame)} points {frame['status'].value_counts().to_dict()}")
    judged = checking.checks_of(
        brain, found.full, ways, laid_down, brain_tissue, goal, frame, image_right,
        dice["transform"],
    )  # fmt: skip
    for row in judged:
        if row.has_failed:
            logs.info(f"{brain}: check failed: {row.check}: {row.value:.3g}, {row.limit}")
    transforms.write(found.full, transform)
    transforms.write(found.affine, affine)
    tables.write_rows(tables.CheckRow, judged, checks)
    tables.write(tables.PointRow, frame, points)


@provenance.recorded
def run_proposal(
    *,
    brain: str,
    volume: Path,
    template: Path,
    exclusion: Path,
    proposed: Output,
    params: Coordinates,
) -> None:
    """Write what a template marks as no cortex on the grid of a brain, for a person to correct.

    Parameters
    ----------
    volume, template : label volumes (0 background, 1 gray, 2 white) of the whole brain in stack
        and template RAS mm.
    exclusion : mask in template RAS mm (`formats.masks`), all of whose segments count.
    proposed : written: 1 where the brain's tissue lies in them.

    Raises
    ------
    InputError
        If one of the volumes is none, or the mask marks nothing of this brain.
    """
    tissue = volumes.read_tissue(volume)
    segments = masks.read_mask(exclusion)
    found = register(
        tissue,
        volumes.read_tissue(template),
        brain,
        "template",
        params.registration_mm,
        params.seed,
    )
    marked = carried(tissue, segments, found.full)
    if not marked.data.any():
        raise InputError(
            f"{exclusion}: marks nothing of brain {brain}; give template.exclusion in the space of "
            "template.tissue, or set it to null"
        )
    share = marked.data.sum() / (tissue.data > 0).sum()
    logs.info(f"{brain}: the template leaves out {100 * share:.0f} % of the tissue")
    volumes.write(marked, proposed)


def points_of_brain(
    midline: pd.DataFrame,
    transform: PointTransform,
    image_right: ImageRight,
    ways: Mapping[int, Chain],
) -> pd.DataFrame:
    """Points (PointRow) of a midline (MidlineRow): coordinates, no errors and no areas yet.

    `ways` lead from the section frame to the template for sections that have one of their own.

    A point that the transform does not cover has no coordinate (NaN) and, unless it was marked
    before, the status `outside_template`.
    """
    stack_um = midline[["x_stack_um", "y_stack_um", "z_stack_um"]].to_numpy(np.float64)
    template_mm = transform(stack_to_ras(stack_um, image_right))
    for section, way in ways.items():
        rows = (midline["section"] == section).to_numpy(bool)
        template_mm[rows] = way(midline.loc[rows, ["x_um", "y_um"]].to_numpy(np.float64))
    frame = midline.drop(columns=["x_cut_um", "y_cut_um"])
    frame[["x_mm", "y_mm", "z_mm"]] = template_mm
    frame["sigma_mm"] = np.nan
    frame["template"] = transform.target
    frame["area"], frame["area_probability"] = "", np.nan
    lost = ~np.isfinite(template_mm).all(axis=1) & (frame["status"] == "ok").to_numpy(bool)
    frame.loc[lost, "status"] = "outside_template"
    return tables.conform(tables.PointRow, frame)


def _template_mm(frame: pd.DataFrame) -> Floats:
    return frame[["x_mm", "y_mm", "z_mm"]].to_numpy(np.float64)


def _usable(
    full: PointTransform, tissue: Volume, brain: str, template_name: str, params: Coordinates
) -> Registration:
    """A given transform in a form that can be written, and its affine part."""
    if has_inverted_field(full):
        low = tissue.to_mm(np.zeros(3))
        high = tissue.to_mm(np.array(tissue.data.shape) - 1)
        affine = regular_affine(params.registration_mm, low)
        i, j, k = np.ceil((high - low) / params.registration_mm).astype(int) + 1
        full = transforms.sampled(full, affine, (int(i), int(j), int(k)))
    affine_only = affine_transform(affine_part(full, tissue), brain, template_name)
    return Registration(affine_only, full)
