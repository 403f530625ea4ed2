"""From labelled sections to signed distances on a common grid, and from these to a volume."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytopipe import logs
from cytopipe.formats import volumes
from cytopipe.numerics import geometry

# distances are cut off here: beyond it they carry no shape, only memory of far-away borders
FARTHEST_MM = 6.0


@dataclass(frozen=True)
class Placed:
    """A labelled section and where it lies.

    Attributes
    ----------
    read : gives the labels (rows, columns), 0 background, 1 gray, 2 white.
    spacing_um, full_spacing_um : pixel size of the labels and of level 0.
    placement : section as scanned to stack.
    z_um : position in the stack.
    image_right : as in `geometry.stack_to_ras`.
    """

    read: Callable[[], NDArray[np.uint8]]
    spacing_um: float
    full_spacing_um: float
    placement: geometry.Placement
    z_um: float
    image_right: geometry.ImageRight

    def pixels_to_stack(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Stack (x, y) um of (column, row) of the labels."""
        points = geometry.pixels_to_section(pixels, self.spacing_um, self.full_spacing_um)
        return self.placement(points)

    def stack_to_pixels(self, points_um: NDArray[np.float64]) -> NDArray[np.float64]:
        """Inverse of `pixels_to_stack`."""
        points = self.placement.back(points_um)
        return geometry.section_to_pixels(points, self.spacing_um, self.full_spacing_um)


@dataclass(frozen=True)
class Grid:
    """An isotropic RAS grid: shape (r, a, s), voxel edge, RAS mm of the first voxel's centre."""

    shape: tuple[int, int, int]
    voxel_mm: float
    origin_mm: NDArray[np.float64]

    @property
    def affine(self) -> NDArray[np.float64]:
        return volumes.regular_affine(self.voxel_mm, self.origin_mm)

    def axis_mm(self, axis: int) -> NDArray[np.float64]:
        """Voxel centres along an axis."""
        return np.asarray(self.origin_mm[axis] + self.voxel_mm * np.arange(self.shape[axis]))


@dataclass
class Planes:
    """Signed distances in mm, positive inside, of tissue and of white matter.

    Attributes
    ----------
    tissue, white : (sections, r, s) float32.
    a_mm : (sections,) position of each section, increasing.
    """

    tissue: NDArray[np.float32]
    white: NDArray[np.float32]
    a_mm: NDArray[np.float64]


def grid_around(sections: list[Placed], voxel_mm: float, margin: int) -> Grid:
    """The grid that holds the tissue of all sections and `margin` voxels around it.

    Its planes along the cutting direction meet the first section, so that sections a whole number
    of voxels apart all lie on planes.
    """
    corners = []
    for section in sections:
        rows, columns = np.nonzero(section.read())
        if len(rows) == 0:
            continue
        box = np.array(
            [
                [column, row]
                for column in (columns.min(), columns.max())
                for row in (rows.min(), rows.max())
            ],
            np.float64,
        )
        stack = section.pixels_to_stack(box)
        z = np.full((len(stack), 1), section.z_um)
        corners.append(geometry.stack_to_ras(np.hstack([stack, z]), section.image_right))
    points = np.concatenate(corners)
    low, high = points.min(0), points.max(0)
    first = sections[0].z_um / 1000
    low[[0, 2]] = np.floor(low[[0, 2]] / voxel_mm) * voxel_mm
    low[1] = first - np.ceil((first - low[1]) / voxel_mm) * voxel_mm
    count = np.ceil((high - low) / voxel_mm - 1e-6).astype(int) + 1 + 2 * margin
    r, a, s = (int(n) for n in count)
    return Grid((r, a, s), voxel_mm, low - margin * voxel_mm)


