"""The way of every section from its pixels to the template, with what a lab gave of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cytopipe.files import InputError
from cytopipe.formats import anchorings, transforms
from cytopipe.formats.anchorings import Anchoring, Target
from cytopipe.formats.tables import StackRow
from cytopipe.formats.transforms import PointTransform
from cytopipe.numerics import chain as frames
from cytopipe.numerics.chain import Chain, Link
from cytopipe.numerics.geometry import Floats, ImageRight
from cytopipe.study import transform_table
from cytopipe.study.sections import STACK
from cytopipe.study.transform_table import ANCHORING, MATRIX, Row


@dataclass(frozen=True)
class Anchored:
    """Where the plane of a section lies, and how it goes on from there.

    Attributes
    ----------
    anchoring, target : in voxels of the target, whose RAS mm are those of the space `space`.
    after : from that space to the template; None if it is the template.
    where : file and slice, for messages.
    """

    anchoring: Anchoring
    target: Target
    space: str
    after: PointTransform | None
    where: str


@dataclass(frozen=True)
class Given:
    """What manual/{brain}/transforms.tsv gives.

    Attributes
    ----------
    whole : stack to template, or None if it is to be found.
    sections : stack to template of single sections.
    anchored : the plane of single sections.
    """

    whole: PointTransform | None = None
    sections: Mapping[int, PointTransform] = field(default_factory=dict)
    anchored: Mapping[int, Anchored] = field(default_factory=dict)


def read_given(
    table: Path, brain: str, template: str, target: Path | None, axes: str, known: set[int]
) -> Given:
    """Read a table of transforms and all that it names.

    Parameters
    ----------
    target : the volume whose voxels the anchorings count, and `axes` as in
        `anchorings.read_target`.
    known : numbers of the brain's sections.

    Raises
    ------
    InputError
        See `transform_table.read`, `transforms.read` and `anchorings.read`; and for a section that
        is not there, or an anchoring file of whose slices none is a section of this brain.
    """
    whole: PointTransform | None = None
    sections: dict[int, PointTransform] = {}
    of_all: dict[int, Anchored] = {}
    of_one: dict[int, Anchored] = {}
    for rows in transform_table.read(table, template):
        first, number = rows[0], rows[0].section
        if number is not None and number not in known:
            raise InputError(
                f"{first.where}: there is no section {number} in config/sections.tsv; correct it"
            )
        if first.type != ANCHORING:
            transform = _composed(rows, brain)
            if number is None:
                whole = transform
            else:
                sections[number] = transform
            continue
        if target is None:
            raise InputError(
                f"{first.where}: an anchoring counts voxels of its target; name that volume in "
                "coordinates.anchoring_target of config/config.yaml"
            )
        volume = anchorings.read_target(target, axes)
        series = anchorings.read(first.file)
        anchorings.check_target(series, volume)
        after = _composed(rows[1:], brain) if rows[1:] else None
        wanted = {n: n for n in series.slices if n in known}
        if number is not None:
            wanted = {number: first.slice if first.slice is not None else number}
        if not wanted or not set(wanted.values()) <= set(series.slices):
            raise InputError(
                f"{first.where}: {first.file} has the slices {sorted(series.slices)}, none for "
                f"{'any section' if number is None else f'section {number}'}; slices are found by "
                "their nr: give one row a section, with its slice"
            )
        (of_all if number is None else of_one).update(
            {
                section: Anchored(
                    series.slices[nr], volume, first.target, after, f"{first.file}: slice {nr}"
                )
                for section, nr in wanted.items()
            }
        )
    anchored = {n: a for n, a in of_all.items() if n not in sections} | of_one
    return Given(whole, sections, anchored)


def of_section(
    place: StackRow,
    spacing_um: float,
    image_right: ImageRight,
    whole: PointTransform,
    given: Given,
) -> Chain:
    """The chain from a section's pixels to the template: direction, frames and units are in it.

    Parameters
    ----------
    place : the section's row of the stack; without an anchoring it must be placed.
    spacing_um : of the pixels it starts from.
    whole : the brain's transform, for a section that has none of its own.

    Raises
    ------
    InputError
        If the section's anchored image does not show the whole scan.
    """
    brain, number = place.brain, place.section
    name = f"{brain}/{number}"
    start = frames.from_pixels(name, spacing_um, place.full_spacing_um)
    if number in given.anchored:
        ahead = _anchored_links(name, given.anchored[number], place)
    else:
        assert place.placement is not None
        transform = given.sections.get(number, whole)
        ahead = (
            frames.into_stack(name, brain, place.placement, place.z_um),
            frames.into_ras(brain, image_right),
            link_of(transform),
        )
    return Chain((start, *ahead))


def link_of(transform: PointTransform) -> Link:
    """A transform in RAS mm as a link of a chain."""
    return Link(
        frames.ras(transform.source),
        frames.ras(transform.target),
        transform,
        transform.inverse(),
    )


def _anchored_links(name: str, it: Anchored, place: StackRow) -> tuple[Link, ...]:
    full_um = place.full_spacing_um
    # from the outer edge of the first pixel to that of the last, which is what was anchored
    size_um = np.array([place.width_um, place.height_um]) + full_um
    columns, rows = size_um / full_um
    anchorings.check_image(it.anchoring, float(columns), float(rows), it.where)

    def forward(points_um: Floats) -> Floats:
        shares = (np.asarray(points_um, np.float64) + full_um / 2) / size_um
        return it.target.to_mm(it.anchoring.to_voxels(shares))

    def backward(points_mm: Floats) -> Floats:
        shares = it.anchoring.to_shares(it.target.to_voxels(np.asarray(points_mm, np.float64)))
        return shares * size_um - full_um / 2

    plane = Link(frames.section(name), frames.ras(it.space), forward, backward)
    return (plane,) if it.after is None else (plane, link_of(it.after))


def _composed(rows: list[Row], brain: str) -> PointTransform:
    """One transform of rows, the first of which starts in the stack or after an anchoring."""
    found: PointTransform | None = None
    for row in rows:
        source = brain if row.source == STACK else row.source
        moves: transforms.Moves = "points" if row.moves == "points" else "image"
        if row.type == MATRIX:
            matrix = transforms.read_matrix(row.file)
            if row.frame == "LPS":
                matrix = transforms.between_ras_and_lps(matrix)
            if moves == "points":
                step = transforms.affine_transform(matrix, source, row.target)
            else:
                step = transforms.affine_transform(matrix, row.target, source).inverse()
        else:
            step = transforms.read(row.file, source, row.target, moves)
        found = step if found is None else found.then(step)
    assert found is not None
    return found
