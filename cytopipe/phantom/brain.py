"""One phantom brain: its bent surfaces, its true volumes, and the anatomy of any window."""

from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from cytopipe.formats import volumes
from cytopipe.numerics.components import Mask
from cytopipe.numerics.geometry import Floats, ImageRight, ras_to_stack, stack_to_ras
from cytopipe.numerics.laplace import laplace_depth
from cytopipe.numerics.slicing import plane_segments
from cytopipe.phantom.anatomy import (
    CALLOSUM_MM,
    Hemisphere,
    add_callosum,
    in_callosum,
    tissue_volume,
)
from cytopipe.phantom.bending import Bend, draw_bend
from cytopipe.phantom.coverage import coverage
from cytopipe.phantom.cytoarchitecture import Areas
from cytopipe.phantom.damage import KnifeMarks, draw_knife_marks
from cytopipe.phantom.handling import ScannedSection
from cytopipe.phantom.structure import (
    ISLANDS_MM,
    PITCH_MM,
    Damage,
    Grain,
    Vessels,
    draw_damage,
    draw_vessels,
    paint_capsules,
    stream,
)
from cytopipe.phantom.window import Window
from cytopipe.study.config import Phantom

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Template:
    """What all brains share: the unbent surfaces, the atlas and the architecture of its areas."""

    hemispheres: list[Hemisphere]
    atlas: volumes.Volume
    areas: Areas


@dataclass(frozen=True)
class Brain:
    """A bent brain in the RAS mm of its true stack.

    `tissue` has the labels 0, 1, 2 of the undamaged anatomy with its corpus callosum, and `depth`
    the Laplacian depth on the same grid, 0 outside and 1 in white matter.
    """

    name: str
    bend: Bend
    hemispheres: list[Hemisphere]
    tissue: volumes.Volume
    depth: volumes.Volume
    grain: Grain
    vessels: Vessels
    damage: Damage
    knife_marks: KnifeMarks
    params: Phantom


def make_brain(name: str, template: Template, params: Phantom) -> Brain:
    """Bend the template's surfaces and solve for the depth."""
    bend = draw_bend(
        stream(params.seed, name, 0), params.bend_mm, params.bend_wavelengths_mm, params.bend_scale
    )
    step_mm = params.section_step * params.thickness_um / 1000
    outline = np.concatenate([bend.to_stack(h.pial) for h in template.hemispheres])
    low, high = outline.min(0), outline.max(0)
    # the rearmost 0.6 of a step lies behind the first section; R, A and -S are positive
    right = 10 - low[0] if params.image_right == "R" else -10 - high[0]
    bend = bend.moved_by(np.array([right, 0.4 * step_mm - low[1], -10 - high[2]]))
    if params.handling.backwards:
        # a stack whose numbers run the other way shows a mirror image of the brain
        bend = bend.reversed_in((high - low)[1] + 0.8 * step_mm)
    hemispheres = [
        Hemisphere(
            h.side,
            bend.to_stack(h.pial),
            bend.to_stack(h.white),
            np.ascontiguousarray(h.faces[:, ::-1]) if params.handling.backwards else h.faces,
        )
        for h in template.hemispheres
    ]
    tissue = tissue_volume(hemispheres, params.depth_voxel_mm)
    add_callosum(tissue, hemispheres, bend.to_template, params)
    depth = volumes.Volume(laplace_depth(tissue.data), tissue.affine)
    return fill(name, bend, hemispheres, tissue, depth, params)


def fill(
    name: str,
    bend: Bend,
    hemispheres: list[Hemisphere],
    tissue: volumes.Volume,
    depth: volumes.Volume,
    params: Phantom,
) -> Brain:
    """A brain of a known shape, with the structure and the damage that run through its sections."""
    points = np.concatenate([h.pial for h in hemispheres])
    size = np.abs(ras_to_stack(points, params.image_right)).max(0) / 1000 + 10
    return Brain(
        name,
        bend,
        hemispheres,
        tissue,
        depth,
        Grain(params.seed, name, (float(size[0]), float(size[1])), params.texture_length_mm),
        draw_vessels(stream(params.seed, name, 2), size, params),
        draw_damage(stream(params.seed, name, 3), hemispheres, params),
        draw_knife_marks(stream(params.seed, name, 20), size, params.damage),
        params,
    )


@dataclass(frozen=True)
class Anatomy:
    """The anatomy of each pixel of a window, (rows, columns) each.

    Attributes
    ----------
    tissue, white : share of the pixel inside the surface of the brain and inside the white matter.
    depth : Laplacian depth in gray matter, NaN elsewhere.
    area, layer : label of the area, and layer 1 to 6, in gray matter; 0 elsewhere.
    cover : share of the gray matter under cell bodies.
    diameter_um : mean diameter of the cells.
    intact : share of the pixel where nothing was lost.
    """

    tissue: Image
    white: Image
    depth: Image
    area: NDArray[np.uint8]
    layer: NDArray[np.uint8]
    cover: Image
    diameter_um: Image
    intact: Image

    @property
    def labels(self) -> NDArray[np.uint8]:
        """The majority of each pixel: 0 background, 1 gray matter, 2 white matter."""
        labels = (self.tissue > 0.5).astype(np.uint8)
        labels[(self.white > 0.5) | ((labels > 0) & (self.white > self.tissue / 2))] = 2
        return labels


