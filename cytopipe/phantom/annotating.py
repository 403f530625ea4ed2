"""Annotations as people of a lab would make them, but taken from the truth and free of errors.

`areas/{brain}/{section}.geojson`, `layers/` with layers.tsv, images, masks and cells, and
`thickness/{brain}/` with the mid-surface in template RAS mm and the thickness of each layer.
"""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import find_contours

from cytopipe.files import InputError
from cytopipe.formats import surfaces
from cytopipe.formats.volumes import labels_at
from cytopipe.numerics.geometry import Floats
from cytopipe.phantom.anatomy import Hemisphere, area_names
from cytopipe.phantom.brain import Brain, Template, dissect
from cytopipe.phantom.cytoarchitecture import LAYERS
from cytopipe.phantom.handling import ScannedSection
from cytopipe.phantom.rendering import cell_positions, render
from cytopipe.phantom.structure import stream
from cytopipe.study import annotations
from cytopipe.study.annotations import Contour, Polygon

# smaller pieces and holes, such as tunnels, are not drawn. Chosen, not measured
SMALLEST_MM2 = 1.0
# distance by which a drawn line may leave the outline of the pixels
_TOLERANCE_PX = 0.35
# depths at which the centre of a patch lies
_MIDDLE = (0.4, 0.6)
# points along a line from the pial surface to the white matter
_POINTS = 101


def annotate(
    brain: Brain, template: Template, sections: list[ScannedSection], folder: Path
) -> pd.DataFrame:
    """Write the annotations of a brain; return its rows of layers.tsv.

    Every `annotated_every`-th good section has contours. The `layer_patches` are divided evenly
    between the brains.
    """
    params = brain.params
    good = [section for section in sections if section.condition == "good"]
    for section in good[:: params.annotated_every]:
        contours = contours_of(brain, template, section)
        path = folder / "areas" / brain.name / f"{section.section:05d}.geojson"
        annotations.write_contours(contours, path)
    write_thickness(brain, template, folder / "thickness" / brain.name)
    place = list(params.brains).index(brain.name)
    count = (params.layer_patches + place) // len(params.brains)
    return _write_patches(brain, template, good, count, folder / "layers")


def contours_of(brain: Brain, template: Template, section: ScannedSection) -> list[Contour]:
    """Outlines of the areas on a section, left and right under one name, in the order of labels.

    They consist of the outer boundary of each connected piece and of its large holes (white matter
    in a ring of cortex).
    """
    params = brain.params
    # coarser than level 0 if that is very fine: drawn lines do not follow cells
    spacing_um = max(params.spacing_um, params.truth_spacing_um / 2)
    area = dissect(brain, template, section.whole(spacing_um), section).area
    boxes = ndimage.find_objects(area)
    factor = spacing_um / params.spacing_um
    polygons: dict[str, list[Polygon]] = {}
    smallest = SMALLEST_MM2 * 1e6 / spacing_um**2
    for label, name in area_names(params.areas)[["label", "name"]].itertuples(index=False):
        box = boxes[label - 1] if label <= len(boxes) else None
        if box is None:
            continue
        first = np.array([box[1].start, box[0].start]) * factor
        for rings in outlines(area[box] == label, smallest, factor):
            polygons.setdefault(str(name), []).append(tuple(ring + first for ring in rings))
    return [Contour(name, tuple(drawn)) for name, drawn in polygons.items()]


def outlines(mask: NDArray[np.bool_], smallest_px: float, factor: float) -> list[Polygon]:
    """Outer boundary and large holes of each connected piece of a mask.

    Parameters
    ----------
    smallest_px : smaller pieces and holes are left out.
    factor : width of a pixel in pixels of level 0. The outlines are in pixels of level 0, from the
        corner of the first one.
    """
    pieces, count = ndimage.label(mask)
    polygons = []
    for number, place in enumerate(ndimage.find_objects(pieces, count), start=1):
        piece = np.pad(pieces[place] == number, 1)
        if piece.sum() < smallest_px:
            continue
        rings = []
        for ring in find_contours(piece.astype(np.float32), 0.5):
            points = ring[:, ::-1].astype(np.float32)
            drawn = cv2.approxPolyDP(points[:-1, None], _TOLERANCE_PX, True)[:, 0]
            size = abs(float(cv2.contourArea(points[:-1, None])))
            if size >= smallest_px and len(drawn) > 2:
                corner = np.array([place[1].start - 1, place[0].start - 1])
                closed = np.concatenate([drawn, drawn[:1]]).astype(np.float64)
                rings.append((size, (closed + corner + 0.5) * factor))
        rings.sort(key=lambda sized: -sized[0])
        if rings:
            polygons.append(tuple(ring for _, ring in rings))
    return polygons


