"""The chain of every section from its pixels to the template, with a lab's own transforms."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cytopipe.files import InputError
from cytopipe.formats import anchorings, transforms
from cytopipe.formats.anchorings import Anchoring, Target
from cytopipe.formats.tables import StackRow
from cytopipe.formats.transforms import PointTransform
from cytopipe.numerics import frames
from cytopipe.numerics.frames import Chain, Link
from cytopipe.numerics.geometry import Floats, ImageRight
from cytopipe.study import transform_table
from cytopipe.study.sections import STACK
from cytopipe.study.transform_table import ANCHORING, MATRIX, TransformRow


@dataclass(frozen=True)
class AnchoredSection:
    """Where the plane of a section lies, and how it leads on to the template.

    Attributes
    ----------
    anchoring, target : the plane, in voxels of the target volume, whose RAS mm are those of
    `space`.
    after : from that space to the template; None if it is the template.
    where : file and slice, for messages.
    """

    anchoring: Anchoring
    target: Target
    space: str
    after: PointTransform | None
    where: str


@dataclass(frozen=True)
class SuppliedTransforms:
    """The content of manual/{brain}/transforms.tsv.

    Attributes
    ----------
    whole : stack to template, or None if the table has no transform of the brain.
    sections : stack to template of single sections.
    anchored : the plane of single sections.
    """

    whole: PointTransform | None = None
    sections: Mapping[int, PointTransform] = field(default_factory=dict)
    anchored: Mapping[int, AnchoredSection] = field(default_factory=dict)


def read_supplied_transforms(
    table: Path, brain: str, template: str, target: Path | None, axes: str, known: set[int]
) -> SuppliedTransforms:
    """Read a table of transforms and all files that it names.

    Parameters
    ----------
    target, axes : the volume whose voxels the anchorings count, as in `anchorings.read_target`.
    known : numbers of the brain's sections.

    Raises
    ------
    InputError
        As `transform_table.read`, `transforms.read` and `anchorings.read`; and for an unknown
        section, or an anchoring file without a slice for any section.
    """
    whole: PointTransform | None = None
    sections: dict[int, PointTransform] = {}
    anchored_by_series: dict[int, AnchoredSection] = {}
    anchored_by_section: dict[int, AnchoredSection] = {}
    for rows in transform_table.read(table, template):
        first, number = rows[0], rows[0].section
        if number is not None and number not in known:
            raise InputError(
                f"{first.where}: there is no section {number} in config/sections.tsv; correct it"
            )
        if first.type != ANCHORING:
            if number is None:
                whole = _composed(rows, brain)
            else:
                sections[number] = _composed(rows, brain)
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
        if number is None:
            slice_of, anchored = {n: n for n in series.slices if n in known}, anchored_by_series
        else:
            slice_of = {number: number if first.slice is None else first.slice}
            anchored = anchored_by_section
        if not slice_of or not set(slice_of.values()) <= set(series.slices):
            raise InputError(
                f"{first.where}: {first.file} has the slices {sorted(series.slices)}, none for "
                f"{'any section' if number is None else f'section {number}'}; slices are matched "
                "by `nr`: for other numbers, write one row per section and name its slice"
            )
        for section, nr in slice_of.items():
            where = f"{first.file}: slice {nr}"
            anchored[section] = AnchoredSection(
                series.slices[nr], volume, first.target, after, where
            )
    # a section's own row takes precedence over the series
    anchored = {n: a for n, a in anchored_by_series.items() if n not in sections}
    return SuppliedTransforms(whole, sections, anchored | anchored_by_section)


def chain_of_section(
    place: StackRow,
    spacing_um: float,
    image_right: ImageRight,
    whole: PointTransform,
    supplied: SuppliedTransforms,
) -> Chain:
    """The chain from a section's pixels to the template, with its directions, frames and units.

    Parameters
    ----------
    place : the section's row of the stack; it must be placed unless it is anchored.
    spacing_um : of the pixels where the chain starts.
    whole : the brain's transform, for a section without one of its own.

    Raises
    ------
    InputError
        If the section's anchored image does not show the whole scan.
    """
    brain, number = place.brain, place.section
    name = f"{brain}/{number}"
    start = frames.from_pixels(name, spacing_um, place.full_spacing_um)
    if number in supplied.anchored:
        return Chain((start, *_anchored_links(name, supplied.anchored[number], place)))
    assert place.placement is not None
    return Chain(
        (
            start,
            frames.into_stack(name, brain, place.placement, place.z_um),
            frames.into_ras(brain, image_right),
            _link_of(supplied.sections.get(number, whole)),
        )
    )


def _link_of(transform: PointTransform) -> Link:
    source, target = frames.ras(transform.source), frames.ras(transform.target)
    return Link(source, target, transform, transform.inverse())


def _anchored_links(name: str, anchored: AnchoredSection, place: StackRow) -> tuple[Link, ...]:
    full_um = place.full_spacing_um
    # from the outer edge of the first pixel to that of the last: this is what was anchored
    size_um = np.array([place.width_um, place.height_um]) + full_um
    columns, rows = size_um / full_um
    anchorings.check_image(anchored.anchoring, float(columns), float(rows), anchored.where)

    def forward(points_um: Floats) -> Floats:
        shares = (np.asarray(points_um, np.float64) + full_um / 2) / size_um
        return anchored.target.to_mm(anchored.anchoring.to_voxels(shares))

    def backward(points_mm: Floats) -> Floats:
        voxels = anchored.target.to_voxels(np.asarray(points_mm, np.float64))
        return anchored.anchoring.to_shares(voxels) * size_um - full_um / 2

    plane = Link(frames.section(name), frames.ras(anchored.space), forward, backward)
    return (plane,) if anchored.after is None else (plane, _link_of(anchored.after))


def _composed(rows: list[TransformRow], brain: str) -> PointTransform:
    """The rows as one transform; the first row starts in the stack or after an anchoring."""
    composed: PointTransform | None = None
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
        composed = step if composed is None else composed.then(step)
    assert composed is not None
    return composed
