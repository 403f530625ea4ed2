"""One phantom brain: its bent surfaces, its true volumes, and the anatomy of any window."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

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
from cytopipe.phantom.deep import Deep
from cytopipe.phantom.deep_shares import COVER, DIAMETER_UM, add_structures
from cytopipe.phantom.handling import ScannedSection
from cytopipe.phantom.look_up import look_up
from cytopipe.phantom.shaping import with_gaps
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
    deep: Deep | None


@dataclass(frozen=True)
class Brain:
    """A bent brain in the RAS mm of its true stack.

    `tissue` has the labels 0, 1, 2 of the undamaged cortex, the white matter within and the corpus
    callosum, without deep structures or a missing block. `depth` is the Laplacian depth on the same
    grid, 0 outside and 1 in white matter.
    """

    name: str
    bend: Bend
    hemispheres: list[Hemisphere]
    deep: Deep | None
    tissue: volumes.Volume
    depth: volumes.Volume
    grain: Grain
    vessels: Vessels
    damage: Damage
    knife_marks: KnifeMarks
    params: Phantom

    @property
    def outline(self) -> Floats:
        """Points (n, 3) around all tissue that the brain has, true stack RAS mm."""
        points = np.concatenate([h.pial for h in self.hemispheres])
        if self.deep is not None:
            points = np.concatenate([points, self.bend.to_stack(self.deep.rim)])
        return points[~self.lacks(points)]

    def lacks(self, points_mm: Floats) -> NDArray[np.bool_]:
        """Whether points (..., 3), true stack RAS mm, lie in the missing block."""
        if not self.params.geometry.missing_block:
            return np.zeros(points_mm.shape[:-1], bool)
        return np.asarray(beyond_cut_mm(self.bend.to_template(points_mm), self.params) > 0)

    def cut_tissue(self) -> volumes.Volume:
        """The tissue without the missing block."""
        if not self.params.geometry.missing_block:
            return self.tissue
        labels = self.tissue.data.copy()
        for i, plane in enumerate(labels):
            at = np.argwhere(plane)
            lost = self.lacks(self.tissue.to_mm(np.insert(at, 0, i, axis=1)))
            plane[tuple(at[lost].T)] = 0
        return volumes.Volume(labels, self.tissue.affine)


def beyond_cut_mm(points_template: Floats, params: Phantom) -> Floats:
    """Distance (...) of template points (..., 3) beyond the plane that cuts off a block."""
    *normal, distance = np.asarray(params.geometry.missing_block, np.float64)
    return (points_template @ np.array(normal) - distance) / float(np.linalg.norm(normal))


# where the template's R, A and S lie in the stack, whose axes are named for coronal sections.
# Sagittal sections show the front at the right of the image, horizontal ones at the top
TURNS = {
    "coronal": np.eye(3),
    "sagittal": np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]),
    "horizontal": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
}


def make_brain(name: str, template: Template, params: Phantom) -> Brain:
    """Bend the template's surfaces and solve for the depth."""
    bend = draw_bend(
        stream(params.seed, name, 0), params.bend_mm, params.bend_wavelengths_mm, params.bend_scale
    )
    bend = replace(bend, turn=TURNS[params.geometry.cut])
    sides = params.geometry.hemispheres
    present = [h for h in template.hemispheres if h.side in sides]
    deep = template.deep and template.deep.on(sides)
    step_mm = params.section_step * params.thickness_um / 1000
    outline = np.concatenate([h.pial for h in present] + ([] if deep is None else [deep.rim]))
    bent = bend.to_stack(outline)
    low, high = bent.min(0), bent.max(0)
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
        for h in present
    ]
    tissue = tissue_volume(hemispheres, params.depth_voxel_mm)
    add_callosum(tissue, bend.to_template, bend.to_stack, params, sides)
    labels = tissue.data if params.geometry.closed_sulci_mm == 0 else with_gaps(tissue, hemispheres)
    depth = volumes.Volume(laplace_depth(labels), tissue.affine)
    return fill(name, bend, hemispheres, tissue, depth, params, deep)


