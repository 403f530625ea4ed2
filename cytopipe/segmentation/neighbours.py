"""What a section without white matter can learn from the other sections of its chunk."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from cytopipe.formats.tables import NO_WHITE, OK
from cytopipe.segmentation.parts import HALF_LEVEL, Levels
from cytopipe.segmentation.section import WHITE, Segmented

# neighbours on either side that are looked at; anatomy changes over more
_REACH = 3
# White matter shrinks towards a pole, and so does the section. A section of less than half of its
# neighbours' tissue may lack white matter; one with less than a tenth of their share lacks it.
_MIN_AREA, _MIN_SHARE = 0.5, 0.1
# a section that lost ink and has less than this share of the tissue of its neighbours; chosen
_INK_AREA = 0.25


def without_evidence(results: Sequence[Segmented]) -> Iterator[int]:
    """Indices of the sections that do not show white matter by themselves."""
    for index, segmented in enumerate(results):
        measured = segmented.threshold_from == HALF_LEVEL
        if measured and segmented.labels.any() and segmented.levels is None:
            yield index


def expected_levels(results: Sequence[Segmented], index: int) -> Levels | None:
    """The median levels of the nearest sections that show white matter; None for none."""
    nearest = sorted(
        (other for other, segmented in enumerate(results) if _shows_white(segmented)),
        key=lambda other: abs(other - index),
    )
    if not nearest:
        return None
    levels = [results[other].levels for other in nearest[: 2 * _REACH]]
    shown = [(level.gray, level.contrast) for level in levels if level is not None]
    gray, contrast = np.median(shown, axis=0)
    return Levels(float(gray), float(contrast))


def marked(results: Sequence[Segmented], min_expected: float) -> list[Segmented]:
    """`results`, with other statuses where neighbours contradict them.

    A section without white matter between neighbours that have plenty is `no_white`. One that lost
    ink and has far less tissue than its neighbours is `blank`: which was the tissue, only a person
    can tell.
    """
    shares = [_areas(segmented) for segmented in results]
    checked = []
    for index, segmented in enumerate(results):
        area, share = shares[index]
        around = [shares[other] for step in (-1, 1) for other in _usable(results, index, step)]
        if segmented.status == OK and around and segmented.threshold_from != "manual":
            usual_area, usual_share = np.median(around, axis=0)
            remarks = tuple(segmented.remarks.split("; "))
            if "ink" in remarks and area < _INK_AREA * usual_area:
                segmented = Segmented.empty("blank", segmented.background, remarks)
            elif (
                usual_share >= min_expected
                and share < _MIN_SHARE * usual_share
                and area > _MIN_AREA * usual_area
            ):
                segmented = replace(segmented, status=NO_WHITE)
        checked.append(segmented)
    return checked


def _usable(results: Sequence[Segmented], index: int, step: int) -> list[int]:
    """The nearest usable sections on one side of a section."""
    side = range(index + step, len(results) if step > 0 else -1, step)
    return [other for other in side if results[other].status == OK][:_REACH]


def _areas(segmented: Segmented) -> tuple[float, float]:
    """Pixels of tissue, and the share of white matter in them."""
    tissue = int(np.count_nonzero(segmented.labels))
    white = int(np.count_nonzero(segmented.labels == WHITE))
    return float(tissue), white / tissue if tissue else 0.0


def _shows_white(segmented: Segmented) -> bool:
    return segmented.levels is not None and bool(np.isfinite(segmented.white_contrast))
