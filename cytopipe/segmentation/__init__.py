"""Background, gray and white matter of every section.

`method: half_level` measures them on the image; `method: paper` is the chain of filters of the
CytoNet paper, section 3.2. All labels of a study have one pixel size.
"""

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from cytopipe import provenance
from cytopipe.files import InputError, Output
from cytopipe.formats import tables
from cytopipe.formats.images import open_pyramid, read_drawn, write_labels
from cytopipe.logs import info, progress
from cytopipe.segmentation import neighbours
from cytopipe.segmentation.section import (
    BACKGROUND,
    GRAY,
    WHITE,
    Labels,
    Segmented,
    remarks_of,
    segment,
    with_manual_labels,
)
from cytopipe.study.config import Segmentation
from cytopipe.study.sections import Section

__all__ = ["read_manual", "run"]

VERSION = 3


@provenance.recorded
def run(
    *,
    sections: list[Section],
    images: list[Path],
    manual: list[Path],
    labels: Output,
    table: Output,
    params: Segmentation,
) -> None:
    """Segment the sections of a chunk.

    Parameters
    ----------
    sections, images : in the same order.
    manual : labels corrected by a person, named by section number (00420.tif); they replace the
        computed ones.
    labels : written, one page per section: 0 background, 1 gray, 2 white.
    table : written last, `SegmentationRow`.

    Raises
    ------
    InputError
        If a manual file belongs to no section, or has another size or other values than labels. If
        more than `params.max_failed` of the sections could not be read; the message names them.
    """
    drawn = _by_section(manual, sections)
    results: list[Segmented] = []
    sizes_um: list[tuple[float, float, float]] = []
    failures: list[str] = []
    pairs = list(zip(sections, images, strict=True))
    for section, image in progress(pairs, len(sections), "sections segmented"):
        segmented, size_um = Segmented.empty("excluded"), (float("nan"),) * 3
        if not section.excluded:
            try:
                gray, size_um = _read(section, image, params)
            except InputError as error:
                info(f"section {section.section} is unreadable: {error}")
                failures.append(str(error))
                segmented = Segmented.empty("unreadable")
            else:
                segmented = segment(gray, params.spacing_um, params)
                if section.section in drawn:
                    manual_labels = read_manual(drawn[section.section], gray.shape)
                    segmented = with_manual_labels(
                        segmented, manual_labels, params.spacing_um, params
                    )
        results.append(segmented)
        sizes_um.append(size_um)
    for index in neighbours.without_evidence(results):
        # its neighbours show how light its white matter may be
        expected = neighbours.expected_levels(results, index)
        if expected is None:
            results[index] = results[index].remarked("white unknown")
        else:
            gray, _ = _read(*pairs[index], params)
            again = segment(gray, params.spacing_um, params, expected)
            results[index] = again.remarked("white by neighbours")
    results = neighbours.marked(results, params.min_expected)
    rows = []
    for page, (section, segmented) in enumerate(zip(sections, results, strict=True)):
        for remark in remarks_of(segmented):
            info(f"section {section.section}: {remark}")
        rows.append(_row(section, page, sizes_um[page], segmented, params.spacing_um))
    if len(failures) > params.max_failed * len(sections):
        raise InputError(
            f"{len(failures)} of {len(sections)} sections could not be read, more than "
            f"segmentation.max_failed = {params.max_failed:g} allows:\n  "
            + "\n  ".join(failures)
            + "\nrepair the files, or exclude the sections in config/sections.tsv"
        )
    write_labels([segmented.labels for segmented in results], labels)
    tables.write_rows(tables.SegmentationRow, rows, table)


def _read(
    section: Section, image: Path, params: Segmentation
) -> tuple[NDArray[np.uint8], tuple[float, float, float]]:
    """The image in 8 bits at the working resolution; width, height and pixel size of level 0."""
    with open_pyramid(image, section.spacing_um) as pyramid:
        full = pyramid.levels[0]
        size_um = (
            (full.width - 1) * full.spacing_um,
            (full.height - 1) * full.spacing_um,
            full.spacing_um,
        )
        return pyramid.to_8_bit(pyramid.read_at(params.spacing_um)), size_um


def read_manual(path: Path, shape: tuple[int, ...] | None = None) -> Labels:
    """Labels corrected by a person.

    Parameters
    ----------
    shape : rows and columns that they must have, if these are known.

    Raises
    ------
    InputError
        If the file is not an upright image of this shape with the values 0, 1 and 2.
    """
    labels = read_drawn(path)
    if labels.ndim != 2 or labels.shape != (shape or labels.shape):
        raise InputError(
            f"{path}: its shape (rows, columns) is {labels.shape}, the section's labels have "
            f"{shape or 'one plane'}; correct a copy of the section's page of results/segmentation"
        )
    unknown = np.setdiff1d(labels, (BACKGROUND, GRAY, WHITE))
    if len(unknown):
        raise InputError(
            f"{path}: contains the value {unknown[0]}; use 0 background, 1 gray, 2 white matter"
        )
    return labels.astype(np.uint8)


def _by_section(manual: list[Path], sections: list[Section]) -> dict[int, Path]:
    known = {f"{section.section:05d}": section.section for section in sections}
    for path in manual:
        if path.stem not in known:
            raise InputError(
                f"{path}: there is no section {path.stem} in this chunk; name the file by section "
                "number, with five digits, like 00420.tif"
            )
    return {known[path.stem]: path for path in manual}


def _row(
    section: Section,
    page: int,
    size_um: tuple[float, float, float],
    segmented: Segmented,
    spacing_um: float,
) -> tables.SegmentationRow:
    pixel_mm2 = (spacing_um / 1000) ** 2
    gray_mm2 = np.count_nonzero(segmented.labels == GRAY) * pixel_mm2
    white_mm2 = np.count_nonzero(segmented.labels == WHITE) * pixel_mm2
    return tables.SegmentationRow(
        section.brain,
        section.section,
        page,
        *size_um,
        spacing_um=spacing_um,
        tissue_mm2=gray_mm2 + white_mm2,
        gray_mm2=gray_mm2,
        white_mm2=white_mm2,
        **{
            name: value
            for name, value in vars(segmented).items()
            if name not in ("labels", "levels")
        },
    )
