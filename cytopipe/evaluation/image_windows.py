"""Image windows around points, for tasks that show patches or measure something in them."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytopipe.files import InputError
from cytopipe.learning.loading import open_section
from cytopipe.logs import progress
from cytopipe.study.sections import Section

Windows = NDArray[np.uint8]


def read_windows(
    points: pd.DataFrame, sections: Sequence[Section], window_px: int, spacing_um: float
) -> Windows:
    """Windows (n, window_px, window_px) around points (PointRow); see `windows_of_sections`."""
    windows = np.empty((len(points), window_px, window_px), np.uint8)
    for _, members, of_section in windows_of_sections(points, sections, window_px, spacing_um):
        windows[members] = of_section
    return windows


def windows_of_sections(
    points: pd.DataFrame, sections: Sequence[Section], window_px: int, spacing_um: float
) -> Iterator[tuple[Section, NDArray[np.intp], Windows]]:
    """Each section with points (PointRow), their rows, and the windows (rows, px, px) around them.

    Windows of 2,048 px take 4 MB each: a task on thousands of points uses them section by section.

    Parameters
    ----------
    sections : rows of the points' brains; `image` is the pyramid that is read.
    spacing_um : pixel size; the pyramids must have this level.

    Raises
    ------
    InputError
        If a section is not listed, or a window cannot be read.
    """
    by_key = {(s.brain, s.section): s for s in sections}
    x_um, y_um = points.x_um.to_numpy(), points.y_um.to_numpy()
    groups: dict[Any, Any] = points.groupby(["brain", "section"]).indices
    for key, members in progress(groups.items(), len(groups), "windows of sections"):
        name = f"{key[0]} section {key[1]}"
        if key not in by_key:
            raise InputError(
                f"{name} has points but no row in config/sections.tsv; add the row or rerun the "
                "midline"
            )
        section = by_key[key]
        # no margin: a section has few windows, so only the tiles that they touch are decoded
        with open_section(name, section.image, section.spacing_um, spacing_um, 0) as reader:
            windows = [reader.window(x_um[row], y_um[row], window_px) for row in members]
        yield section, members, np.stack(windows)
