"""Registration of a reconstructed brain to a template, tissue labels to tissue labels.

The paper uses transforms made elsewhere; where a study has none, this is the field's tool (ANTs:
affine, then SyN) on smoothed label images. Same input, same result: one thread, a fixed seed.
"""

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813, its customary name
from numpy.typing import NDArray
from scipy import ndimage, optimize

from cytopipe import logs
from cytopipe.formats.transforms import PointTransform, affine_transform, read
from cytopipe.formats.volumes import Volume
from cytopipe.numerics.geometry import Floats

_THREADS = "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"
# intensities of background, gray and white matter: the white border counts as much as the pial
_INTENSITY = np.array([0.0, 1.5, 3.0], np.float32)
# resolution, turns about the three axes that are tried, and how many of them are followed up
_COARSE_MM = 6.0
_TURNS_DEG = (-30.0, -15.0, 0.0, 15.0, 30.0)
_FOLLOWED = 2


@dataclass(frozen=True)
class Registration:
    """Transforms that carry points from a stack to a template: affine alone, and all of it."""

    affine: PointTransform
    full: PointTransform


def register(
    tissue: Volume, template: Volume, source: str, target: str, spacing_mm: float, seed: int
) -> Registration:
    """Register two tissue volumes (0 background, 1 gray, 2 white).

    Parameters
    ----------
    tissue, template : RAS mm; left and right are where they say, as no registration could tell.
    source, target : names of the two spaces.
    spacing_mm : both are resampled to this voxel size.
    seed : of ANTs.
    """
    # read by ITK when it is loaded: several threads add up in changing order
    if "ants" in sys.modules and os.environ.get(_THREADS) != "1":
        logs.info(f"ants was loaded before {_THREADS}=1 was set: the result is not repeatable")
    os.environ[_THREADS] = "1"
    import ants

    # the argument random_seed of ants.registration is without effect in antspyx 0.6
    ants.config.set_ants_deterministic(on=True, seed_value=seed)
    moving = smoothed(tissue, spacing_mm)
    fixed = smoothed(template, spacing_mm)
    start = initial_affine(tissue, template)
    with tempfile.TemporaryDirectory(prefix="cytopipe-ants-") as folder:
        # ANTs resamples: it wants what carries points of the template into the stack
        begin = Path(folder) / "begin.mat"
        backward = affine_transform(_inverse(start), target, source)
        sitk.WriteTransform(backward.steps[0].itk, str(begin))
        ants.registration(
            fixed=_to_ants(ants, fixed),
            moving=_to_ants(ants, moving),
            type_of_transform="SyN",
            initial_transform=[str(begin)],
            outprefix=f"{folder}/found",
            # the two images have the same intensities; measured on the phantom at 2 mm: median
            # 0.51 mm, 95 % 2.2 mm, with the default (mattes, none at the finest level) 0.63, 2.7
            syn_metric="meansquares",
            reg_iterations=(40, 20, 10),
            singleprecision=True,
        )
        # the .mat moves the image; the inverse warp moves the points of the affine brain
        affine = read(Path(folder) / "found0GenericAffine.mat", source, target, "image")
        warp = read(Path(folder) / "found1InverseWarp.nii.gz", target, target, "points")
    return Registration(affine, affine.then(warp))