def fill(
    name: str,
    bend: Bend,
    hemispheres: list[Hemisphere],
    tissue: volumes.Volume,
    depth: volumes.Volume,
    params: Phantom,
    deep: Deep | None = None,
) -> Brain:
    """A brain of a known shape, with the structure and the damage that run through its sections."""
    points = np.concatenate([h.pial for h in hemispheres])
    if deep is not None:
        points = np.concatenate([points, bend.to_stack(deep.rim)])
    size = np.abs(ras_to_stack(points, params.image_right)).max(0) / 1000 + 10
    return Brain(
        name,
        bend,
        hemispheres,
        deep,
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
    structure : number of the deep structure (`deep.STRUCTURES`); 0 elsewhere.
    intact : share of the pixel where nothing was lost.
    """

    tissue: Image
    white: Image
    depth: Image
    area: NDArray[np.uint8]
    layer: NDArray[np.uint8]
    cover: Image
    diameter_um: Image
    structure: NDArray[np.uint8]
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
    structure = np.zeros(shape, np.uint8)
    if brain.deep is not None:
        structure = add_structures(brain.deep, tissue, white, nodes, pitch, window.pixel_um / 1000)
    own = tissue.copy()
    tissue = np.maximum(tissue, _capsules(brain.damage.bridges, window, side))
    intact = 1 - _capsules(brain.damage.tunnels, window, side)
    intact *= section.damage.intact(window) * pixels
    if section.condition == "blank":
        intact[:] = 0
    if brain.params.geometry.missing_block:
        beyond = at_pixels(beyond_cut_mm(nodes, brain.params), pitch, shape)
        intact *= np.clip(0.5 - beyond / (window.pixel_um / 1000), 0, 1)
    tissue, white = tissue * intact, white * intact
    to_voxel = brain.depth.to_indices(
        stack_to_ras(window.to_stack(np.array([[0.0, 0], [1, 0], [0, 1]])), side)
    )
    depth, area, layer, cover, diameter = look_up(
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
    structure[intact < 0.5] = 0
    deep = structure > 0
    cover[deep], diameter[deep] = COVER[structure[deep]], DIAMETER_UM[structure[deep]]
    result = Anatomy(tissue, white, depth, area, layer, cover, diameter, structure, intact)
    elsewhere = (result.labels != 1) | deep
    result.depth[elsewhere] = np.nan
    result.area[elsewhere] = 0
    result.layer[elsewhere] = 0
    return result


def coordinate_nodes(brain: Brain, window: Window) -> tuple[Floats, int]:
    """Template RAS mm (rows, columns, 3) at every n-th pixel, about 1 mm apart, and n.

    The nodes extend beyond the window, so that every pixel lies between four of them.
    """
    pitch = max(1, round(1000 / window.pixel_um))
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


def at_pixels(values: Floats, pitch: int, shape: tuple[int, int]) -> Floats:
    """Values (rows, columns) at the nodes of `coordinate_nodes`, interpolated at the pixels."""
    at = np.meshgrid(*[np.arange(size) / pitch for size in shape], indexing="ij")
    return np.asarray(ndimage.map_coordinates(values, at, order=1, mode="nearest"))


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
    near = np.abs(nodes[..., 0]) < CALLOSUM_MM * brain.params.geometry.scale + 2
    close = near.repeat(pitch, axis=0).repeat(pitch, axis=1)[: window.rows, : window.columns]
    row, column = np.nonzero(close & (tissue < 1))
    points = stack_to_ras(
        window.to_stack(np.stack([column, row], axis=-1)), brain.params.image_right
    )
    sides = brain.params.geometry.hemispheres
    inside = in_callosum(brain.bend.to_template(points), brain.params, sides=sides)
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
