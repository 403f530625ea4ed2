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

from cytopipe import logs
from cytopipe.coordinates.coarse_fit import smoothed
from cytopipe.coordinates.direction import length_mm, overlap
from cytopipe.formats.transforms import PointTransform, affine_transform, read
from cytopipe.formats.volumes import Volume
from cytopipe.numerics.geometry import Floats
from cytopipe.study.config import Coordinates

_THREADS = "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"
# voxels along the template of a registration, at least: 3 mm in a human brain; chosen, not measured
_FEWEST_VOXELS = 60


@dataclass(frozen=True)
class Registration:
    """Transforms that carry points from a stack to a template: the affine part and the whole."""

    affine: PointTransform
    full: PointTransform


def register(
    tissue: Volume,
    template: Volume,
    start: Floats,
    source: str,
    target: str,
    params: Coordinates,
) -> Registration:
    """Register two tissue volumes (0 background, 1 gray, 2 white).

    A warp that makes the overlap worse than the affine part alone is dropped: there was nothing to
    warp, as in a scaled copy of the template.

    Parameters
    ----------
    tissue, template : RAS mm; a registration cannot tell whether left and right are correct.
    start : (4, 4) stack to template, close to the truth (`coarse_fit.Fit.matrix`).
    source, target : names of the two spaces.
    """
    spacing_mm = min(params.registration_mm, length_mm(template) / _FEWEST_VOXELS)
    if spacing_mm < params.registration_mm:
        logs.info(f"{target} is {length_mm(template):.0f} mm long: registering at {spacing_mm:.2g}")
    scale = float(np.cbrt(np.linalg.det(start[:3, :3])))
    # ITK reads this when it is loaded; several threads would sum in varying order
    if "ants" in sys.modules and os.environ.get(_THREADS) != "1":
        logs.info(f"ants was loaded before {_THREADS}=1 was set: the result is not repeatable")
    os.environ[_THREADS] = "1"
    import ants

    # the argument random_seed of ants.registration has no effect in antspyx 0.6
    ants.config.set_ants_deterministic(on=True, seed_value=params.seed)
    # ANTs resamples, and so starts from what carries points of the template into the stack
    backward = affine_transform(np.asarray(np.linalg.inv(start), np.float64), target, source)
    with tempfile.TemporaryDirectory(prefix="cytopipe-ants-") as folder:
        start_file = Path(folder) / "start.mat"
        sitk.WriteTransform(backward.steps[0].itk, str(start_file))
        ants.registration(
            fixed=_to_ants(ants, smoothed(template, spacing_mm)),
            moving=_to_ants(ants, smoothed(tissue, spacing_mm / scale)),
            type_of_transform="SyN",
            initial_transform=[str(start_file)],
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
    full = affine.then(warp)
    if overlap(full, tissue, template).mean < overlap(affine, tissue, template).mean:
        logs.info(f"{source}: the warp to {target} gains nothing and is dropped")
        full = affine
    return Registration(affine, full)


def _to_ants(ants: Any, volume: Volume) -> Any:
    """An ANTs image of a volume on a regular RAS grid; ITK's LPS negates origin and axes."""
    origin = volume.affine[:3, 3] * np.array([-1.0, -1.0, 1.0])
    return ants.from_numpy(
        np.asarray(volume.data, np.float32),
        origin=origin.tolist(),
        spacing=volume.voxel_mm.tolist(),
        direction=np.diag([-1.0, -1.0, 1.0]),
    )
