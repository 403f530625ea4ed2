"""What patches look like irrespective of their cells: staining and vessels, from the images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from cytopipe.evaluation.image_windows import read_windows
from cytopipe.formats.images import open_pyramid, read_labels
from cytopipe.formats.tables import read_segmentation
from cytopipe.numerics.geometry import section_to_pixels
from cytopipe.study.sections import Section

GRAY = 1  # label of gray matter
Floats = NDArray[np.float64]


def levels_of(image: NDArray[np.uint8], labels: NDArray[np.uint8]) -> tuple[float, float]:
    """Median gray value of a section's slide and of its gray matter; NaN where it has none."""
    height, width = (min(a, b) for a, b in zip(image.shape, labels.shape, strict=True))
    image, labels = image[:height, :width], labels[:height, :width]
    slide, gray = (image[labels == label] for label in (0, GRAY))
    return tuple(  # type: ignore[return-value]
        float(np.median(part)) if part.size else float("nan") for part in (slide, gray)
    )


def vessel_share(
    window: NDArray[np.uint8], gray: NDArray[np.bool_], slide_level: float, gray_level: float
) -> float:
    """Share of the gray matter in a window whose gray value is nearer the slide's than its own.

    Empty vessels and holes let the light through. NaN without gray matter or level.
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
) -> tuple[NDArray[np.uint8], pd.DataFrame]:
    """Patches (n, patch_px, patch_px) of points, and what can be measured in them.

    Parameters
    ----------
    segmentation, labels : of the sections' chunks, in the same order: table and label file.

    Returns
    -------
    DataFrame with `patch_intensity` (mean gray value of the patch), `section_staining` (median of
    the section's gray matter) and `vessels` (see `vessel_share`); NaN where a section has no
    labels. Gray matter is taken without its outermost pixel of the labels, which is half slide.
    """
    windows = read_windows(points, sections, patch_px, spacing_um)
    by_key = {(s.brain, s.section): s for s in sections}
    pages = {
        (row.brain, row.section): (path, row.page, row.spacing_um)
        for row, path in read_segmentation(segmentation, labels)
        if row.is_usable
    }
    measured = pd.DataFrame(
        {"patch_intensity": windows.mean((1, 2)), "section_staining": np.nan, "vessels": np.nan}
    )
    offsets_um = (np.arange(patch_px) - (patch_px - 1) / 2) * spacing_um
    centres_um = points[["x_um", "y_um"]].to_numpy()
    keys = pd.Series(list(zip(points.brain, points.section, strict=True)), dtype=object)
    for key in keys.unique():
        if key not in pages:
            continue
        path, number, labels_um = pages[key]
        page = read_labels(path, number)
        section = by_key[key]
        with open_pyramid(Path(section.image), section.spacing_um) as pyramid:
            image = pyramid.to_8_bit(pyramid.read_at(labels_um))
        slide_level, gray_level = levels_of(image, page)
        gray = ndimage.binary_erosion(page == GRAY, np.ones((3, 3)))
        for at_row in np.flatnonzero(keys == key):
            centre = centres_um[at_row]
            x, y = (
                section_to_pixels(at + offsets_um, labels_um, section.spacing_um) for at in centre
            )
            columns, lines = (
                np.clip(np.round(at).astype(int), 0, size - 1)
                for at, size in ((x, page.shape[1]), (y, page.shape[0]))
            )
            inside = gray[np.ix_(lines, columns)]
            measured.loc[at_row, "section_staining"] = gray_level
            measured.loc[at_row, "vessels"] = vessel_share(
                windows[at_row], inside, slide_level, gray_level
            )
    return windows, measured