def signed_distance(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance in pixels to the mask's border, half a pixel beyond its last pixel; positive inside.

    A mask without a border gives plus or minus infinity.
    """
    if mask.all() or not mask.any():
        return np.full(mask.shape, np.inf if mask.all() else -np.inf, np.float32)
    import cv2

    inside, outside = (
        cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for side in (mask, ~mask)
    )
    return np.where(mask, inside - 0.5, 0.5 - outside).astype(np.float32)


def section_planes(
    sections: list[Placed],
    grid: Grid,
    smoothing_voxels: float,
    sulcus_voxels: float,
    brain: str,
    workers: int = 1,
) -> Planes:
    """Signed distances of each section at the voxel centres of its plane, `workers` at a time."""
    shape = (len(sections), grid.shape[0], grid.shape[2])
    planes = Planes(
        np.empty(shape, np.float32),
        np.empty(shape, np.float32),
        np.array([section.z_um / 1000 for section in sections]),
    )
    ras = np.zeros((grid.shape[0], grid.shape[2], 3))
    ras[..., 0] = grid.axis_mm(0)[:, None]
    ras[..., 2] = grid.axis_mm(2)[None, :]

    def fill(number: int) -> None:
        planes.tissue[number], planes.white[number] = _plane(
            sections[number], ras, grid.voxel_mm, smoothing_voxels, sulcus_voxels
        )

    with ThreadPoolExecutor(workers) as pool:
        # the filters let other threads run
        for _ in logs.progress(
            pool.map(fill, range(len(sections))), len(sections), f"{brain}: planes"
        ):
            pass
    return planes


def _plane(
    section: Placed,
    ras: NDArray[np.float64],
    voxel_mm: float,
    smoothing_voxels: float,
    sulcus_voxels: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Signed distances in mm of a section's tissue and white matter at points (r, s, 3) RAS mm."""
    stack = geometry.ras_to_stack(ras, section.image_right)[..., :2]
    pixels = section.stack_to_pixels(stack)
    pixel_mm = section.spacing_um / 1000
    voxel_px = voxel_mm / pixel_mm
    far, sigma = FARTHEST_MM / pixel_mm, smoothing_voxels * voxel_px
    # further from the tissue than distances and filters reach, all is background
    first, labels = _around_tissue(
        section.read(), int(np.ceil(far + 4 * sigma + sulcus_voxels * voxel_px)) + 2
    )
    pixels = np.moveaxis(pixels[..., ::-1], -1, 0) - first[:, None, None]
    tissue = signed_distance(labels > 0)
    if sulcus_voxels > 0:
        tissue = widen_sulci(tissue, sulcus_voxels * voxel_px / 2)
    found = []
    for distance in (tissue, signed_distance(labels == 2)):
        smooth = ndimage.gaussian_filter(np.clip(distance, -far, far), sigma, mode="nearest")
        # cval: what lies off the image is background
        at = ndimage.map_coordinates(smooth, pixels, order=1, cval=-far, mode="constant")
        found.append(pixel_mm * at)
    return found[0], found[1]


def _around_tissue(
    labels: NDArray[np.uint8], margin: int
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """The part of a section within `margin` pixels of its tissue, and (row, column) of its first.

    With a border of background, so that tissue cut by the image ends there.
    """
    rows, columns = (np.flatnonzero(labels.any(axis=axis)) for axis in (1, 0))
    if len(rows) == 0:
        return np.array([-1, -1]), np.pad(labels, 1)
    top, left = max(0, rows[0] - margin), max(0, columns[0] - margin)
    part = labels[top : rows[-1] + margin + 1, left : columns[-1] + margin + 1]
    return np.array([top - 1, left - 1]), np.pad(part, 1)


def widen_sulci(tissue: NDArray[np.float32], half_width_px: float) -> NDArray[np.float32]:
    """Carve narrow sulci to a half width of `half_width_px`, from their middle outwards.

    Parameters
    ----------
    tissue : signed distance in px, positive inside.

    Returns
    -------
    Signed distance; unchanged but near background into which a disc of `half_width_px` does not
    fit. Point sampling at voxel centres would otherwise close a sulcus narrower than a voxel here
    and leave it open there, which fuses its banks.
    """
    background = tissue < 0
    outside = np.maximum(-tissue, 0)
    # opening by a disc of that radius; what is lost to it is narrow
    core = outside >= half_width_px
    opened = signed_distance(core) > -half_width_px if core.any() else core
    narrow = background & ~opened
    # its middle: where the distance to the banks has its ridge
    ridge = narrow & (outside >= ndimage.maximum_filter(outside, size=3) - 0.25)
    if not ridge.any():
        return tissue
    import cv2

    to_ridge = cv2.distanceTransform((~ridge).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.minimum(tissue, to_ridge - half_width_px).astype(np.float32)


def interpolate(planes: Planes, grid: Grid, max_gap_mm: float) -> NDArray[np.uint8]:
    """Label volume (r, a, s): 0 background, 1 gray, 2 white.

    Between two sections at most `max_gap_mm` apart distances are interpolated linearly; beyond an
    end of the stack, or of a part of it, the shape shrinks as fast as one moves away, and is gone
    after half that spacing to the neighbour.
    """
    volume = np.zeros(grid.shape, np.uint8)
    a_mm = planes.a_mm
    spacing = float(np.median(np.diff(a_mm)))
    for index, a in enumerate(grid.axis_mm(1)):
        after = int(np.searchsorted(a_mm, a - 1e-6))
        if after < len(a_mm) and abs(a_mm[after] - a) < 1e-5:
            pair = (after, after)
        else:
            pair = (after - 1, after)
        if pair[0] >= 0 and pair[1] < len(a_mm) and a_mm[pair[1]] - a_mm[pair[0]] <= max_gap_mm:
            gap = a_mm[pair[1]] - a_mm[pair[0]]
            share = np.float32((a - a_mm[pair[0]]) / gap if gap > 0 else 0)
            tissue, white = (
                field[pair[0]] * (1 - share) + field[pair[1]] * share
                for field in (planes.tissue, planes.white)
            )
        else:
            ends = [end for end in pair if 0 <= end < len(a_mm)]
            nearest = min(ends, key=lambda end: abs(a_mm[end] - a))
            away = np.float32(abs(a_mm[nearest] - a))
            if away > spacing / 2:
                continue
            tissue, white = planes.tissue[nearest] - away, planes.white[nearest] - away
        inside = tissue > 0
        volume[:, index] = inside.astype(np.uint8) + (inside & (white > 0))
    return volume
