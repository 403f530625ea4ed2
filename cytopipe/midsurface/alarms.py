"""An alarm that needs no truth: gray matter that no mid-surface runs through."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from cytopipe.formats.tables import SurfaceRow
from cytopipe.formats.volumes import Volume
from cytopipe.midsurface.surface import MIDDLE
from cytopipe.numerics.components import Mask
from cytopipe.numerics.geometry import Floats
from cytopipe.study.config import Midsurface

# gray matter is sampled this densely; chosen, not measured
SAMPLING_MM = 1.0
MOST_PLACES = 5
# gray matter whose depth differs from 0.5 by no more is at half depth; chosen, not measured
HALFWAY = 0.1


@dataclass(frozen=True)
class LostCortex:
    """Gray matter far from the mid-surface of its hemisphere.

    Attributes
    ----------
    share : of the gray matter of the hemisphere.
    buried_share : the part of `share` that lies inside the mid-surface: the banks of sulci that it
        passes over. The rest is outside: cut-off gyri, but also thick crowns and poles.
    missed_share : of the gray matter at half depth, where the surface should run. Thick crowns do
        not count.
    places : the largest clusters in words, those with the most buried gray matter first.
    """

    share: float
    buried_share: float
    missed_share: float
    places: str


def lost_cortex(gray: Mask, depth: Volume, vertices: Floats, far_mm: float) -> LostCortex:
    """The gray matter more than `far_mm` from the nearest vertex of the mid-surface.

    Parameters
    ----------
    gray : (i, j, k) the gray matter of one hemisphere, on the grid of `depth`.
    depth : 0 pial to 1 white.
    vertices : (v, 3) stack RAS mm; their distance is far below `far_mm`.
    """
    step = max(1, round(SAMPLING_MM / float(depth.voxel_mm[0])))
    coarse, values = (array[::step, ::step, ::step] for array in (gray, depth.data))
    indices = np.argwhere(coarse)
    if not len(indices):
        return LostCortex(0.0, 0.0, 0.0, "")
    points_mm = depth.to_mm(indices * step)
    distances_mm, _ = cKDTree(vertices).query(points_mm)
    far = distances_mm > far_mm
    buried = far & (values[coarse] >= MIDDLE)
    halfway = np.abs(values[coarse] - MIDDLE) <= HALFWAY
    missed = float((far & halfway).sum() / max(1, int(halfway.sum())))
    lost = np.zeros(coarse.shape, bool)
    lost[tuple(indices[far].T)] = True
    clusters, count = ndimage.label(lost, np.ones((3, 3, 3), bool))
    numbers = clusters[tuple(indices.T)]
    sizes, buried_sizes = (
        np.bincount(numbers[some], minlength=count + 1) for some in (far, buried)
    )
    voxel_mm3 = float(np.prod(depth.voxel_mm)) * step**3
    places: list[str] = []
    for cluster in sorted(range(1, count + 1), key=lambda n: (-buried_sizes[n], -sizes[n])):
        if len(places) == MOST_PLACES:
            break
        r, a, s = points_mm[np.argmax(np.where(numbers == cluster, distances_mm, -1.0))]
        places.append(
            f"{sizes[cluster] * voxel_mm3:.0f} mm3 ({buried_sizes[cluster] * voxel_mm3:.0f} "
            f"buried) at R {r:.0f} A {a:.0f} S {s:.0f}"
        )
    return LostCortex(float(far.mean()), float(buried.mean()), missed, "; ".join(places))


def questioned(row: SurfaceRow, unassigned_share: float, params: Midsurface) -> SurfaceRow:
    """The row, with the status `doubtful` and the reasons if something speaks against the surface.

    Parameters
    ----------
    unassigned_share : of the brain's tissue, in no hemisphere.
    """
    reasons = []
    if unassigned_share > params.most_unassigned:
        reasons.append(
            f"{unassigned_share:.1%} of the tissue, {row.unassigned_mm3:.0f} mm3, belongs to no "
            "hemisphere"
        )
    if row.buried_share > params.most_buried:
        reasons.append(
            f"{row.buried_share:.1%} of the gray matter is buried more than {params.lost_mm:g} mm "
            f"inside the surface, which passes over sulci"
        )
    if row.missed_share > params.most_missed:
        reasons.append(
            f"{row.missed_share:.2%} of the gray matter at half depth lies more than "
            f"{params.lost_mm:g} mm from the surface, which leaves it out"
        )
    if row.lost_share > params.most_lost:
        reasons.append(
            f"{row.lost_share:.1%} of the gray matter lies more than {params.lost_mm:g} mm from "
            "the surface"
        )
    if not (row.is_ok and reasons):
        return row
    reasons.append(row.status.removeprefix("ok").removeprefix(", "))
    return replace(row, status=f"doubtful: {'; '.join(filter(None, reasons))}")