def smoothed(volume: Volume, spacing_mm: float) -> Volume:
    """Label intensities, smoothed and resampled to an isotropic RAS grid with a margin of air."""
    image = ndimage.gaussian_filter(
        _INTENSITY[np.minimum(volume.data, 2)], 0.5 * spacing_mm / volume.voxel_mm
    )
    low = volume.to_mm(np.zeros(3))
    high = volume.to_mm(np.array(volume.data.shape) - 1)
    # a warp must be able to reach beyond the template's edge
    low, high = np.minimum(low, high) - 10, np.maximum(low, high) + 10
    shape = np.ceil((high - low) / spacing_mm).astype(int) + 1
    axes = [low[i] + np.arange(shape[i]) * spacing_mm for i in range(3)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    values = ndimage.map_coordinates(
        image, np.moveaxis(volume.to_indices(grid), -1, 0), order=1, mode="constant"
    )
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = low
    return Volume(values.astype(np.float32), affine)


def initial_affine(tissue: Volume, template: Volume) -> Floats:
    """(4, 4) similarity from stack to template, RAS mm, from which a registration can start.

    Centres of mass and radii of gyration give shift and scale; of some turns about each of the
    three axes, none of which can exchange left and right, the best are followed downhill by the
    correlation of coarse images.
    """
    source, target = smoothed(tissue, _COARSE_MM), smoothed(template, _COARSE_MM)
    blurred = ndimage.gaussian_filter(source.data, 1.0)
    goal = ndimage.gaussian_filter(target.data, 1.0)
    goal = (goal - goal.mean()) / goal.std()
    grid = target.to_mm(np.moveaxis(np.indices(goal.shape), 0, -1).reshape(-1, 3))
    centre, radius = _spread(source)
    target_centre, target_radius = _spread(target)

    def backward(values: NDArray[Any]) -> tuple[Floats, Floats]:
        """Matrix and shift from template to stack; turns in units of 10 degrees, shift in cm."""
        matrix = _rotation(values[:3] / 5.73) * (radius / target_radius) * np.exp(values[6])
        return matrix, centre + 10 * values[3:6] - matrix @ target_centre

    def cost(values: NDArray[Any]) -> float:
        matrix, shift = backward(values)
        there = source.to_indices(grid @ matrix.T + shift).T
        found = ndimage.map_coordinates(blurred, there, order=1, mode="constant")
        return -float((goal.ravel() * (found - found.mean())).mean() / (found.std() + 1e-6))

    starts = [np.zeros(7)]
    for axis in range(3):
        for turn in _TURNS_DEG:
            if turn:
                starts.append(np.zeros(7))
                starts[-1][axis] = turn / 10
    starts.sort(key=cost)
    found = [
        optimize.minimize(
            cost, start, method="Powell", options={"xtol": 1e-2, "ftol": 1e-4, "maxfev": 800}
        )
        for start in starts[:_FOLLOWED]
    ]
    matrix, shift = backward(min(found, key=lambda result: float(result.fun)).x)
    matrix = _inverse(matrix)
    similarity = np.eye(4)
    similarity[:3, :3], similarity[:3, 3] = matrix, -matrix @ shift
    return similarity


def _spread(image: Volume) -> tuple[Floats, float]:
    """Centre of mass and radius of gyration, mm."""
    index = np.argwhere(image.data > 0)
    weights = image.data[image.data > 0].astype(np.float64)
    points = image.to_mm(index)
    centre = np.average(points, axis=0, weights=weights)
    distances = ((points - centre) ** 2).sum(axis=1)
    return centre, float(np.sqrt(np.average(distances, weights=weights)))


def _rotation(turns_rad: Floats) -> Floats:
    """Turns about R, then A, then S."""
    matrix = np.eye(3)
    for axis, turn in enumerate(turns_rad):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        around = np.eye(3)
        around[i, i] = around[j, j] = np.cos(turn)
        around[i, j], around[j, i] = -np.sin(turn), np.sin(turn)
        matrix = around @ matrix
    return matrix


def _inverse(matrix: Floats) -> Floats:
    return np.asarray(np.linalg.inv(matrix), np.float64)


def _to_ants(ants: Any, volume: Volume) -> Any:
    """An ANTs image of a volume on a regular RAS grid; ITK's LPS only turns origin and axes."""
    origin = volume.affine[:3, 3] * np.array([-1.0, -1.0, 1.0])
    return ants.from_numpy(
        np.asarray(volume.data, np.float32),
        origin=origin.tolist(),
        spacing=volume.voxel_mm.tolist(),
        direction=np.diag([-1.0, -1.0, 1.0]),
    )
