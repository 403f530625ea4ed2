"""Tables of the sections of a brain: one row per section, pair of sections, or finding."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cytopipe.formats.tables.parquet import Row, read_rows
from cytopipe.numerics.geometry import ImageRight, Placement, Rigid

OK = "ok"
# a section that lacks the white matter that its depth or its neighbours lead to expect
NO_WHITE = "no_white"
# statuses of a section that can be aligned, because its outline is known
WITH_OUTLINE = (OK, NO_WHITE)
# statuses of a pair whose transform is used
ACCEPTED, UNCERTAIN = "accepted", "uncertain"
# how a section was scanned
PLAIN, MIRRORED, CANNOT_TELL = "plain", "mirrored", "cannot_tell"


def rigid_columns(rigid: Rigid | None) -> dict[str, float]:
    """angle_rad, x_um and y_um of a transform; NaN for none."""
    if rigid is None:
        return {"angle_rad": math.nan, "x_um": math.nan, "y_um": math.nan}
    return {"angle_rad": rigid.angle_rad, "x_um": rigid.x_um, "y_um": rigid.y_um}


def _rigid(row: "PairRow | StackRow", source: str, target: str) -> Rigid | None:
    if math.isnan(row.angle_rad):
        return None
    return Rigid(row.angle_rad, row.x_um, row.y_um, source, target)


@dataclass(frozen=True, slots=True)
class SegmentationRow(Row):
    """How a section was segmented: segmentation/{brain}/{chunk}.parquet."""

    brain: Annotated[str, "brain"]
    section: Annotated[int, "section number"]
    page: Annotated[int, "page of the chunk's label file, 0-based"]
    width_um: Annotated[float, "um", "centre of first to centre of last column of level 0"]
    height_um: Annotated[float, "um", "centre of first to centre of last row of level 0"]
    full_spacing_um: Annotated[float, "um", "pixel size of level 0"]
    spacing_um: Annotated[float, "um", "pixel size of the labels"]
    threshold: Annotated[float, "tissue is darker (or brighter) than this, 0 to 1"]
    threshold_from: Annotated[
        str, "half level, minimum, otsu (no minimum found) or manual (labels by hand)"
    ]
    background: Annotated[str, "bright or dark"]
    tissue_mm2: Annotated[float, "mm2", "area of gray and white matter"]
    gray_mm2: Annotated[float, "mm2", "area of gray matter"]
    white_mm2: Annotated[float, "mm2", "area of white matter"]
    white_contrast: Annotated[float, "contrast of white to gray matter over slide to gray matter"]
    sulcal_before_mm: Annotated[float, "mm", "open sulcal boundary in the image"]
    sulcal_after_mm: Annotated[float, "mm", "open sulcal boundary of the labels"]
    contact_ratio: Annotated[float, "contact with background per area, gray over white"]
    remarks: Annotated[str, "what to look at, separated by semicolons"]
    status: Annotated[str, "ok, blank, no_white, excluded or unreadable"]

    @property
    def is_usable(self) -> bool:
        """The section has tissue, and labels that later stages can use."""
        return self.status == OK


def read_segmentation(
    tables: Sequence[Path], labels: Sequence[Path]
) -> list[tuple[SegmentationRow, Path]]:
    """Rows of the chunks of a brain, each with the label file that holds its page.

    Parameters
    ----------
    tables, labels : segmentation table and label file of each chunk, in the same order.
    """
    return [
        (row, path)
        for table, path in zip(tables, labels, strict=True)
        for row in read_rows(SegmentationRow, table)
    ]


@dataclass(frozen=True, slots=True)
class PairRow(Row):
    """The rigid transform between two sections: alignment/{brain}/pairs-{chunk}.parquet."""

    brain: Annotated[str, "brain"]
    fixed: Annotated[int, "section number of the fixed section"]
    moving: Annotated[int, "section number of the moving section"]
    distance: Annotated[int, "usable sections between the two, plus one"]
    inliers_plain: Annotated[int, "RANSAC inliers with the moving section as scanned"]
    inliers_mirrored: Annotated[int, "RANSAC inliers with the moving section mirrored"]
    peak_plain: Annotated[float, "peak of the textures' correlation in standard deviations"]
    peak_mirrored: Annotated[float, "the same with the moving section mirrored; NaN if not tried"]
    log_odds_mirrored: Annotated[
        float, "evidence that the two differ in handedness; NaN by a person"
    ]
    mirrored: Annotated[bool, "the two sections are of opposite handedness"]
    angle_rad: Annotated[float, "rad", "rotation, moving to fixed; NaN without a transform"]
    x_um: Annotated[float, "um", "shift, moving to fixed, after the mirror flip of the moving one"]
    y_um: Annotated[float, "um", "shift, moving to fixed, after the mirror flip of the moving one"]
    sigma_um: Annotated[float, "um", "error of the shift, x or y; NaN if the parts cannot tell"]
    residual_um: Annotated[float, "um", "median distance of matched features after the fit"]
    overlap: Annotated[float, "Dice of the two tissue masks after the fit"]
    agreement: Annotated[float, "share of the tissue's parts that confirm the transform"]
    displaced_share: Annotated[float, "share of the parts that agree on another transform"]
    displaced_um: Annotated[float, "um", "how far these parts lie from the others; 0 for none"]
    tissue_mm2: Annotated[float, "mm2", "tissue area of the smaller of the two sections"]
    method: Annotated[str, "texture, features, outline or person"]
    status: Annotated[str, "accepted, uncertain (used, but to be looked at), or why rejected"]

    @property
    def rigid(self) -> Rigid | None:
        """Points of the moving section, flipped if `mirrored`, to the fixed section as scanned."""
        return _rigid(self, "moving", "fixed")

    @property
    def inliers(self) -> int:
        """RANSAC inliers of the hand that was chosen."""
        return self.inliers_mirrored if self.mirrored else self.inliers_plain

    @property
    def inliers_other(self) -> int:
        """RANSAC inliers of the hand that was not chosen."""
        return self.inliers_plain if self.mirrored else self.inliers_mirrored

    @property
    def sections(self) -> tuple[int, int]:
        """Numbers of the two sections, the fixed one first."""
        return self.fixed, self.moving


def displaced_um(section: int, pairs: list[PairRow]) -> float:
    """How far a part of a section lies from where the rest of it is placed; 0 if none does.

    It is a part of this section, and not of its neighbours, if every pair shows it that can tell.
    """
    own = [pair for pair in pairs if section in pair.sections]
    telling = [pair for pair in own if pair.status == ACCEPTED or pair.displaced_um > 0]
    return min((pair.displaced_um for pair in telling), default=0.0)


@dataclass(frozen=True, slots=True)
class StackRow(Row):
    """Where a section lies in the stack: alignment/{brain}/stack.parquet."""

    brain: Annotated[str, "brain"]
    section: Annotated[int, "section number"]
    z_um: Annotated[float, "um", "section number times thickness"]
    width_um: Annotated[float, "um", "centre of first to centre of last column of level 0"]
    height_um: Annotated[float, "um", "centre of first to centre of last row of level 0"]
    full_spacing_um: Annotated[float, "um", "pixel size of level 0"]
    mirrored: Annotated[bool, "flip left to right before the transform"]
    handedness: Annotated[str, "plain, mirrored, or cannot_tell (kept as scanned)"]
    angle_rad: Annotated[float, "rad", "rotation, unmirrored section to stack; NaN if unaligned"]
    x_um: Annotated[float, "um", "shift, unmirrored section to stack; NaN if unaligned"]
    y_um: Annotated[float, "um", "shift, unmirrored section to stack; NaN if unaligned"]
    fragment: Annotated[int, "sections that accepted pairs connect; 1 holds the base; 0 for none"]
    via: Annotated[int, "the section that placed it; itself for base and person; -1 if unaligned"]
    sigma_um: Annotated[float, "um", "error of the place, x or y, against the base; NaN if unknown"]
    image_right: Annotated[ImageRight, "side of the brain at the right of an unmirrored image"]
    status: Annotated[str, "ok, uncertain, blank, excluded, or why it has no transform"]

    @property
    def placement(self) -> Placement | None:
        """The section as scanned to the stack; None for a section that is not placed."""
        rigid = _rigid(self, "unmirrored", "stack")
        return None if rigid is None else Placement(self.mirrored, self.width_um, rigid)

    @property
    def is_placed(self) -> bool:
        """The section has a place in the stack."""
        return self.placement is not None

    @property
    def is_uncertain(self) -> bool:
        """The section is placed, but a person should look at its place."""
        return self.is_placed and self.status != OK


@dataclass(frozen=True, slots=True)
class AuditRow(Row):
    """What the audit found about a section: alignment/{brain}/audit.parquet."""

    brain: Annotated[str, "brain"]
    section: Annotated[int, "section number"]
    finding: Annotated[str, "mirrored, swapped, belongs elsewhere, or matches neither neighbour"]
    confidence: Annotated[float, "0.5 to 1"]
    remedy: Annotated[str, "what to write where, once a person has looked at it"]


@dataclass(frozen=True, slots=True)
class TruthSectionRow(Row):
    """What truly happened to a section of a phantom: truth/{brain}/sections.parquet."""

    brain: Annotated[str, "brain"]
    section: Annotated[int, "section number"]
    condition: Annotated[
        str, "good, damaged, torn, blank, dirty, excluded, or missing (not in sections.tsv)"
    ]
    mirrored: Annotated[bool, "the scan is flipped left to right"]
    z_um: Annotated[float, "um", "section number times thickness"]
    angle_rad: Annotated[float, "rad", "rotation, unmirrored section to true stack"]
    x_um: Annotated[float, "um", "shift, unmirrored section to true stack"]
    y_um: Annotated[float, "um", "shift, unmirrored section to true stack"]
    width_um: Annotated[float, "um", "centre of first to centre of last column of level 0"]
    height_um: Annotated[float, "um", "centre of first to centre of last row of level 0"]
    full_spacing_um: Annotated[float, "um", "pixel size of level 0"]
    image_right: Annotated[ImageRight, "side of the brain at the right of an unmirrored image"]

    @property
    def placement(self) -> Placement:
        """The section as scanned to the true stack."""
        rigid = Rigid(self.angle_rad, self.x_um, self.y_um, "unmirrored", "true stack")
        return Placement(self.mirrored, self.width_um, rigid)

    @property
    def shows_tissue(self) -> bool:
        """There is a scan that the sheet does not exclude, and it is not of an empty slide."""
        return self.condition not in ("blank", "missing", "excluded")