def _write_patches(
    brain: Brain, template: Template, good: list[ScannedSection], count: int, folder: Path
) -> pd.DataFrame:
    """Write patches at random places in mid-cortex of random good sections.

    They are rendered like the sections, at a finer pixel size. The sides of every third patch are
    shortened to half or more, as if it had been fitted to what a person could annotate.
    """
    params = brain.params
    rng = stream(params.seed, brain.name, 8)
    edge = round(params.layer_patch_um / params.layer_spacing_um)
    chosen = np.sort(rng.integers(0, len(good), count))
    rows = []
    middles: dict[int, NDArray[np.int64]] = {}
    for number, wanted in enumerate(chosen.tolist()):
        # sections at the very pole have no mid-cortex: the next one is used
        for which in [*range(wanted, len(good)), *range(wanted)]:
            if which not in middles:
                middles[which] = _middle_of_cortex(brain, template, good[which])
            if len(middles[which]):
                break
        else:
            raise InputError(
                f"{brain.name}: no section shows the middle of the cortex at truth_spacing_um of "
                f"{params.truth_spacing_um:g}; lower it or set layer_patches to 0"
            )
        places = middles[which]
        section = good[which]
        sides = rng.integers(edge // 2, edge + 1, 2) if number % 3 == 2 else np.array([edge, edge])
        # a random point of a random pixel, counted from the corner of the first pixel
        at = (places[rng.integers(len(places))] + rng.uniform(0, 1, 2)) * params.truth_spacing_um
        row, column = np.floor(at / params.layer_spacing_um - sides / 2).astype(int).tolist()
        window = (row, column, int(sides[0]), int(sides[1]))
        fine = section.scanned_at(params.layer_spacing_um)
        name = f"{brain.name}-{number:03d}"
        image = render(brain, template, fine, *window)
        mask = dissect(brain, template, fine.window(fine.spacing_um, *window), fine).layer
        cells = cell_positions(brain, template, fine, *window)
        annotations.write_gray(image, folder / f"{name}.tif")
        annotations.write_gray(mask, folder / f"{name}_layers.tif")
        annotations.write_cells(cells, folder / f"{name}_cells.csv")
        rows.append(
            {
                "patch": name,
                "brain": brain.name,
                "image": f"{name}.tif",
                "mask": f"{name}_layers.tif",
                "spacing_um": params.layer_spacing_um,
                "cells": f"{name}_cells.csv",
            }
        )
    return pd.DataFrame(rows)


def _middle_of_cortex(
    brain: Brain, template: Template, section: ScannedSection
) -> NDArray[np.int64]:
    """Row and column (n, 2) of the pixels of the truth that lie in mid-cortex."""
    whole = section.whole(brain.params.truth_spacing_um)
    depth = dissect(brain, template, whole, section).depth
    return np.argwhere((depth > _MIDDLE[0]) & (depth < _MIDDLE[1]))


def write_thickness(brain: Brain, template: Template, folder: Path) -> None:
    """Write the mid-surfaces in template RAS mm and the thickness of the layers in mm."""
    for hemisphere in brain.hemispheres:
        side = hemisphere.side
        mid = surfaces.Surface(brain.bend.to_template(hemisphere.mid), hemisphere.faces)
        surfaces.write(mid, folder / f"hemi-{side}_mid.surf.gii", side)
        thickness_mm = layer_thickness(brain, template, hemisphere)
        for layer in range(LAYERS):
            path = folder / f"hemi-{side}_layer-{layer + 1}_thickness.shape.gii"
            surfaces.write_map(thickness_mm[:, layer], path, side)


def layer_thickness(brain: Brain, template: Template, hemisphere: Hemisphere) -> Floats:
    """Thickness (vertices, 6) in mm of each layer in the bent brain; NaN on the medial wall.

    As in the paper (section 3.7) it is the distance of corresponding vertices of the layers'
    surfaces, along the line from a pial vertex to its white vertex. Layers begin at depths of the
    Laplacian field, which is not linear along that line.
    """
    share = np.linspace(0, 1, _POINTS)
    pial, white = hemisphere.pial, hemisphere.white
    lines = pial[:, None] * (1 - share[:, None]) + white[:, None] * share[:, None]
    index = brain.depth.to_indices(lines.reshape(-1, 3)).T
    depth = ndimage.map_coordinates(brain.depth.data, index, order=1, mode="nearest")
    depth = np.maximum.accumulate(np.clip(depth.reshape(len(pial), _POINTS), 0, 1), axis=1)
    borders = template.areas.border[areas_at(brain, template, hemisphere.mid)]
    inner = np.stack([_crossing(depth, border) for border in borders[:, 1:-1].T], axis=1)
    edges = np.pad(inner, ((0, 0), (1, 1)), constant_values=((0, 0), (0, 1)))
    length_mm = np.linalg.norm(pial - white, axis=1, keepdims=True)
    return np.where(hemisphere.cortex[:, None], np.diff(edges, axis=1) * length_mm, np.nan)


def _crossing(depth: Floats, border: NDArray[np.float32]) -> Floats:
    """Share of each line (row) at which its increasing depth reaches its border."""
    after = np.clip((depth < border[:, None]).sum(1), 1, _POINTS - 1)
    rows = np.arange(len(depth))
    low, high = depth[rows, after - 1], depth[rows, after]
    part = np.clip((border - low) / np.maximum(high - low, 1e-6), 0, 1)
    return np.asarray((after - 1 + part) / (_POINTS - 1))


def areas_at(brain: Brain, template: Template, points_mm: Floats) -> NDArray[np.int64]:
    """Area label of the voxel at each point (n, 3) in true stack RAS mm; 0 outside the atlas."""
    return labels_at(template.atlas, brain.bend.to_template(points_mm))
