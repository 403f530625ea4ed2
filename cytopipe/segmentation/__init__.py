"""Background, gray and white matter of every section (CytoNet paper, section 3.2).

The chain of filters is the paper's. What the paper leaves open (clip limit, steps of the contour,
sizes of what is cleaned) is set in the config. All labels of a study have one pixel size.
"""

from pathlib import Path

import numpy as np
import tifffile

from cytopipe import provenance
from cytopipe.files import InputError, Output
from cytopipe.formats import tables
from cytopipe.formats.images import open_pyramid, write_labels
from cytopipe.logs import info, progress
from cytopipe.segmentation.section import (
    BACKGROUND,
    GRAY,
    WHITE,
    Labels,
    Segmented,
    segment,
    with_manual_labels,
)
from cytopipe.study.config import Segmentation
from cytopipe.study.sections import Section

__all__ = ["read_manual", "run"]

VERSION = 1


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
    pages: list[Labels] = []
    rows: list[tables.SegmentationRow] = []
    failures: list[str] = []
    pairs = zip(sections, images, strict=True)
    for section, image in progress(pairs, len(sections), "sections segmented"):
        number = section.section
        segmented = Segmented.empty("excluded")
        size_um = (float("nan"),) * 3
        if not section.excluded:
            try:
                with open_pyramid(image, section.spacing_um) as pyramid:
                    full = pyramid.levels[0]
                    size_um = (
                        (full.width - 1) * full.spacing_um,
                        (full.height - 1) * full.spacing_um,
                        full.spacing_um,
                    )
                    gray = pyramid.to_8_bit(pyramid.read_at(params.spacing_um))
            except InputError as error:
                info(f"section {number} is unreadable: {error}")
                failures.append(str(error))
                segmented = Segmented.empty("unreadable")
            else:
                segmented = segment(gray, params.spacing_um, params)
                if number in drawn:
                    manual_labels = read_manual(drawn[number], gray.shape)
                    segmented = with_manual_labels(
                        segmented, manual_labels, params.spacing_um, params
                    )
        if segmented.background == "dark":
            info(
                f"section {number}: its background is dark; set background to dark in "
                "config/sections.tsv, so that networks see it like the other sections"
            )
        if segmented.contact_ratio < 1:
            info(
                f"section {number}: white matter touches the background more than gray matter "
                "does; check that the two were not mistaken for each other"
            )
        rows.append(_row(section, len(pages), size_um, segmented, params.spacing_um))
        pages.append(segmented.labels)
    if len(failures) > params.max_failed * len(sections):
        raise InputError(
            f"{len(failures)} of {len(sections)} sections could not be read, more than "
            f"segmentation.max_failed = {params.max_failed:g} allows:\n  "
            + "\n  ".join(failures)
            + "\nrepair the files, or exclude the sections in config/sections.tsv"
        )
    write_labels(pages, labels)
    tables.write_rows(tables.SegmentationRow, rows, table)


def read_manual(path: Path, shape: tuple[int, ...]) -> Labels:
    """Labels corrected by a person.

    Raises
    ------
    InputError
        If the file is not an image of `shape` (rows, columns) with the values 0, 1 and 2.
    """
    try:
        labels = np.asarray(tifffile.imread(path))
    except (tifffile.TiffFileError, OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable TIFF ({error}); save it again") from error
    if labels.shape != shape:
        raise InputError(
            f"{path}: its shape (rows, columns) is {labels.shape}, the section's labels have "
            f"{shape}; correct a copy of the section's page of results/segmentation"
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
        **{name: value for name, value in vars(segmented).items() if name != "labels"},
    )
