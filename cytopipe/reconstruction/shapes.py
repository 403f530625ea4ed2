"""From labelled sections to signed distances on a common grid, and from these to a volume."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytopipe import logs
from cytopipe.formats import volumes
from cytopipe.formats.tables import SegmentationRow, StackRow
from cytopipe.numerics import geometry
from cytopipe.numerics.components import Mask
from cytopipe.numerics.geometry import Floats
from cytopipe.study.config import Reconstruction

Field = NDArray[np.float32]


@dataclass(frozen=True)
class PlacedSection:
    """A labelled section that is placed in the stack.

    Attributes
    ----------
    read : returns the labels (rows, columns), 0 background, 1 gray, 2 white.
    """

    read: Callable[[], NDArray[np.uint8]]
    row: SegmentationRow
    place: StackRow

    @property
    def _placement(self) -> geometry.Placement:
        assert self.place.placement is not None
        return self.place.placement

    def pixels_to_ras(self, pixels: Floats) -> Floats:
        """Stack RAS mm, (n, 3), of pixels of the labels, (n, 2) column and row."""
        points = geometry.pixels_to_section(pixels, self.row.spacing_um, self.row.full_spacing_um)
        stack = np.insert(self._placement(points), 2, self.place.z_um, axis=-1)
        return geometry.stack_to_ras(stack, self.place.image_right)

    def ras_to_pixels(self, points_mm: Floats) -> Floats:
        """Pixels of the labels, (..., 2) column and row, at stack RAS mm in the section's plane."""
        stack = geometry.ras_to_stack(points_mm, self.place.image_right)
        points = self._placement.back(stack[..., :2])
        return geometry.section_to_pixels(points, self.row.spacing_um, self.row.full_spacing_um)


@dataclass(frozen=True)
class Grid:
    """An isotropic RAS grid: shape (r, a, s), voxel edge, RAS mm of the first voxel's centre."""

    shape: tuple[int, int, int]
    voxel_mm: float
    origin_mm: Floats

    @property
    def affine(self) -> Floats:
        return volumes.regular_affine(self.voxel_mm, self.origin_mm)

    def axis_mm(self, axis: int) -> Floats:
        """Voxel centres along an axis."""
        return np.asarray(self.origin_mm[axis] + self.voxel_mm * np.arange(self.shape[axis]))


@dataclass
class Planes:
    """Signed distances in mm, positive inside, of tissue and of white matter.

    Attributes
    ----------
    tissue, white : (sections, r, s).
    a_mm : (sections,) position of each section, increasing.
    """

    tissue: Field
    white: Field
    a_mm: Floats


def tissue_box(labels: NDArray[np.uint8]) -> tuple[slice, slice] | None:
    """Rows and columns of the smallest box around the tissue of a section; None without tissue."""
    boxes = ndimage.find_objects((labels > 0).astype(np.uint8))
    return boxes[0] if boxes else None


def grid_around(sections: list[PlacedSection], voxel_mm: float, margin: int) -> Grid:
    """The grid that holds the tissue of all sections and `margin` voxels around it.

    One of its planes along the cutting direction passes through the first section, so that sections
    a whole number of voxels apart all lie on planes.
    """
    corners = []
    for section in sections:
        if (box := tissue_box(section.read())) is None:
            continue
        rows, columns = ((side.start, side.stop - 1) for side in box)
        pixels = [[column, row] for column in columns for row in rows]
        corners.append(section.pixels_to_ras(np.array(pixels, np.float64)))
    points = np.concatenate(corners)
    low, high = points.min(0), points.max(0)
    first = sections[0].place.z_um / 1000
    low[[0, 2]] = np.floor(low[[0, 2]] / voxel_mm) * voxel_mm
    low[1] = first - np.ceil((first - low[1]) / voxel_mm) * voxel_mm
    count = np.ceil((high - low) / voxel_mm - 1e-6).astype(int) + 1 + 2 * margin
    r, a, s = (int(n) for n in count)
    return Grid((r, a, s), voxel_mm, low - margin * voxel_mm)


def signed_distance(mask: Mask) -> Field:
    """Distance in pixels to the mask's border, half a pixel beyond its last pixel; positive inside.

    Plus or minus infinity if the mask has no border.
    """
    if mask.all() or not mask.any():
        return np.full(mask.shape, np.inf if mask.all() else -np.inf, np.float32)
    return np.where(mask, _distance(mask) - 0.5, 0.5 - _distance(~mask)).astype(np.float32)


def _distance(mask: Mask) -> Field:
    """Distance in pixels from each pixel of a mask to the nearest pixel outside it."""
    import cv2

    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance, np.float32)


