"""The arachnoid: the membrane around the brain, pale in a section and not cortex."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytopipe.numerics.geometry import ras_to_stack
from cytopipe.numerics.slicing import plane_segments
from cytopipe.phantom.brain import Brain, plane_in_window
from cytopipe.phantom.coverage import coverage
from cytopipe.phantom.structure import PITCH_MM
from cytopipe.phantom.window import Window

# the arachnoid spans sulci up to twice as wide as this, and lies this far above the brain with this
# half thickness. Chosen, not measured
SPANNED_MM = 2.0
MEMBRANE_MM = (0.3, 0.1)


def arachnoid(brain: Brain, window: Window) -> NDArray[np.float32]:
    """Share of each pixel under the membrane around the brain, which spans narrow sulci."""
    side = brain.params.image_right
    grid = (int(size / PITCH_MM) + 2 for size in brain.grain.size_mm[::-1])
    rows, columns = grid
    inside = np.zeros((rows, columns), np.float32)
    for hemisphere in brain.hemispheres:
        plane = ras_to_stack(hemisphere.pial, side)
        segments = plane_segments(plane, hemisphere.faces, window.z_um)
        inside += coverage(segments / (1000 * PITCH_MM), rows, columns)
    outside_mm = PITCH_MM * ndimage.distance_transform_edt(inside < 0.5)
    # closing: what a disc of this radius outside the membrane cannot reach lies inside it
    away_mm = PITCH_MM * ndimage.distance_transform_edt(outside_mm < SPANNED_MM)
    distance_mm = SPANNED_MM - away_mm - MEMBRANE_MM[0]
    band = np.clip(0.5 + (MEMBRANE_MM[1] - np.abs(distance_mm)) / PITCH_MM, 0, 1)
    return plane_in_window(band.astype(np.float32), window)
