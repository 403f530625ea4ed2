"""What the program says about a brain, by the result of which it speaks.

An alarm makes a wrong result *said so* only if it speaks of that very result. For example, a remark
that the edge of the scan may cut tissue off does not excuse white matter labelled as gray matter.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cytopipe.coordinates.checks import WITHOUT_A_COORDINATE
from cytopipe.coordinates.left_right import LEFT_RIGHT
from cytopipe.coordinates.orientation import MIRRORED
from cytopipe.formats import tables

# how labels can be wrong: tissue called slide, slide called tissue, gray matter called white matter
# or the reverse
LOST, ADDED, MATTER = "lost", "added", "matter"
# the wrong labels of which each remark of `cytopipe.segmentation.section.REMARKS` speaks
REMARKS: dict[str, set[str]] = {
    "faint": {LOST, ADDED},
    "smear": {LOST},
    "ink": {LOST},
    "slide": {LOST, ADDED},
    "cut off": set(),  # of what lies outside the image
    "sulci closed": {ADDED},
    "white unknown": {MATTER},
    "white by neighbours": {MATTER},
    "white outside": {MATTER},
}
# checks of `cytopipe.coordinates` that speak of left and right alone
_OF_SIDES = (LEFT_RIGHT, MIRRORED, "on its own side of the midline", "the same, worst section")


def main_fault(labels: NDArray[np.uint8], truth: NDArray[np.uint8], value: int) -> str:
    """LOST, ADDED or MATTER, whichever makes most of the wrong pixels of one label."""
    own, true = labels == value, truth == value
    counts = {
        LOST: np.count_nonzero(true & (labels == 0)),
        ADDED: np.count_nonzero(own & (truth == 0)),
        MATTER: np.count_nonzero((own ^ true) & (labels > 0) & (truth > 0)),
    }
    return max(counts, key=lambda fault: counts[fault])


def remarks_on(row: tables.SegmentationRow, fault: str) -> list[str]:
    """The remarks on a section that speak of one way to be wrong."""
    return [remark for remark in row.remarks.split("; ") if remark and fault in REMARKS[remark]]


def about_coordinates(folder: Path, brain: str) -> list[str]:
    """Checks not passed that speak of the way to the template."""
    return _words(row for row in _open_checks(folder, brain) if not row.check.startswith(_OF_SIDES))


def about_sides(folder: Path, brain: str) -> list[str]:
    """Checks not passed that speak of left and right."""
    concerned = (*_OF_SIDES, *WITHOUT_A_COORDINATE, "correlation with the template")
    return _words(row for row in _open_checks(folder, brain) if row.check.startswith(concerned))


def about_surfaces(folder: Path, brain: str, hemispheres: Sequence[str] = "LR") -> list[str]:
    """The hemispheres whose surface is not ok."""
    path = folder / "results" / "midsurface" / brain / "surfaces.parquet"
    return [
        f"surface {row.hemisphere}: {row.status}"
        for row in tables.read_rows(tables.SurfaceRow, path)
        if not row.is_ok and row.hemisphere in hemispheres
    ]


def _open_checks(folder: Path, brain: str) -> list[tables.CheckRow]:
    path = folder / "results" / "coordinates" / brain / "checks.parquet"
    return [row for row in tables.read_rows(tables.CheckRow, path) if row.needs_a_look]


def _words(checks: Iterable[tables.CheckRow]) -> list[str]:
    return [f"{row.check}: {row.value:.2f} ({row.status})" for row in checks]