def section_planes(
    sections: list[PlacedSection],
    grid: Grid,
    params: Reconstruction,
    brain: str,
    workers: int = 1,
) -> Planes:
    """Signed distances of each section at the voxel centres of its plane, `workers` at a time."""
    shape = (len(sections), grid.shape[0], grid.shape[2])
    planes = Planes(
        np.empty(shape, np.float32),
        np.empty(shape, np.float32),
        np.array([section.place.z_um / 1000 for section in sections]),
    )
    ras = np.zeros((grid.shape[0], grid.shape[2], 3))
    ras[..., 0] = grid.axis_mm(0)[:, None]
    ras[..., 2] = grid.axis_mm(2)[None, :]

    def fill(number: int) -> None:
        planes.tissue[number], planes.white[number] = _plane(sections[number], ras, params)

    with ThreadPoolExecutor(workers) as pool:
        # the filters release the lock of the interpreter, so other threads run meanwhile
        filled = pool.map(fill, range(len(sections)))
        for _ in logs.progress(filled, len(sections), f"{brain}: planes"):
            pass
    return planes


def _plane(section: PlacedSection, ras: Floats, params: Reconstruction) -> list[Field]:
    """Signed distances in mm of a section's tissue and white matter at points (r, s, 3) RAS mm."""
    pixels = section.ras_to_pixels(ras)
    pixel_mm = section.row.spacing_um / 1000
    voxel_px = params.voxel_mm / pixel_mm
    far, sigma = params.farthest_mm / pixel_mm, params.smoothing_voxels * voxel_px
    # further from the tissue than distances and filters reach, all is background
    margin = int(np.ceil(far + 4 * sigma + params.sulcus_voxels * voxel_px)) + 2
    first, labels = _around_tissue(section.read(), margin)
    pixels = np.moveaxis(pixels[..., ::-1], -1, 0) - first[:, None, None]
    tissue = signed_distance(labels > 0)
    if params.sulcus_voxels > 0:
        tissue = widen_sulci(tissue, params.sulcus_voxels * voxel_px / 2)
    sampled_mm = []
    for distance in (tissue, signed_distance(labels == 2)):
        smooth = ndimage.gaussian_filter(np.clip(distance, -far, far), sigma, mode="nearest")
        # cval: outside the image is background
        at = ndimage.map_coordinates(smooth, pixels, order=1, cval=-far, mode="constant")
        sampled_mm.append(pixel_mm * at)
    return sampled_mm


def _around_tissue(
    labels: NDArray[np.uint8], margin: int
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """(row, column) of the first pixel within `margin` pixels of the tissue, and that part.

    The part has a border of background, so that tissue cut off by the image ends there.
    """
    if (box := tissue_box(labels)) is None:
        return np.array([-1, -1]), np.pad(labels, 1)
    top, left = (max(0, side.start - margin) for side in box)
    part = labels[top : box[0].stop + margin, left : box[1].stop + margin]
    return np.array([top - 1, left - 1]), np.pad(part, 1)


def widen_sulci(tissue: Field, half_width_px: float) -> Field:
    """Carve narrow sulci to a half width of `half_width_px`, from their middle outwards.

    A sulcus is narrow where a disc of `half_width_px` does not fit into it. Sampling at voxel
    centres would close it in some places and leave it open in others, which fuses its banks.

    Parameters
    ----------
    tissue : signed distance in px, positive inside.

    Returns
    -------
    Signed distance in px, unchanged away from narrow sulci.
    """
    background = tissue < 0
    outside = np.maximum(-tissue, 0)
    # what an opening by the disc removes is narrow
    opened = signed_distance(outside >= half_width_px) > -half_width_px
    narrow = background & ~opened
    # its middle: the ridge of the distance to the banks
    ridge = narrow & (outside >= ndimage.maximum_filter(outside, size=3) - 0.25)
    if not ridge.any():
        return tissue
    return np.minimum(tissue, _distance(~ridge) - half_width_px).astype(np.float32)


def interpolate_labels(planes: Planes, grid: Grid, max_gap_mm: float) -> NDArray[np.uint8]:
    """Label volume (r, a, s): 0 background, 1 gray, 2 white.

    Distances are interpolated linearly between two sections at most `max_gap_mm` apart. Beyond the
    end of the stack, or beside a wider gap, the shape shrinks by the distance from the last section
    and ends after half of the median section spacing.
    """
    volume = np.zeros(grid.shape, np.uint8)
    a_mm = planes.a_mm
    spacing = float(np.median(np.diff(a_mm)))
    for index, a in enumerate(grid.axis_mm(1)):
        after = int(np.searchsorted(a_mm, a))
        nearest = int(np.argmin(np.abs(a_mm - a)))
        away = np.float32(abs(a_mm[nearest] - a))
        if away < 1e-5:  # the plane is that of a section, up to rounding
            tissue, white = planes.tissue[nearest], planes.white[nearest]
        elif 0 < after < len(a_mm) and a_mm[after] - a_mm[after - 1] <= max_gap_mm:
            share = np.float32((a - a_mm[after - 1]) / (a_mm[after] - a_mm[after - 1]))
            tissue, white = (
                field[after - 1] * (1 - share) + field[after] * share
                for field in (planes.tissue, planes.white)
            )
        elif away <= spacing / 2:
            tissue, white = planes.tissue[nearest] - away, planes.white[nearest] - away
        else:
            continue
        inside = tissue > 0
        volume[:, index] = inside.astype(np.uint8) + (inside & (white > 0))
    return volume
