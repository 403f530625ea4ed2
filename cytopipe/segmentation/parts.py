"""What a method of segmentation returns."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from cytopipe.numerics.components import Mask

Background = Literal["bright", "dark", ""]


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
    has_evidence : the section itself shows two kinds of tissue, whatever its neighbours show.
    remarks : what a person should look at (`cytopipe.formats.tables.REMARKS`).
    """

    tissue: Mask
    white: Mask
    seen: Mask
    background: Background
    threshold: float = float("nan")
    threshold_from: str = ""
    white_contrast: float = float("nan")
    has_evidence: bool = True
    remarks: tuple[str, ...] = ()

    @classmethod
    def blank(
        cls, shape: tuple[int, ...], background: Background, remarks: tuple[str, ...] = ()
    ) -> "Parts":
        """No tissue."""
        nothing = np.zeros(shape, bool)
        return cls(nothing, nothing, nothing, background, remarks=remarks)