def dissect(brain: Brain, template: Template, window: Window, section: ScannedSection) -> Anatomy:
    """The anatomy in a window of a section, after damage.

    Where tissue lies on tissue, it is that of the piece which lies where it grew.
    """
    (_, upper), *others = dissect_layers(brain, template, window, section)
    for _, lower in others:
        shows = (upper.labels == 0) & (lower.labels > 0)
        for name, values in vars(upper).items():
            np.copyto(values, getattr(lower, name), where=shows)
    return upper


def dissect_layers(
    brain: Brain, template: Template, window: Window, section: ScannedSection
) -> list[tuple[Window, Anatomy]]:
    """The anatomy of each piece of tissue in a window, and the window in which it grew."""
    return [
        (origin, _dissect(brain, template, origin, section, pixels))
        for origin, pixels in section.damage.layers(window)
    ]


def _dissect(
    brain: Brain, template: Template, window: Window, section: ScannedSection, pixels: Mask
) -> Anatomy:
    """The anatomy in the chosen pixels of a window of the undivided section."""
    shape = (window.rows, window.columns)
    tissue, white = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    side = brain.params.image_right
    for hemisphere in brain.hemispheres:
        for target, vertices in ((tissue, hemisphere.pial), (white, hemisphere.white)):
            plane = ras_to_stack(vertices, side)
            segments = window.to_pixels(plane_segments(plane, hemisphere.faces, window.z_um))
            target += coverage(segments, *shape)
    np.minimum(tissue, 1, out=tissue)
    np.minimum(white, 1, out=white)
    np.maximum(tissue, white, out=tissue)
    nodes, pitch = coordinate_nodes(brain, window)
    joined = _callosum(brain, window, nodes, pitch, tissue)
    tissue[joined] = white[joined] = 1
    own = tissue.copy()
    tissue = np.maximum(tissue, _capsules(brain.damage.bridges, window, side))
    intact = 1 - _capsules(brain.damage.tunnels, window, side)
    intact *= section.damage.intact(window) * pixels
    if section.condition == "blank":
        intact[:] = 0
    tissue, white = tissue * intact, white * intact
    to_voxel = brain.depth.to_indices(
        stack_to_ras(window.to_stack(np.array([[0.0, 0], [1, 0], [0, 1]])), side)
    )
    depth, area, layer, cover, diameter = _look_up(
        tissue - white,
        own,
        brain.depth.data,
        to_voxel,
        nodes.astype(np.float32),
        pitch,
        np.linalg.inv(template.atlas.affine),
        template.atlas.data,
        plane_in_window(brain.grain.plane(window.z_um, ISLANDS_MM), window),
        template.areas.border,
        template.areas.coverage,
        template.areas.diameter_um,
        template.areas.islands,
    )
    result = Anatomy(tissue, white, depth, area, layer, cover, diameter, intact)
    elsewhere = result.labels != 1
    result.depth[elsewhere] = np.nan
    result.area[elsewhere] = 0
    result.layer[elsewhere] = 0
    return result


