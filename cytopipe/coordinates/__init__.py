"""Template coordinates of all points of a brain, and the atlas area at each.

CytoNet section 3.4: spatial proximity is measured in a common reference space. A lab's own
transform is used as it is; without one, the reconstruction is registered to the template.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytopipe import logs, provenance
from cytopipe.coordinates import checks as checking
from cytopipe.coordinates.atlas_areas import area_at
from cytopipe.coordinates.chains import (
    SuppliedTransforms,
    chain_of_section,
    read_supplied_transforms,
)
from cytopipe.coordinates.direction import (
    MOST_OUTSIDE,
    affine_part,
    alone,
    check_hemispheres,
    check_inside,
    check_landmarks,
    check_overlap,
    length_mm,
    likeliest_part,
    outside,
    overlap,
)
from cytopipe.coordinates.gaps import beside_gap
from cytopipe.coordinates.left_right import left_right_row
from cytopipe.coordinates.orientation import (
    find_orientation,
    orientation_rows,
    parts_of,
)
from cytopipe.coordinates.template_registration import Registration, register
from cytopipe.coordinates.uncertainty import sigma_mm
from cytopipe.files import InputError, Output
from cytopipe.formats import tables, transforms, volumes
from cytopipe.formats.atlas import read_atlas
from cytopipe.formats.transforms import PointTransform, affine_transform, has_inverted_field
from cytopipe.formats.volumes import Volume, regular_affine
from cytopipe.numerics import frames
from cytopipe.numerics.frames import Chain
from cytopipe.numerics.geometry import ImageRight, stack_to_ras
from cytopipe.study import masks
from cytopipe.study.config import Coordinates
from cytopipe.study.declarations import Hemispheres

VERSION = 6
# voxels of a brain that are compared with a mask at a time, to limit memory
_VOXELS_AT_ONCE = 1_000_000


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
    template_exclusion: Path | None,
    atlas: Path | None,
    areas: Path | None,
    supplied_transform: Path | None,
    chains: list[Path],
    anchoring_target: Path | None,
    transform: Output,
    affine: Output,
    checks: Output,
    points: Output,
    declared_hemispheres: Hemispheres = "",
    params: Coordinates,
) -> None:
    """Write a brain's transform to the template and its points with their coordinates.

    Parameters
    ----------
    image_right : side of the brain at the right of an unmirrored image.
    midlines : tables (MidlineRow) of the brain's chunks, in order.
    stack : the brain's table (StackRow).
    tissue, template : label volumes (0 background, 1 gray, 2 white) in stack and template RAS mm.
    template_name : name of the template space.
    template_exclusion : mask of what is not cortex, template RAS mm (`study.masks`), or None. A
        brain without that tissue is registered to the template without it.
    atlas, areas : label volume in the template space and the table of its labels, or None.
    supplied_transform : the lab's own transform (`formats.transforms.read`), or None.
    chains : the lab's table of transforms (`study.transform_table`) and the files that it names, or
        nothing. Without either, the brain is registered.
    anchoring_target : the volume whose voxels the anchorings count, or None.
    declared_hemispheres : those that the brain consists of, from brains.tsv.
    transform : written: ITK composite that moves POINTS from the stack to the template (in ITK's
        LPS). Resampling the stack's images on the template takes its inverse.
    affine : written: its affine part alone, to show how much the rest improves it.
    checks : written: table (CheckRow) of whether the path to the template is sound.
    points : written last: table (PointRow).

    Raises
    ------
    InputError
        If a supplied transform exchanges left and right, front and back or top and bottom, puts
        the brain outside the template, or overlaps the brains less than its inverse; or if a
        supplied file cannot be used.
    """
    brain_tissue, template_tissue = volumes.read_tissue(tissue), volumes.read_tissue(template)
    if not (brain_tissue.data > 0).any():
        raise InputError(f"{tissue}: holds no tissue; look at the reconstruction's log")
    places = {row.section: row for row in tables.read_rows(tables.StackRow, stack)}
    supplied, judged = SuppliedTransforms(), list[tables.CheckRow]()
    parts = parts_of(template_tissue, template_exclusion, declared_hemispheres)
    if chains:
        supplied = read_supplied_transforms(
            chains[0], brain, template_name, anchoring_target, params.anchoring_axes, set(places)
        )
        if supplied_transform is not None and supplied.whole is not None:
            raise InputError(
                f"{supplied_transform} and {chains[0]} both define the transform of the "
                "whole brain; remove one"
            )
    if supplied.whole is not None:
        logs.info(f"{brain}: using {chains[0]}")
        used = _with_affine_part(supplied.whole, brain_tissue, params)
        remedy = f"correct {chains[0]}"
    elif supplied_transform is not None:
        logs.info(f"{brain}: using {supplied_transform}, which moves {params.given_moves}")
        full = transforms.read(supplied_transform, brain, template_name, params.given_moves)
        used = _with_affine_part(full, brain_tissue, params)
        remedy = f"set coordinates.given_moves to the other value, or correct {supplied_transform}"
    else:
        logs.info(f"{brain}: registering to {template_name} at {params.registration_mm:g} mm")
        lies = find_orientation(brain_tissue, parts, params)
        judged += orientation_rows(brain, lies, params.min_orientation_margin)
        used = register(brain_tissue, lies.template, lies.start, brain, template_name, params)
        if "half" not in lies.part:
            judged.append(left_right_row(brain, brain_tissue, lies, used.full, params))
        remedy = "check study.image_right in config/config.yaml and the section numbers"
    compared = likeliest_part(used.full, brain_tissue, parts)
    check_landmarks(used.full, brain_tissue, remedy)
    check_inside(used.full, brain_tissue, template_tissue, remedy)
    moves = {"transform": used.full, "affine": used.affine, "inverse": used.full.inverse()}
    dice = {name: overlap(move, brain_tissue, compared) for name, move in moves.items()}
    for name, value in dice.items():
        logs.info(f"{brain}: Dice with {name}: gray {value.gray:.3f}, white {value.white:.3f}")
    brain_alone, _ = alone(used.full, brain_tissue, compared)
    template_alone, gap_mm = alone(moves["inverse"], compared, brain_tissue)
    judged += checking.overlap_rows(
        brain, dice["transform"], dice["affine"], brain_alone, template_alone, params
    )
    check_overlap(dice["transform"], dice["inverse"], f"{brain} to {template_name}")

    midline = pd.concat(
        [tables.read(tables.MidlineRow, path) for path in midlines], ignore_index=True
    )
    own_chains = {
        number: chain_of_section(places[number], 1.0, image_right, used.full, supplied).since(
            frames.section(f"{brain}/{number}")
        )
        for number in sorted({*supplied.sections, *supplied.anchored})
        if places[number].is_placed or number in supplied.anchored
    }
    frame = points_of_brain(midline, used.full, image_right, own_chains)
    template_mm = frame[["x_mm", "y_mm", "z_mm"]].to_numpy(np.float64)
    is_outside = outside(template_mm, template_tissue)
    refuse_outside(frame, is_outside, own_chains, ", ".join(map(str, chains[:1])))
    sides = frame["hemisphere"].to_numpy(str)
    check_hemispheres(template_mm, sides, remedy)
    if any(row.has_failed and row.check in checking.WITHOUT_A_COORDINATE for row in judged):
        frame = marked(frame, np.ones(len(frame), bool), "unregistered", own_chains)
    # those of sections with transforms of their own, too
    lost = is_outside & (frame["status"] == "ok")
    frame["status"] = frame["status"].mask(lost, "outside_template")
    if template_alone > params.max_alone:
        reach_mm = params.gap_reach * length_mm(compared)
        frame = marked(frame, beside_gap(template_mm, gap_mm, reach_mm), "beside_gap", own_chains)
    # an anchored plane does not depend on the stack
    section_sigma_um = {
        number: 0.0 if number in supplied.anchored else place.sigma_um
        for number, place in places.items()
    }
    section_sigma_mm = frame["section"].map(section_sigma_um).to_numpy(np.float64) / 1000
    frame["sigma_mm"] = sigma_mm(
        template_mm,
        sides,
        compared,
        section_sigma_mm,
        params.error_points,
        params.along_cortex,
    )
    if atlas is not None and areas is not None:
        frame["area"], frame["area_probability"] = area_at(
            read_atlas(atlas, areas),
            template_mm,
            sides,
            params.atlas_sigma_mm,
            params.atlas_reach_mm,
        )
    judged += checking.checks_of(
        brain, used.full, own_chains, supplied, brain_tissue, template_tissue, frame, image_right,
        params,
    )  # fmt: skip
    for row in judged:
        if row.needs_a_look:
            logs.info(f"{brain}: check: {row.status}: {row.check}: {row.value:.3g}, {row.remedy}")
    logs.info(f"{brain}: {len(frame)} points {frame['status'].value_counts().to_dict()}")
    transforms.write(used.full, transform)
    transforms.write(used.affine, affine)
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
    declared_hemispheres: Hemispheres = "",
    params: Coordinates,
) -> None:
    """Transfer a template's mask of non-cortical tissue to a brain, for a person to correct.

    Parameters
    ----------
    volume, template : label volumes (0 background, 1 gray, 2 white) of the whole brain in stack
        and template RAS mm.
    exclusion : mask in template RAS mm (`study.masks`), all of whose segments count.
    declared_hemispheres : those that the brain consists of, from brains.tsv.
    proposed : written: 1 where the brain's tissue lies in one of them, on the grid of `volume`.

    Raises
    ------
    InputError
        If a volume does not hold tissue labels, or the mask marks nothing of this brain.
    """
    tissue, template_tissue = volumes.read_tissue(volume), volumes.read_tissue(template)
    segments = masks.read_mask(exclusion)
    parts = parts_of(template_tissue, exclusion, declared_hemispheres)
    lies = find_orientation(tissue, parts, params)
    for row in orientation_rows(brain, lies, params.min_orientation_margin):
        logs.info(f"{brain}: {row.check}: {row.value:.3g} {row.status} {row.remedy}")
    to_template = register(tissue, lies.template, lies.start, brain, "template", params).full
    marked: NDArray[np.uint8] = np.zeros(tissue.data.shape, np.uint8)
    indices = np.argwhere(tissue.data > 0)
    for start in range(0, len(indices), _VOXELS_AT_ONCE):
        part = indices[start : start + _VOXELS_AT_ONCE]
        points_mm = to_template(tissue.to_mm(part))
        marked[tuple(part.T)] = np.any([segment.holds(points_mm) for segment in segments], axis=0)
    if not marked.any():
        raise InputError(
            f"{exclusion}: marks nothing of brain {brain}; supply template.exclusion in the space "
            "of template.tissue, or set it to null"
        )
    logs.info(f"{brain}: the template excludes {100 * marked.sum() / len(indices):.0f} % of tissue")
    volumes.write(Volume(marked, tissue.affine), proposed)


def points_of_brain(
    midline: pd.DataFrame,
    transform: PointTransform,
    image_right: ImageRight,
    own_chains: Mapping[int, Chain],
) -> pd.DataFrame:
    """Points (PointRow) of a midline (MidlineRow): with coordinates, without errors or areas yet.

    A point that the transform does not cover has no coordinate (NaN); its status, if it was ok,
    becomes `outside_template`. That of a point outside the template's volume does so later (`run`).

    Parameters
    ----------
    transform : stack to template.
    own_chains : section frame to template, of the sections with transforms of their own.
    """
    stack_um = midline[["x_stack_um", "y_stack_um", "z_stack_um"]].to_numpy(np.float64)
    template_mm = transform(stack_to_ras(stack_um, image_right))
    for section, chain in own_chains.items():
        rows = (midline["section"] == section).to_numpy(bool)
        template_mm[rows] = chain(midline.loc[rows, ["x_um", "y_um"]].to_numpy(np.float64))
    frame = midline.drop(columns=["x_cut_um", "y_cut_um"])
    frame[["x_mm", "y_mm", "z_mm"]] = template_mm
    frame["sigma_mm"] = np.nan
    frame["template"] = transform.target
    frame["area"], frame["area_probability"] = "", np.nan
    lost = ~np.isfinite(template_mm).all(axis=1) & (frame["status"] == "ok").to_numpy(bool)
    frame.loc[lost, "status"] = "outside_template"
    return tables.conform(tables.PointRow, frame)


def refuse_outside(
    points: pd.DataFrame, is_outside: NDArray[np.bool_], own_chains: Mapping[int, Chain], table: str
) -> None:
    """Raise InputError if most points of the sections with own transforms are off the template."""
    own = points["section"].isin(list(own_chains)).to_numpy(bool)
    if own.any() and (share := float(is_outside[own].mean())) > MOST_OUTSIDE:
        raise InputError(
            f"{table}: puts {100 * share:.0f} % of the points of the sections with transforms of "
            "their own outside the template; correct the space that it ends in, the files, or "
            "coordinates.anchoring_target in config/config.yaml"
        )


def marked(
    points: pd.DataFrame, rows: NDArray[np.bool_], status: str, own_chains: Mapping[int, Chain]
) -> pd.DataFrame:
    """Points (PointRow) of which those in `rows` that are ok get another status.

    Sections with transforms of their own are left as they are.
    """
    lost = rows & (points["status"] == "ok") & ~points["section"].isin(list(own_chains))
    return points.assign(status=points["status"].mask(lost, status))


def _with_affine_part(full: PointTransform, tissue: Volume, params: Coordinates) -> Registration:
    """A supplied transform in a form that can be written, and its affine part."""
    if has_inverted_field(full):
        low = tissue.to_mm(np.zeros(3))
        high = tissue.to_mm(np.array(tissue.data.shape) - 1)
        affine = regular_affine(params.registration_mm, low)
        i, j, k = np.ceil((high - low) / params.registration_mm).astype(int) + 1
        full = transforms.sampled(full, affine, (int(i), int(j), int(k)))
    return Registration(affine_transform(affine_part(full, tissue), full.source, full.target), full)
