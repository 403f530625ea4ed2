"""Registration of a reconstructed brain to a template, tissue labels to tissue labels.

The papers use transforms made elsewhere. Without one, ANTs registers smoothed label images (affine,
then SyN), in one thread and with a fixed seed, so that the result is repeatable.
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
from cytopipe.formats.volumes import Volume, regular_affine
from cytopipe.numerics.geometry import Floats
from cytopipe.study.config import Coordinates

_THREADS = "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"
# intensities of background, gray and white matter: the white border counts as much as the pial
_INTENSITY = np.array([0.0, 1.5, 3.0], np.float32)
# the search for a start: resolution, turns about each axis, and how many of them are optimised.
# Chosen, not measured
_COARSE_MM = 6.0
_TURNS_DEG = (-30.0, -15.0, 15.0, 30.0)
_FOLLOWED = 2
# the margin of background into which a warp may reach; chosen, not measured
_MARGIN_MM = 10


@dataclass(frozen=True)
class Registration:
    """Transforms that carry points from a stack to a template: the affine part and the whole."""

    affine: PointTransform
    full: PointTransform


def register(
    tissue: Volume, template: Volume, source: str, target: str, params: Coordinates
) -> Registration:
    """Register two tissue volumes (0 background, 1 gray, 2 white).

    Parameters
    ----------
    tissue, template : RAS mm; a registration cannot tell whether left and right are correct.
    source, target : names of the two spaces.
    """
    # ITK reads this when it is loaded; several threads would sum in varying order
    if "ants" in sys.modules and os.environ.get(_THREADS) != "1":
        logs.info(f"ants was loaded before {_THREADS}=1 was set: the result is not repeatable")
    os.environ[_THREADS] = "1"
    import ants

    # the argument random_seed of ants.registration has no effect in antspyx 0.6
    ants.config.set_ants_deterministic(on=True, seed_value=params.seed)
    # ANTs resamples, and so starts from what carries points of the template into the stack
    matrix = np.asarray(np.linalg.inv(initial_affine(tissue, template)), np.float64)
    backward = affine_transform(matrix, target, source)
    with tempfile.TemporaryDirectory(prefix="cytopipe-ants-") as folder:
        start = Path(folder) / "start.mat"
        sitk.WriteTransform(backward.steps[0].itk, str(start))
        ants.registration(
            fixed=_to_ants(ants, smoothed(template, params.registration_mm)),
            moving=_to_ants(ants, smoothed(tissue, params.registration_mm)),
            type_of_transform="SyN",
            initial_transform=[str(start)],
            outprefix=f"{folder}/result",
            # both images have the same intensities. Errors on the phantom at 2 mm: median 0.51 mm,
            # 95 % 2.2 mm; with the defaults (mattes, no iterations at full resolution) 0.63, 2.7
            syn_metric="meansquares",
            reg_iterations=(40, 20, 10),
            singleprecision=True,
        )
        # the .mat moves the image; the inverse warp moves the points of the affine brain
        affine = read(Path(folder) / "result0GenericAffine.mat", source, target, "image")
        warp = read(Path(folder) / "result1InverseWarp.nii.gz", target, target, "points")
    return Registration(affine, affine.then(warp))


def smoothed(volume: Volume, spacing_mm: float) -> Volume:
    """Label intensities, smoothed and resampled to an isotropic RAS grid with a margin."""
    image = ndimage.gaussian_filter(
        _INTENSITY[np.minimum(volume.data, 2)], 0.5 * spacing_mm / volume.voxel_mm
    )
    low = volume.to_mm(np.zeros(3))
    high = volume.to_mm(np.array(volume.data.shape) - 1)
    low, high = np.minimum(low, high) - _MARGIN_MM, np.maximum(low, high) + _MARGIN_MM
    shape = np.ceil((high - low) / spacing_mm).astype(int) + 1
    axes = [low[i] + np.arange(shape[i]) * spacing_mm for i in range(3)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    values = ndimage.map_coordinates(
        image, np.moveaxis(volume.to_indices(grid), -1, 0), order=1, mode="constant"
    )
    return Volume(values.astype(np.float32), regular_affine(spacing_mm, low))


def initial_affine(tissue: Volume, template: Volume) -> Floats:
    """(4, 4) similarity from stack to template, RAS mm, from which a registration can start.

    Centres of mass and radii of gyration give shift and scale. Turns about each of the three axes,
    too small to exchange left and right, are compared by the correlation of coarse images, and the
    best of them are optimised.
    """
    source, target = smoothed(tissue, _COARSE_MM), smoothed(template, _COARSE_MM)
    blurred = ndimage.gaussian_filter(source.data, 1.0)
    goal = ndimage.gaussian_filter(target.data, 1.0)
    goal = (goal - goal.mean()) / goal.std()
    grid = target.to_mm(np.moveaxis(np.indices(goal.shape), 0, -1).reshape(-1, 3))
    centre, radius = _centre_and_radius(source)
    target_centre, target_radius = _centre_and_radius(target)

    def backward(values: NDArray[Any]) -> tuple[Floats, Floats]:
        """Matrix and shift from template to stack; turns in units of 10 degrees, shift in cm."""
        matrix = _rotation(values[:3] / 5.73) * (radius / target_radius) * np.exp(values[6])
        return matrix, centre + 10 * values[3:6] - matrix @ target_centre

    def cost(values: NDArray[Any]) -> float:
        matrix, shift = backward(values)
        there = source.to_indices(grid @ matrix.T + shift).T
        moved = ndimage.map_coordinates(blurred, there, order=1, mode="constant")
        return -float((goal.ravel() * (moved - moved.mean())).mean() / (moved.std() + 1e-6))

    turns = [turn / 10 * axis for axis in np.eye(7)[:3] for turn in _TURNS_DEG]
    starts = sorted([np.zeros(7), *turns], key=cost)
    optimised = [
        optimize.minimize(
            cost, start, method="Powell", options={"xtol": 1e-2, "ftol": 1e-4, "maxfev": 800}
        )
        for start in starts[:_FOLLOWED]
    ]
    matrix, shift = backward(min(optimised, key=lambda result: float(result.fun)).x)
    inverse = np.linalg.inv(matrix)
    similarity = np.eye(4)
    similarity[:3, :3], similarity[:3, 3] = inverse, -inverse @ shift
    return similarity


def _centre_and_radius(image: Volume) -> tuple[Floats, float]:
    """Centre of mass and radius of gyration, mm."""
    index = np.argwhere(image.data > 0)
    weights = image.data[image.data > 0].astype(np.float64)
    points = image.to_mm(index)
    centre = np.average(points, axis=0, weights=weights)
    distances = ((points - centre) ** 2).sum(axis=1)
    return centre, float(np.sqrt(np.average(distances, weights=weights)))


def _rotation(turns_rad: Floats) -> Floats:
    """(3, 3) turns about R, then A, then S."""
    matrix = np.eye(3)
    for axis, turn in enumerate(turns_rad):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        around = np.eye(3)
        around[i, i] = around[j, j] = np.cos(turn)
        around[i, j], around[j, i] = -np.sin(turn), np.sin(turn)
        matrix = around @ matrix
    return matrix


def _to_ants(ants: Any, volume: Volume) -> Any:
    """An ANTs image of a volume on a regular RAS grid; ITK's LPS negates origin and axes."""
    origin = volume.affine[:3, 3] * np.array([-1.0, -1.0, 1.0])
    return ants.from_numpy(
        np.asarray(volume.data, np.float32),
        origin=origin.tolist(),
        spacing=volume.voxel_mm.tolist(),
        direction=np.diag([-1.0, -1.0, 1.0]),
    )
