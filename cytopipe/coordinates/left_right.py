"""Whether left and right of a whole brain are as stated.

Not in the papers. If every slide was scanned from the wrong side, the whole brain is mirrored, and
nothing contradicts it: its coarse correlation with the template hardly changes. A warp to the
template fits the true side better, because gyri differ between the hemispheres. Therefore the
mirrored brain is registered as well, and the overlaps are compared.
"""

import numpy as np

from cytopipe.coordinates.direction import overlap
from cytopipe.coordinates.orientation import Orientation, remedy_of
from cytopipe.coordinates.template_registration import register
from cytopipe.formats.tables.brain_rows import FAILED, OK, UNCLEAR, CheckRow
from cytopipe.formats.transforms import PointTransform
from cytopipe.formats.volumes import Volume
from cytopipe.study.config import Coordinates

LEFT_RIGHT = "mean Dice, minus that of the mirrored brain"
_FLIP = np.diag([-1.0, 1.0, 1.0, 1.0])


def left_right_row(
    brain: str, tissue: Volume, lies: Orientation, used: PointTransform, params: Coordinates
) -> CheckRow:
    """Compare the registration of a brain with that of its mirror image.

    Parameters
    ----------
    tissue : stack RAS mm.
    used : the registration of the brain to `lies.template`.
    """
    other = mirrored(tissue)
    start = lies.others["LAS"].matrix @ _FLIP
    flipped = register(other, lies.template, start, brain, "template", params).full
    own = overlap(used, tissue, lies.template).mean
    gain = own - overlap(flipped, other, lies.template).mean
    margin = params.min_side_gain
    status, remedy = OK, ""
    if gain <= -margin:
        status, remedy = FAILED, remedy_of("LAS")
    elif gain < margin:
        status = UNCLEAR
        remedy = (
            "the template does not show which side is the left one; compare study.image_right in "
            "config/config.yaml with a mark on the slides"
        )
    return CheckRow(brain, LEFT_RIGHT, gain, "", f"at least {margin:g}", status, remedy)


def mirrored(volume: Volume) -> Volume:
    """A volume with left and right exchanged about R = 0, on a grid whose axes are R, A and S."""
    affine = volume.affine.copy()
    affine[0, 3] = -(affine[0, 3] + affine[0, 0] * (volume.data.shape[0] - 1))
    return Volume(np.ascontiguousarray(volume.data[::-1]), affine)
