"""What a method of segmentation returns."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from cytopipe.numerics.components import Mask

# what a threshold comes from if the section was segmented by `half_level`
HALF_LEVEL = "half level"

Background = Literal["bright", "dark", ""]


@dataclass(frozen=True)
class Levels:
    """Where the two peaks of tissue lie.

    Attributes
    ----------
    gray : stain of gray matter, as a share of the stain along the surface, below layer I.
    contrast : of white to gray matter, as a share of that of slide to gray matter.
    """

    gray: float
    contrast: float


@dataclass(frozen=True)
class Parts:
    """Tissue and white matter of a section, before the last cleaning.

    Attributes
    ----------
    tissue, white : (rows, columns). A blank section has no tissue.
    seen : (rows, columns), the tissue in the image before any filter, without dirt.
    background : whether the slide is brighter or darker than the tissue.
    threshold : what separates tissue from slide, as a share of the gray range. NaN without tissue.
    threshold_from : how the threshold was found.
    white_contrast : contrast of white to gray matter, as a share of that of slide to gray matter;
        NaN without white matter.
    levels : what the section itself shows, whatever its neighbours show; None if it does not show
        two kinds of tissue.
    remarks : what a person should look at (`cytopipe.formats.tables.REMARKS`).
    """

    tissue: Mask
    white: Mask
    seen: Mask
    background: Background
    threshold: float = float("nan")
    threshold_from: str = ""
    white_contrast: float = float("nan")
    levels: Levels | None = None
    remarks: tuple[str, ...] = ()

    @classmethod
    def blank(
        cls, shape: tuple[int, ...], background: Background, remarks: tuple[str, ...] = ()
    ) -> "Parts":
        """No tissue."""
        nothing = np.zeros(shape, bool)
        return cls(nothing, nothing, nothing, background, remarks=remarks)
