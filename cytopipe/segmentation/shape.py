"""Measures of the shape of labels: open sulci, and which tissue touches the background."""

import math

import numpy as np

from cytopipe.numerics.bitmasks import dilated
from cytopipe.numerics.components import Mask, connected_to_border, edges_between, touching


def without_rims(light: Mask, tissue: Mask, rim_px: float) -> Mask:
    """The bodies of light tissue that reach deeper than `rim_px` from the background.

    Layer I has few cells, and a pixel that is half tissue, half slide is light. Both make a light
    rim along the pial surface, which is not white matter. White matter that touches the background
    (at a cut or the wall of a ventricle) belongs to a deep body and is kept up to its edge.
    """
    deep = light & ~dilated(~tissue, rim_px)
    # as far from the deep body as the rim is wide, and one more pixel for its corners
    return touching(light & dilated(deep, rim_px + 1), deep)


def contact_ratio(gray: Mask, white: Mask) -> float:
    """Contact with the background per area, gray matter over white matter.

    Gray matter covers the brain, so the ratio is well above 1 unless the two were mistaken for each
    other. It is NaN if one of them is missing, infinite if white matter touches no background.
    """
    outside = ~(gray | white)
    if not (gray.any() and white.any() and outside.any()):
        return float("nan")
    gray_contact = edges_between(gray, outside) / np.count_nonzero(gray)
    white_contact = edges_between(white, outside) / np.count_nonzero(white)
    return float(gray_contact / white_contact) if white_contact else float("inf")


def sulcal_zone(tissue: Mask, radius_px: float) -> Mask:
    """Tissue and the clefts in it: the closing of the tissue by a disc."""
    margin = math.ceil(radius_px) + 1
    grown = dilated(np.pad(tissue, margin), radius_px)
    return ~dilated(~grown, radius_px)[margin:-margin, margin:-margin]


def sulcal_boundary_px(tissue: Mask, zone: Mask) -> int:
    """Pixel edges between tissue and open background inside `zone` (see `sulcal_zone`).

    Open means connected to the background around the brain. If the mouth of a sulcus is closed,
    nothing of the sulcus counts.
    """
    return edges_between(tissue & zone, connected_to_border(~tissue) & zone)
