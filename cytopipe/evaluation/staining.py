"""Properties of patches that have nothing to do with cells: staining and vessels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from cytopipe.evaluation.image_windows import windows_of_sections
from cytopipe.formats.images import open_pyramid, read_labels
from cytopipe.formats.tables import read_segmentation
from cytopipe.numerics.geometry import section_to_pixels
from cytopipe.study.sections import Section

SLIDE, GRAY = 0, 1  # labels of the segmentation


def median_level(image: NDArray[np.uint8], labels: NDArray[np.uint8], label: int) -> float:
    """Median gray value of a label; NaN if the section does not have it."""
    height, width = (min(a, b) for a, b in zip(image.shape, labels.shape, strict=True))
    values = image[:height, :width][labels[:height, :width] == label]
    return float(np.median(values)) if values.size else float("nan")


def vessel_share(
    window: NDArray[np.uint8], gray: NDArray[np.bool_], slide_level: float, gray_level: float
) -> float:
    """Share of a window's gray matter that is nearer to the slide's level than to its own.

    Light passes through empty vessels and holes. NaN without gray matter or a level.
    """
    inside = window[gray].astype(float)
    if not inside.size or np.isnan(slide_level + gray_level):
        return float("nan")
    return float(np.mean(abs(inside - slide_level) < abs(inside - gray_level)))


def measure(
    points: pd.DataFrame,
    sections: Sequence[Section],
    segmentation: Sequence[Path],
    labels: Sequence[Path],
    patch_px: int,
    spacing_um: float,
) -> pd.DataFrame:
    """Read the patches of points, section by section, and measure them.

    Parameters
    ----------
    segmentation, labels : table and label file of each chunk of the sections, in the same order.

    Returns
    -------
    A table with `patch_intensity` (mean gray value of the patch),
    `section_staining` (median of the section's gray matter) and `vessels` (see `vessel_share`); NaN
    for a section without labels. The outermost pixels of gray matter do not count towards the
    vessels: they are half slide.
    """
    pages = {
        (row.brain, row.section): (path, row.page, row.spacing_um)
        for row, path in read_segmentation(segmentation, labels)
        if row.is_usable
    }
    names = ("patch_intensity", "section_staining", "vessels")
    measured = pd.DataFrame(np.nan, points.index, names)
    offsets_um = (np.arange(patch_px) - (patch_px - 1) / 2) * spacing_um
    centres_um = points[["x_um", "y_um"]].to_numpy()
    patches = windows_of_sections(points, sections, patch_px, spacing_um)
    for section, members, windows in patches:
        measured.loc[members, "patch_intensity"] = windows.mean((1, 2))
        key = (section.brain, section.section)
        if key not in pages:
            continue
        path, number, labels_um = pages[key]
        page = read_labels(path, number)
        with open_pyramid(Path(section.image), section.spacing_um) as pyramid:
            image = pyramid.to_8_bit(pyramid.read_at(labels_um))
        slide_level, gray_level = (median_level(image, page, label) for label in (SLIDE, GRAY))
        gray = ndimage.binary_erosion(page == GRAY, np.ones((3, 3)))
        for row, window in zip(members, windows, strict=True):
            axes_um = centres_um[row][:, None] + offsets_um
            pixels = np.round(section_to_pixels(axes_um, labels_um, section.spacing_um)).astype(int)
            columns, lines = (
                np.clip(axis, 0, size - 1) for axis, size in zip(pixels, page.shape[::-1])
            )
            inside = gray[np.ix_(lines, columns)]
            measured.loc[row, "section_staining"] = gray_level
            measured.loc[row, "vessels"] = vessel_share(window, inside, slide_level, gray_level)
    return measured
