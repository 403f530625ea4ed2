"""Background, gray and white matter of every section (CytoNet paper, section 3.2).

The chain of filters is the paper's; what it leaves open (clip limit, contour steps, sizes of what
is cleaned) stands in the config. Labels are at one working resolution for a whole study.
"""

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from cytopipe import provenance
from cytopipe.files import InputError, Output
from cytopipe.formats import tables
from cytopipe.formats.images import Pyramid, open_pyramid, write_labels
from cytopipe.logs import info, progress
from cytopipe.segmentation.section import (
    BACKGROUND,
    GRAY,
    NO_LABELS,
    WHITE,
    Segmented,
    corrected,
    segment,
)
from cytopipe.study.config import Segmentation
from cytopipe.study.sections import Section

__all__ = ["BACKGROUND", "GRAY", "WHITE", "Segmented", "run", "segment"]

VERSION = 1

Labels = NDArray[np.uint8]


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
    manual : labels corrected by a person, named by section number, 00420.tif; they replace the
        computed ones.
    labels : written, one page per section with 0 background, 1 gray, 2 white.
    table : written last, `SegmentationRow`.

    Raises
    ------
    InputError
        If a manual file fits no section, has another size or other values than labels; or if more
        than `params.max_failed` of the sections could not be read, all of them named.
    """
    by_person = _by_section(manual, sections)
    pages: list[Labels] = []
    rows: list[tables.SegmentationRow] = []
    failed: list[str] = []
    pairs = zip(sections, images, strict=True)
    for section, image in progress(pairs, len(sections), "sections segmented"):
        found = Segmented.empty("excluded")
        size_um = _UNKNOWN_SIZE
        if not section.excluded:
            try:
                with open_pyramid(image, section.spacing_um) as pyramid:
                    size_um = _size_um(pyramid)
                    gray = pyramid.to_8_bit(pyramid.read_at(params.spacing_um))
            except InputError as error:
                info(f"section {section.section} is unreadable: {error}")
                failed.append(str(error))
                found = Segmented.empty("unreadable")
            else:
                found = segment(gray, params.spacing_um, params)
                if section.section in by_person:
                    drawn = read_manual(by_person[section.section], gray.shape)
                    found = corrected(found, drawn, params.spacing_um, params)
        if found.background == "dark":
            info(
                f"section {section.section}: its ground is dark; set background to dark in "
                "config/sections.tsv, so that networks see it as they see the others"
            )
        if found.contact_ratio < 1:
            info(
                f"section {section.section}: white matter touches the background more than gray "
                "does; look whether the two are mistaken for one another"
            )
        rows.append(_row(section, len(pages), size_um, found, params.spacing_um))
        pages.append(found.labels if found.status == "ok" else NO_LABELS)
    if len(failed) > params.max_failed * len(sections):
        raise InputError(
            f"{len(failed)} of {len(sections)} sections could not be read, more than "
            f"segmentation.max_failed = {params.max_failed:g} allows:\n  "
            + "\n  ".join(failed)
            + "\nrepair the files, or exclude the sections in config/sections.tsv"
        )
    write_labels(pages, labels)
    tables.write_rows(tables.SegmentationRow, rows, table)


def read_manual(path: Path, shape: tuple[int, ...]) -> Labels:
    """Labels corrected by a person.

    Raises
    ------
    InputError
        If the file is no image of `shape` (rows, columns) with values 0, 1 and 2.
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
            f"{path}: holds the value {unknown[0]}; use 0 background, 1 gray, 2 white matter"
        )
    return labels.astype(np.uint8)


def _by_section(manual: list[Path], sections: list[Section]) -> dict[int, Path]:
    known = {f"{section.section:05d}": section.section for section in sections}
    for path in manual:
        if path.stem not in known:
            raise InputError(
                f"{path}: there is no section {path.stem} here; name it by section number, five "
                "digits, as 00420.tif"
            )
    return {known[path.stem]: path for path in manual}


# width, height and pixel size of a section that was not read
_UNKNOWN_SIZE = (float("nan"),) * 3


def _size_um(pyramid: Pyramid) -> tuple[float, float, float]:
    """Width, height and pixel size of level 0, as the table has them."""
    full = pyramid.levels[0]
    return (
        (full.width - 1) * full.spacing_um,
        (full.height - 1) * full.spacing_um,
        full.spacing_um,
    )


def _row(
    section: Section,
    page: int,
    size_um: tuple[float, float, float],
    found: Segmented,
    spacing_um: float,
) -> tables.SegmentationRow:
    pixel_mm2 = (spacing_um / 1000) ** 2
    gray_mm2 = np.count_nonzero(found.labels == GRAY) * pixel_mm2
    white_mm2 = np.count_nonzero(found.labels == WHITE) * pixel_mm2
    return tables.SegmentationRow(
        section.brain,
        section.section,
        page,
        *size_um,
        spacing_um=spacing_um,
        threshold=found.threshold,
        threshold_from=found.threshold_from,
        background=found.background,
        tissue_mm2=gray_mm2 + white_mm2,
        gray_mm2=gray_mm2,
        white_mm2=white_mm2,
        sulcal_before_mm=found.sulcal_before_mm,
        sulcal_after_mm=found.sulcal_after_mm,
        contact_ratio=found.contact_ratio,
        status=found.status,
    )
