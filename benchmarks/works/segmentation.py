"""Segmentation: the labels of a section (`cytopipe.segmentation.section`)."""

import library_segmentation as library
import numpy as np
from numpy.typing import NDArray
from scanned import SPACING_UM, scan
from side_by_side import Work, settings

from cytopipe.segmentation.section import Segmented, segment
from cytopipe.study.config import Segmentation


def works() -> list[Work]:
    """The whole chain, from scan to labels."""
    image, _ = scan(1)
    params = Segmentation(
        **{**settings("segmentation"), "method": "paper", "min_contrast": 0.1, "min_white": 0.35}
    )
    cut = segment(image, SPACING_UM, params).threshold

    def same(ours: Segmented, theirs: NDArray[np.uint8]) -> str:
        differ = np.count_nonzero(ours.labels != theirs)
        assert not differ, f"{differ} pixels differ"
        return "the same labels"

    return [
        Work(
            "segmentation of a section",
            f"{image.shape[0]} x {image.shape[1]} px",
            "the same chain of scikit-image and scipy",
            ours=lambda: segment(image, SPACING_UM, params),
            theirs=lambda: library.labels(image, SPACING_UM, params, cut),
            same=same,
            goal=40,
            repeats=3,
        )
    ]