def coordinate_nodes(brain: Brain, window: Window) -> tuple[Floats, int]:
    """Template RAS mm (rows, columns, 3) at every n-th pixel, about 1 mm apart, and n.

    The nodes extend beyond the window, so that every pixel lies between four of them.
    """
    pixel_um = float(np.sqrt(abs(np.linalg.det(window.matrix))))
    pitch = max(1, round(1000 / pixel_um))
    rows = np.arange(-(-window.rows // pitch) + 1) * pitch
    columns = np.arange(-(-window.columns // pitch) + 1) * pitch
    return template_coordinates(brain, window, rows, columns), pitch


def template_coordinates(
    brain: Brain, window: Window, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> Floats:
    """Template RAS mm (rows, columns, 3) of pixels, by the formula of the bend."""
    pixels = np.stack(np.meshgrid(columns, rows), axis=-1).astype(np.float64)
    points = stack_to_ras(window.to_stack(pixels), brain.params.image_right)
    return brain.bend.to_template(points)


def plane_in_window(plane: Image, window: Window) -> Image:
    """Interpolate a field on the grid of `PITCH_MM` at the pixels of a window."""
    matrix = np.concatenate([window.matrix, window.shift[:, None]], axis=1) / (1000 * PITCH_MM)
    return np.asarray(
        cv2.warpAffine(
            plane,
            matrix,
            (window.columns, window.rows),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        ),
        np.float32,
    )


def _callosum(
    brain: Brain, window: Window, nodes: Floats, pitch: int, tissue: Image
) -> NDArray[np.bool_]:
    """Pixels in the corpus callosum; the formula is evaluated near the midline only."""
    joined = np.zeros(tissue.shape, bool)
    if not in_callosum(nodes * [0.0, 1, 1], brain.params, margin_mm=3).any():
        return joined
    near = np.abs(nodes[..., 0]) < CALLOSUM_MM + 2
    close = near.repeat(pitch, axis=0).repeat(pitch, axis=1)[: window.rows, : window.columns]
    row, column = np.nonzero(close & (tissue < 1))
    points = stack_to_ras(
        window.to_stack(np.stack([column, row], axis=-1)), brain.params.image_right
    )
    inside = in_callosum(brain.bend.to_template(points), brain.params)
    joined[row[inside], column[inside]] = True
    return joined


def _capsules(capsules_mm: Floats, window: Window, side: ImageRight) -> Image:
    capsules_um = np.concatenate(
        [
            ras_to_stack(capsules_mm[:, :3], side),
            ras_to_stack(capsules_mm[:, 3:6], side),
            capsules_mm[:, 6:] * 1000,
        ],
        axis=1,
    )
    return paint_capsules(capsules_um, window)


@njit(cache=True)
def _trilinear(field, at) -> float:  # type: ignore[no-untyped-def]
    i, j, k = int(np.floor(at[0])), int(np.floor(at[1])), int(np.floor(at[2]))
    if i < 0 or j < 0 or k < 0:
        return 0.0
    if i + 1 >= field.shape[0] or j + 1 >= field.shape[1] or k + 1 >= field.shape[2]:
        return 0.0
    x, y, z = at[0] - i, at[1] - j, at[2] - k
    value = 0.0
    for a in range(2):
        for b in range(2):
            low = (1 - z) * field[i + a, j + b, k] + z * field[i + a, j + b, k + 1]
            value += (x if a else 1 - x) * (y if b else 1 - y) * low
    return float(value)


@njit(cache=True)
def _look_up(  # type: ignore[no-untyped-def]
    gray,
    own,
    depths,
    to_voxel,
    nodes,
    pitch,
    to_atlas,
    atlas,
    islands,
    borders,
    covers,
    diameters,
    island_strengths,
):
    """Depth, area, layer, coverage and cell diameter of every pixel with gray matter."""
    rows, columns = gray.shape
    depth = np.full(gray.shape, np.nan, np.float32)
    area = np.zeros(gray.shape, np.uint8)
    layer = np.zeros(gray.shape, np.uint8)
    cover = np.zeros(gray.shape, np.float32)
    diameter = np.full(gray.shape, np.float32(10))
    right, down = to_voxel[1] - to_voxel[0], to_voxel[2] - to_voxel[0]
    point, voxel = np.zeros(3), np.zeros(3, np.int64)
    for r in range(rows):
        for c in range(columns):
            if gray[r, c] <= 0:
                continue
            if own[r, c] < 0.01:  # a bridge has no layers
                cover[r, c] = 0.2
                continue
            d = _trilinear(depths, to_voxel[0] + c * right + r * down)
            d = min(1.0, max(0.0, d))
            i, j = r // pitch, c // pitch
            y, x = (r - i * pitch) / pitch, (c - j * pitch) / pitch
            for k in range(3):
                point[k] = (1 - y) * ((1 - x) * nodes[i, j, k] + x * nodes[i, j + 1, k]) + y * (
                    (1 - x) * nodes[i + 1, j, k] + x * nodes[i + 1, j + 1, k]
                )
            label = 0
            inside = True
            for k in range(3):
                place = (
                    to_atlas[k, 0] * point[0]
                    + to_atlas[k, 1] * point[1]
                    + to_atlas[k, 2] * point[2]
                    + to_atlas[k, 3]
                )
                voxel[k] = int(np.floor(place + 0.5))
                inside = inside and 0 <= voxel[k] < atlas.shape[k]
            if inside:
                label = atlas[voxel[0], voxel[1], voxel[2]]
            at = 0
            while at < 5 and d >= borders[label, at + 1]:
                at += 1
            depth[r, c], area[r, c], layer[r, c] = d, label, at + 1
            # layers merge into one another over 4 % of the depth
            to_next = (
                min(1.0, max(0.0, 0.5 + (d - borders[label, at + 1]) / 0.04)) if at < 5 else 0.0
            )
            to_last = min(1.0, max(0.0, 0.5 - (d - borders[label, at]) / 0.04)) if at > 0 else 0.0
            stay = 1 - to_next - to_last
            mean = stay * covers[label, at]
            size = stay * diameters[label, at]
            if to_next > 0:
                mean += to_next * covers[label, at + 1]
                size += to_next * diameters[label, at + 1]
            if to_last > 0:
                mean += to_last * covers[label, at - 1]
                size += to_last * diameters[label, at - 1]
            # inside an area, upper layers gain what lower ones lose, over about 40 mm
            drift = (
                np.sin(0.11 * point[0] + 0.06 * point[1])
                + np.sin(0.09 * point[1] - 0.08 * point[2] + 1)
                + np.sin(0.10 * point[2] + 0.05 * point[0] + 2)
            )
            mean *= 1 + 0.05 * drift * (1 - 2 * d)
            size *= 1 + 0.03 * drift
            if 1 <= at <= 2:
                mean *= 1 + island_strengths[label] * min(2.0, max(-2.0, islands[r, c]))
            cover[r, c] = mean
            diameter[r, c] = size
    return depth, area, layer, cover, diameter
